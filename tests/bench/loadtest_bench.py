"""What load generators see of a server that stalls, and what a request costs them.

Run: ``python tests/bench/loadtest_bench.py [stall|cost ...]`` (on a busy machine with ``chrt -r 5`` before it). Prints
figures; asserts nothing. Everything runs on this machine against ``loadtest_server.py``; ``cost`` also runs ``wrk``
where it is installed. ``stall`` takes eight minutes, ``cost`` three.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from deployer.loadgen.local import LocalLoad
from deployer.loadtest.figures import Figures, Load
from deployer.ports.platform import ScoringTarget

HERE = Path(__file__).parent
RPS, STALL_S = 200.0, 60.0
TRUTH = {0.50: 0.0, 0.95: 500.0, 0.99: 900.0}
"""One arrival in ten meets the frozen second, evenly spread over it: the slowest 5 % wait 500 to 1,000 ms.

With Poisson arrivals for ``STALL_S`` the p95 of a run is 20 ms off by chance (one sigma: 24.5 of 1,200 arrivals), with
even ones it is not: those are what is compared.
"""
COST_S, COST_RPS = 10.0, 500.0
STEPS = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0)
CLEAN_LAG_MS = 10.0
BODY = b'{"data": [[1]]}'


def main(parts: Sequence[str]) -> None:
    for part in parts or PARTS:
        started = time.monotonic()
        print(f"\n{part}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        PARTS[part]()
        print(f"({time.monotonic() - started:.0f} s, load average at the end {os.getloadavg()[0]:.1f})", flush=True)


def stall() -> None:
    print(f"frozen 1 s in every 10 s, {RPS:g} requests/s for {STALL_S:g} s; ms from the intended arrival where one is")
    print(f"{'':44}{'p50':>8}{'p95':>8}{'p99':>8}{'p95 off':>9}{'p99 off':>9}  trust", flush=True)
    with serving("--freeze") as url:
        row("by arithmetic", {q: TRUTH[q] for q in TRUTH}, None)
        seen = asyncio.run(reference(url))
        truth = {q: quantile(seen, q) for q in TRUTH}
        row("reference: raw sockets, absolute schedule", truth, None)
        for arrivals, processes in (("constant", 1), ("constant", 2), ("poisson", 1)):
            figures = ours(url, Load(arrivals, "constant", RPS, STALL_S, processes=processes, in_flight=4096))
            latencies = [ms for each in figures.windows for ms, n in each.latencies_ms.items() for _ in range(n)]
            found = {q: quantile(latencies, q) for q in TRUTH}
            row(f"deployer, {arrivals}, {processes} process(es)", found, truth, trust(figures))
        for users in (5, 20, 50):
            latencies = closed(url, RPS, STALL_S, users)[0]
            row(f"locust constant_throughput, {users} users", {q: quantile(latencies, q) for q in TRUTH}, truth)


def trust(figures: Figures) -> str:
    health = figures.health
    return health.problem or f"yes: sent at most {health.lag_p99_ms:.1f} ms late (p99)"


def row(name: str, found: dict[float, float], truth: dict[float, float] | None, note: str = "") -> None:
    off = [f"{100 * (found[q] / truth[q] - 1):+8.1f}%" if truth else " " * 9 for q in (0.95, 0.99)]
    print(f"{name:44}" + "".join(f"{found[q]:8.1f}" for q in TRUTH) + "".join(off) + f"  {note}", flush=True)


async def reference(url: str) -> list[float]:
    """Send at an absolute schedule over as many connections as it takes; shares no code with what is measured."""
    port = urlsplit(url).port
    request = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []

    async def ask(due: float) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"Content-Length: (\d+)", head)
        assert found is not None
        await reader.readexactly(int(found[1]))
        latencies.append((time.perf_counter() - due) * 1000)
        idle.append((reader, writer))

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(RPS * STALL_S)):
            due = begun + number / RPS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(due))
    for _, writer in idle:
        writer.close()
    return latencies


def cost() -> None:
    print(f"CPU of the client for 1,000 requests; deployer at {COST_RPS:g} requests/s, flat out with 16 connections")
    print("rate of a process: the highest clean one of an open model; of closed ones, what it sends at all", flush=True)
    rows: dict[str, tuple[float, float]] = {}
    with serving() as url:
        for processes in (1, 2):
            figures, cpu_s = ours_with_cpu(url, processes)
            rows[f"deployer, open model, {processes} process(es)"] = 1000 * cpu_s / sent(figures), math.nan
        for rate, name in ((COST_RPS, "at the same rate"), (0.0, "flat out")):
            latencies, cpu_s, seconds = closed(url, rate, COST_S, 16)
            found = 1000 * cpu_s / len(latencies), len(latencies) / seconds if not rate else math.nan
            rows[f"locust FastHttpUser {name}"] = found
        rows |= native(url)
        name = "deployer, open model, 1 process(es)"
        rows[name] = rows[name][0], clean_rate(url)
    least = min(cpu_s for cpu_s, _ in rows.values())
    print(f"\n{'':44}{'CPU s per 1,000':>16}{'x least':>9}{'requests/s of a core':>22}{'of a process':>14}")
    for name, (cpu_s, rate) in rows.items():
        shown = "" if math.isnan(rate) else f"{rate:.0f}/s"
        print(f"{name:44}{cpu_s:16.3f}{cpu_s / least:9.1f}{1000 / cpu_s:20.0f}/s{shown:>14}", flush=True)


def clean_rate(url: str) -> float:
    """Requests a second that one process sends on time with less than 90 % of a core; NaN: not even the least."""
    best = math.nan
    print(f"sent at most {CLEAN_LAG_MS:g} ms late (p99), under 90 % of a core:", flush=True)
    for rps in STEPS:
        figures = ours(url, Load("poisson", "constant", rps, COST_S, warm_up_s=2, in_flight=4096))
        is_clean = figures.health.lag_p99_ms <= CLEAN_LAG_MS and figures.health.cpu_pct < 90
        health = f"lag p99 {figures.health.lag_p99_ms:.1f} ms, {figures.health.cpu_pct:.0f} % of a core"
        print(f"{rps:8.0f}/s  {health}: {'clean' if is_clean else 'not clean'}", flush=True)
        best = rps if is_clean else best
        if figures.health.cpu_pct >= 90:
            break
    return best


def native(url: str) -> dict[str, tuple[float, float]]:
    """CPU seconds for 1,000 requests by a tool in C, and how many it sends a second; empty: it is not installed."""
    rows: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        script.write_text(f"wrk.method = 'POST'; wrk.body = '{BODY.decode()}'")
        if shutil.which("wrk"):
            said, cpu_s = timed(["wrk", "-t1", "-c16", f"-d{COST_S:.0f}s", "-s", str(script), url])
            if found := re.search(r"(\d+) requests in", said):
                rows["wrk flat out"] = 1000 * cpu_s / int(found[1]), int(found[1]) / COST_S
    return rows


def timed(command: list[str]) -> tuple[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(url: str, load: Load) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder, "body.json")
        payload.write_bytes(BODY)
        with LocalLoad().start(ScoringTarget(url, {}), load, payload) as running:
            return running.figures()


def ours_with_cpu(url: str, processes: int) -> tuple[Figures, float]:
    """Return figures and CPU seconds of sending: what a run of the same kind costs without requests is taken away."""
    spent: list[float] = []
    figures: list[Figures] = []
    for rps in (COST_RPS, 1.0):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures.append(ours(url, Load("poisson", "constant", rps, COST_S, processes=processes, in_flight=4096)))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return figures[0], spent[0] - spent[1]


def closed(url: str, rate: float, seconds: float, users: int) -> tuple[list[float], float, float]:
    """Return latencies, CPU seconds and seconds of an ordinary locustfile."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "loadtest_closed.py"), "--headless", "--only-summary"]
    command += ["--loglevel", "ERROR", "--host", url, "-u", str(users), "-r", str(users), "-t", f"{seconds:.0f}s"]
    settings = {"BENCH_RATE": str(rate), "BENCH_SECONDS": str(seconds), "BENCH_USERS": str(users)}
    ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    figures = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("{")))
    return figures["latencies_ms"], figures["cpu_s"], figures["seconds"]


def sent(figures: Figures) -> int:
    return sum(window.sent for window in figures.windows)


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[math.ceil(q * len(values)) - 1]


@contextmanager
def serving(*options: str) -> Iterator[str]:
    command = [sys.executable, str(HERE / "loadtest_server.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/score"
        finally:
            server.terminate()


PARTS = {"stall": stall, "cost": cost}

if __name__ == "__main__":
    main(sys.argv[1:])
