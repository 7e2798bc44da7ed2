"""How long after a request ended its row is there, and whether ``complete_until`` ever promises too much.

Run: ``python tests/bench/telemetry_lag.py [SECONDS] [RPS] [BURNERS]``; burners are processes that take processor time
away. Starts the local platform with one small model. Prints three things, in milliseconds:

- line: end of the answer, as Envoy stamps it, until the line is in the file (what ``access_log.LAG`` must cover);
- row: the client has the answer until a query shows the row;
- broken promises: answers that ended before a query's ``complete_until``, were not in it, and came later. Must be 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.local_world import LocalWorld

from deployer.local.access_log import LAG
from deployer.local.log_tail import Tail

ROWS = "AmlOnlineEndpointTrafficLog | project XMSClientRequestId, Ended = TimeGenerated + TotalDurationMs * 1ms"


def spread(what: str, lags_s: list[float]) -> None:
    ordered = sorted(lags_s)
    marks = {f"p{share:g}": ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] for share in (50, 95, 99)}
    text = "  ".join(f"{name} {value * 1000:6.1f}" for name, value in {**marks, "max": ordered[-1]}.items())
    print(f"{what:5} {text}  ms of {len(ordered):,}")


@contextmanager
def burning(processes: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def watch_file(path: Path, stop: threading.Event, lags_s: list[float]) -> None:
    tail = Tail(path, None, time.monotonic)
    while not stop.is_set():
        piece = tail.read()
        now = time.time()
        ends = [datetime.fromisoformat(json.loads(line)["end"]) for line in piece.lines.splitlines()]
        lags_s.extend(now - end.timestamp() for end in ends)
        if piece.position == tail.position:
            time.sleep(0.002)
        tail.advance(piece.position)
    tail.close()


def main(seconds: float, rps: float, burners: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="lag"))
    world = LocalWorld(home)
    try:
        world.reset()
        world.platform.set_traffic({"blue": 100}, {})
        with burning(burners):
            measure(world, seconds, rps)
    finally:
        world.end()


def measure(world: LocalWorld, seconds: float, rps: float) -> None:
    ended: dict[str, float] = {}
    seen: dict[str, float] = {}
    lines_s: list[float] = []
    answers: list[tuple[datetime, dict[str, datetime]]] = []
    stop = threading.Event()
    threading.Thread(
        target=watch_file, args=(world.platform.client.layout.telemetry / "live.log", stop, lines_s)
    ).start()

    def ask(name: str) -> None:
        world.ask(headers={"x-ms-client-request-id": name})
        ended[name] = time.time()

    with ThreadPoolExecutor(16) as clients:
        begin, sent = time.monotonic(), 0
        while (passed := time.monotonic() - begin) < seconds + 1:
            while passed < seconds and sent < passed * rps:
                clients.submit(ask, f"r{sent}")
                sent += 1
            answer = world.platform.client.query(ROWS)
            now = time.time()
            rows = {name: datetime.fromisoformat(at) for name, at in answer["rows"]}
            answers.append((datetime.fromisoformat(answer["complete_until"]), rows))
            for name in rows:
                seen.setdefault(name, now)
            time.sleep(0.02)
    stop.set()
    broken = sum(
        at < promised and name not in rows for promised, rows in answers for name, at in answers[-1][1].items()
    )
    spread("line", lines_s)
    spread("row", [max(0.0, seen[name] - at) for name, at in ended.items() if name in seen])
    print(f"never seen: {len(ended.keys() - seen.keys())} of {len(ended)}")
    print(f"broken promises: {broken}; LAG is {LAG.total_seconds() * 1000:g} ms")


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[1:]]
    main(*(numbers + [10.0, 50.0, 0.0][len(numbers) :])[:2], burners=int((numbers + [0.0] * 3)[2]))
