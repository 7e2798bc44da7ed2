"""One process's share of a load test, and the master's sum of all of them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import gevent
from auth import Credentials
from locust.env import Environment
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner
from meter import Meter, quantile
from payloads import read_bodies
from records import Recorder, RecordFile
from shapes import Stage, arrivals, evenly, lasting, parse_shape, recorded, spread

START_S = 15
"""Seconds within which every worker has reported once."""

SUMMED = ("sent", "answered", "failed", "over_cap", "in_flight", "gave_up")
WORST = ("lag_p99_ms", "cpu_pct")

DEPLOYMENT_HEADER = "azureml-model-deployment"


class Run:
    """What to send and when, and the meter."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        if isinstance(environment.runner, LocalRunner):
            share_out(options)
        self.kind: str = options.arrivals
        self.concurrency: int = options.concurrency
        self.seconds: float = options.seconds + options.warm_up
        self.drain_s: float = options.drain
        stages = parse_shape(options.shape, options.rps)
        self.stages: tuple[Stage, ...] = lasting(stages, options.seconds, options.warm_up)
        self.times: list[float] = getattr(options, "times", None) or times_of(options)
        self.bodies: list[bytes] = getattr(options, "bodies", None) or bodies_of(options)
        self._credentials = Credentials(
            os.environ, environment.host or "", entra=options.entra, in_clear=options.in_clear
        )
        self._fixed = {"Content-Type": "application/json"}
        if options.deployment:
            self._fixed[DEPLOYMENT_HEADER] = options.deployment
        self.headers = {**self._fixed, **self._credentials.headers}
        self.lanes: int = options.lanes
        self.recorder = Recorder()
        self.is_worker = isinstance(environment.runner, WorkerRunner)
        self.file = RecordFile("" if self.is_worker else options.records)
        self.latest: dict[str, object] = {}
        self.meter = Meter(cap=options.in_flight, warm_up_s=options.warm_up)
        self._told_lags: Counter[float] = Counter()
        self.lanes_open = self.lanes_ended = 0
        self._seed: int | None = options.seed
        workers = (options.processes or options.expect_workers) if self.is_worker else 1
        self._lanes: Iterator[int] = count(max(getattr(environment.runner, "worker_index", 0), 0), workers)
        self._started, self._started_cpu_s = time.perf_counter(), time.process_time()

    def lane(self) -> tuple[int, Random]:
        """One more lane's number and its chance: the same for the same number, where a seed was given."""
        lane = next(self._lanes)
        return lane, Random() if self._seed is None else Random(f"{self._seed}/{lane}")  # noqa: S311 - no secrets

    def arrivals(self, lane: int, random: Random) -> Iterator[float]:
        """When requests of a lane arrive."""
        if self.kind == "replay":
            return spread([at for at in self.times if at < self.seconds], lane=lane % self.lanes, lanes=self.lanes)
        if self.kind == "constant":
            return evenly(self.stages, lane=lane % self.lanes, lanes=self.lanes)
        return arrivals(self.stages, random, share=1 / self.lanes)

    @property
    def is_done(self) -> bool:
        """Whether every lane has come to its end."""
        return self.lanes_ended > 0 and not self.lanes_open

    def report(self) -> None:
        """Print a line now and every second."""
        self._started = at = time.perf_counter()
        self._started_cpu_s = cpu_s = time.process_time()
        for second in count(1):
            now, now_cpu_s = time.perf_counter(), time.process_time()
            self.latest = self.meter.line(now - self._started, 100 * (now_cpu_s - cpu_s) / max(now - at, 0.1))
            if (trouble := self._credentials.renew()) is not None:
                print(f"load generator: {trouble}", file=sys.stderr)  # noqa: T201 - the program's output
            self.headers = {**self._fixed, **self._credentials.headers}
            if not self.is_worker:
                print_line(self.latest)
                self.file.write(self.recorder.take())
            at, cpu_s = now, now_cpu_s
            gevent.sleep(max(0.0, self._started + second - time.perf_counter()))

    def summarise(self) -> None:
        """Print the last line."""
        elapsed_s = max(time.perf_counter() - self._started, 0.1)
        cpu_s = time.process_time() - self._started_cpu_s
        self.latest = self.meter.summary(elapsed_s, 100 * cpu_s / elapsed_s)
        if not self.is_worker:
            self.file.write(self.recorder.take())
            print_line(self.latest)

    def tell_master(self, client_id: str, data: dict[str, object]) -> None:
        """Add to a worker's report what was recorded since the last one."""
        data["records"] = self.recorder.take()
        data["latencies"] = list(self.meter.take_new_latencies().items())
        lags = Counter(self.meter.lags_ms)
        data["lags"] = list((lags - self._told_lags).items())
        self._told_lags = lags
        data["line"] = {
            **{key: value for key, value in self.latest.items() if key in (*SUMMED, *WORST)},
            **{key: getattr(self.meter, key) for key in SUMMED},
            "unanswered": self.meter.unanswered,
            "done": self.is_done,
        }


