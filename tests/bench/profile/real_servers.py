"""The search with real Locust against a real process of known capacity: answer over truth.

``python tests/bench/profile/real_servers.py [--only NAME] [--seed N]`` (three to five minutes a server). The server is
a FIFO queue whose work is waiting, so that a shared machine carries it: a request that arrives knows when it will be
done, and is answered then. The truth is that of the same queue, simulated (``truth.py``) with the latency that HTTP adds
here. What the machine does to both sides meanwhile is in the answer: read the load average that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import truth
from ours import slo_of
from servers import Server, constant, exponential

from deployer.engine.profile_trial import Trials, Tried
from deployer.loadgen.local import LocalLoad
from deployer.ports.platform import ScoringTarget
from deployer.profile.capacity import CapacitySearch
from deployer.profile.progress import tally
from deployer.profile.trials import Capacity, Probe

IDLE = Server("no work", {"p95": 1.0}, constant(0.0))
SERVERS = {
    server.name: server
    for server in (
        Server("M/D/1", {"p95": 0.150}, constant(0.025)),
        Server("M/M/4", {"p95": 0.150}, exponential(0.040), slots=4),
        Server("429 rule", {"p95": 0.5, "error_rate": 0.001}, exponential(0.040), slots=4, limit=8),
    )
}
BODY = b'{"data": [[1]]}'
truth.REQUESTS = 400_000


class Queue:
    """When each request will be done; None: the house is full."""

    def __init__(self, server: Server, seed: int) -> None:
        self._limit = server.limit
        self._draw = server.draw(np.random.default_rng(seed))
        self._free = [0.0] * server.slots
        self._inside: list[float] = []

    def done_at(self, now: float) -> float | None:
        while self._inside and self._inside[0] <= now:
            heapq.heappop(self._inside)
        if self._limit is not None and len(self._inside) >= self._limit:
            return None
        end = max(now, self._free[0]) + self._draw()
        heapq.heapreplace(self._free, end)
        heapq.heappush(self._inside, end)
        return end


class Scoring(asyncio.Protocol):
    """Answers every request on its connection when the queue says so."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(BODY)) >= 0:
            self._read = self._read[end + len(BODY) :]
            loop = asyncio.get_running_loop()
            at = self._queue.done_at(loop.time())
            if at is None:
                self._answer("429 Too Many Requests")
            else:
                loop.call_at(at, self._answer, "200 OK")

    def _answer(self, status: str) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        if not self._transport.is_closing():
            self._transport.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok".encode()
            )


async def serve(name: str, seed: int) -> None:
    queue = Queue((IDLE if name == IDLE.name else SERVERS[name]), seed)
    server = await asyncio.get_running_loop().create_server(lambda: Scoring(queue), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(name: str, seed: int) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", "--only", name, "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/score"
        finally:
            server.terminate()


def trials_on(url: str, payload: Path, seed: int) -> Trials:
    site = SimpleNamespace(platform=SimpleNamespace(scoring_target=lambda: ScoringTarget(url, {})))
    settings = SimpleNamespace(request_settings=SimpleNamespace(request_timeout_ms=5000))
    return Trials(site, SimpleNamespace(payload=payload, deployment=settings), LocalLoad(), seed=seed)


def send(trials: Trials, probe: Probe, search: CapacitySearch) -> Tried:
    tried = trials.run(
        "real",
        probe,
        is_hopeless=lambda figures: search.is_hopeless(tally(figures.windows, search.limits_ms)),
        stop=lambda: None,
        on_progress=lambda figures: None,
    )
    print(f"  {probe.why}: {tried.seen.status.size} requests in {tried.seen.seconds:.0f} s"
          f"{f', thrown away: {tried.health}' if tried.health else ''}", flush=True)  # fmt: skip
    return tried


def measure(server: Server, payload: Path, seed: int) -> tuple[Capacity, float]:
    """Return the answer, and the mean latency that HTTP adds, in seconds."""
    search = CapacitySearch(slo_of(server), admission_limit=server.limit, seed=seed)
    with serving(IDLE.name, seed) as url:
        probe = Probe("open", 30.0, 0, 10.0, False, "what HTTP adds")
        delay_s = float(send(trials_on(url, payload, seed), probe, search).seen.latency_ms.mean()) / 1000
    with serving(server.name, seed) as url:
        trials = trials_on(url, payload, seed)
        while isinstance(probe := search.next(), Probe):
            search.tell(send(trials, probe, search).seen)
    return search.answer_so_far(), delay_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*SERVERS, IDLE.name], metavar="NAME")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--serve", action="store_true")
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve(asked.only, asked.seed))
    for server in [each for each in SERVERS.values() if asked.only in (None, each.name)]:
        print(f"{server.name}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            payload = Path(folder, "body.json")
            payload.write_bytes(BODY)
            found, delay_s = measure(server, payload, asked.seed)
        rps = truth.capacity(replace(server, delay_s=delay_s))["rps"]
        print(f"  answer {found.sustainable_rps:.2f} [{found.lower:.2f}-{found.upper:.2f}] rps, truth {rps:.2f} rps: "
              f"{found.sustainable_rps / rps:.3f}; {found.load_seconds:.0f} s of load, {1000 * delay_s:.1f} ms of HTTP, "
              f"load average {os.getloadavg()[0]:.1f}; {found.note or 'no notes'}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
