"""An ordinary locustfile, as most are: users who wait for their answer before they send again.

``BENCH_RATE`` requests a second are shared by all users (0: as fast as they can). Prints one line of JSON at the end.
"""

from __future__ import annotations

import json
import os
import time

from locust import FastHttpUser, constant_throughput, events, task

RATE = float(os.environ["BENCH_RATE"])
SECONDS = float(os.environ["BENCH_SECONDS"])
USERS = int(os.environ["BENCH_USERS"])
BODY = b'{"data": [[1]]}'
begun: dict[str, float] = {}
latencies_ms: list[float] = []


class Client(FastHttpUser):
    insecure = False
    if RATE:
        wait_time = constant_throughput(RATE / USERS)

    @task
    def score(self) -> None:
        self.client.post("", data=BODY, headers={"Content-Type": "application/json"}, name="score")


@events.test_start.add_listener
def start(**_: object) -> None:
    begun.update(wall=time.perf_counter(), cpu=time.process_time())


@events.request.add_listener
def seen(response_time: float, **_: object) -> None:
    latencies_ms.append(response_time)


@events.test_stop.add_listener
def stop(**_: object) -> None:
    figures = {"seconds": time.perf_counter() - begun["wall"], "cpu_s": time.process_time() - begun["cpu"]}
    print(json.dumps({**figures, "latencies_ms": latencies_ms}), flush=True)