class Gathering:
    """The master's side: entries and figures of all workers, as one."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        options = environment.parsed_options
        workers = options.processes or options.expect_workers
        options.num_users = max(options.num_users or 1, workers)  # one lane a worker at least
        share_out(options)
        options.spawn_rate = max(options.spawn_rate or 1, options.num_users)
        options.times, options.bodies = times_of(options), bodies_of(options)  # workers elsewhere have no files
        os.environ.pop("DEPLOYER_LOAD_KEY", None)
        parse_shape(options.shape, options.rps)  # what is wrong is said before anything is sent
        self._runner = runner
        self._file = RecordFile(options.records)
        self._lines: dict[str, Mapping[str, float]] = {}
        self._lags: Counter[float] = Counter()
        self._latencies: Counter[float] = Counter()
        self._expected: int = workers
        self._lost = 0
        self._started = time.perf_counter()
        environment.events.worker_report.add_listener(self._hear)
        self._reporter = gevent.Greenlet(self._report)
        environment.events.test_start.add_listener(lambda **_: self._reporter.start())
        environment.events.quitting.add_listener(lambda **_: self._reporter.kill(block=False))
        environment.events.quit.add_listener(lambda **_: self._summarise())  # workers have reported for the last time

    def _hear(self, client_id: str, data: Mapping[str, Any]) -> None:
        self._file.write(data.get("records", b""))
        self._lags.update(dict(data.get("lags", ())))
        self._latencies.update(dict(data.get("latencies", ())))
        self._lines[client_id] = data.get("line") or {}

    def _line(self) -> dict[str, object]:
        lines = list(self._lines.values())
        alive = sum(worker.state != STATE_MISSING for worker in self._runner.clients.values())
        seconds = time.perf_counter() - self._started
        expected = max(len(lines), self._expected)
        return {
            "t": round(seconds, 2),
            **{key: sum(line.get(key, 0) for line in lines) for key in SUMMED},
            **{key: max((line.get(key) or 0.0 for line in lines), default=0.0) for key in WORST},
            "run_lag_p99_ms": quantile(self._lags.items(), 0.99),
            "workers": alive,
            "lost": max(expected - alive, 0) if seconds > START_S or alive < len(lines) else 0,
        }

    def _report(self) -> None:
        self._started = time.perf_counter()
        for second in count(1):
            figures = self._line()
            self._lost = int(str(figures["lost"]))
            print_line(figures)
            done = sum(bool(line.get("done")) for line in self._lines.values())
            late = second > START_S
            if (self._lines or late) and done + self._lost >= max(len(self._lines), self._expected):
                self._runner.quit()
                return
            gevent.sleep(max(0.0, self._started + second - time.perf_counter()))

    def _summarise(self) -> None:
        unanswered = int(sum(line.get("unanswered", 0) for line in self._lines.values()))
        print_line(
            {
                "summary": True,
                **self._line(),
                "lost": max(self._expected - len(self._lines), self._lost),
                "unanswered": unanswered,
                **{
                    f"p{level}_ms": quantile(self._latencies.items(), level / 100, beyond=unanswered)
                    for level in (50, 95, 99)
                },
                "histogram_ms": {str(ms): n for ms, n in sorted(self._latencies.items())},
            }
        )


def share_out(options: Any) -> None:
    """Let as many lanes as users share the rate.

    Raises:
        ValueError: another number of lanes was asked for.
    """
    options.lanes = options.lanes or options.num_users or 1
    if (options.num_users or 1) != options.lanes:
        raise ValueError(f"--users {options.num_users} share the rate: give --lanes {options.num_users} too, or none")


def times_of(options: Any) -> list[float]:
    """Read recorded arrivals, if they are asked for.

    Raises:
        ValueError: there are none.
    """
    return recorded(beside(options.replay)) if options.arrivals == "replay" else []


def bodies_of(options: Any) -> list[bytes]:
    """Read what to send.

    Raises:
        ValueError: there is nothing.
    """
    if not options.payload:
        raise ValueError("there is no request to send: give --payload FILE")
    return read_bodies(beside(options.payload), seed=options.seed)


def beside(name: str) -> Path:
    """Find a file where it is said to be, else in the locustfile's folder: a service puts what it is given there."""
    path, here = Path(name), Path(__file__).with_name(Path(name).name)
    return here if here.is_file() and not path.exists() else path


def print_line(figures: Mapping[str, object]) -> None:
    """Print one line; when nobody reads any more, end."""
    try:
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)
