"""The embedded platform in figures: traffic moved under load, the way back from a bad release, the price of the router.

Run: ``python tests/bench/local_bench.py [quickstart|moves|rollback|router ...]``. Prints figures; asserts nothing. Each part
runs real processes in a home of its own, which is gone afterwards, and takes one to three minutes.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
import yaml

from deployer.loadgen.locust import LocustLoad
from deployer.local import lifecycle
from deployer.platforms.local import LocalPlatform
from deployer.ports.platform import DeploymentSpec, DeploymentState

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "manifests" / "local"
DIGITS = EXAMPLES / "samples" / "digits.jsonl"
RPS = 40.0

CYCLE = (1, 5, 10, 25, 50, 75, 100, 0)
CYCLES = 10
"""Each one adds a deployment, moves traffic through ``CYCLE`` and removes it: 100 changes in all."""
ROLLBACKS = 8
ROUNDS, ROUND_S, CLIENTS = 6, 4.0, 2


def main(parts: Sequence[str]) -> None:
    for part in parts or PARTS:
        started = time.monotonic()
        print(f"\n{part}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder, "home")
            try:
                PARTS[part](LocalPlatform("digits", home), Path(folder))
            finally:
                lifecycle.down(home, forget=True)
        print(f"({time.monotonic() - started:.0f} s, load average at the end {os.getloadavg()[0]:.1f})")


def version(name: str, file: str, **changes: Any) -> DeploymentSpec:
    """A deployment of the example."""
    document = yaml.safe_load((EXAMPLES / file).read_text()) | {"name": name} | changes
    return DeploymentSpec(name, document, EXAMPLES, hashlib.sha256(json.dumps(document).encode()).hexdigest())


def add(platform: LocalPlatform, spec: DeploymentSpec) -> None:
    """Create a deployment and wait until it is ready."""
    platform.create_deployment(spec)
    while (endpoint := platform.observe()) is None or endpoint.deployments[
        spec.name
    ].state is not DeploymentState.READY:
        time.sleep(0.02)


def seed(platform: LocalPlatform, blue: DeploymentSpec) -> None:
    """The endpoint with one deployment that has all traffic."""
    platform.ensure_endpoint({"name": "digits", "auth_mode": "key"})
    add(platform, blue)
    platform.set_traffic({"blue": 100}, {})


def access_log(platform: LocalPlatform) -> list[dict[str, Any]]:
    """Every request that users sent, as Envoy wrote it."""
    time.sleep(0.2)
    folder = platform.client.layout.telemetry
    return [json.loads(line) for path in sorted(folder.glob("live.log*")) for line in path.read_text().splitlines()]


def spread(name: str, values: Sequence[float], unit: str, digits: int = 1) -> None:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    figures = (ordered[0], statistics.median(ordered), p95, ordered[-1])
    text = "  ".join(
        f"{word} {value:.{digits}f}" for word, value in zip(("min", "median", "p95", "max"), figures, strict=True)
    )
    print(f"  {name:44} {text} {unit}  (n={len(values)})")


def deployer(platform: LocalPlatform, *arguments: str) -> int:
    """Run the command line in this part's home; its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "deployer", *arguments, "--json"],
        env=os.environ | {"DEPLOYER_HOME": str(home_of(platform))},
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def home_of(platform: LocalPlatform) -> Path:
    return platform.client.layout.root.parents[1]


# ---- a newcomer's first command


def quickstart(platform: LocalPlatform, folder: Path) -> None:
    """From an installed checkout and nothing else to a promoted version."""
    started = time.perf_counter()
    code = deployer(platform, "rollout", str(EXAMPLES / "quickstart.yaml"))
    seconds = time.perf_counter() - started
    events = journal(platform)
    at = [moment(events, kind) for kind in ("started", "prepared", "deployed", "shifted")]
    at += [datetime.fromisoformat(entry["at"]) for entry in events if entry["event"]["type"] == "advanced"]
    words = ("baseline ready", "candidate ready", "tested and warm, first users", "20% passed", "50% passed", "baked")
    print(f"  ended with {code} after {seconds:.1f} s, seen from the shell")
    for word, before, after in zip(words, at, at[1:], strict=False):
        print(f"  {word:44} {(after - before).total_seconds():5.1f} s")
    codes = Counter(line["code"] for line in access_log(platform))
    print(f"  Envoy answered {dict(codes)}")


# ---- moves, adds and removals under load


def moves(platform: LocalPlatform, folder: Path) -> None:
    """Change traffic a hundred times while users ask: what they notice, and what a verified move takes."""
    seed(platform, version("blue", "deployment-v1.yml"))
    took: dict[str, list[float]] = {
        "add, until every instance is ready": [],
        "move, written and read back": [],
        "remove, drained": [],
    }

    def timed(what: str, change: Callable[[], None]) -> None:
        started = time.perf_counter()
        change()
        took[what].append((time.perf_counter() - started) * 1000)

    adding, moving, removing = took
    with LocustLoad().run(platform.scoring_target(), rps=RPS, payload=DIGITS) as load:
        for _ in range(CYCLES):
            timed(adding, lambda: add(platform, version("green", "deployment-v2.yml")))
            for weight in CYCLE:
                shares = {name: share for name, share in (("blue", 100 - weight), ("green", weight)) if share}
                timed(moving, lambda shares=shares: platform.set_traffic(shares, {}))
                time.sleep(0.25)  # ten requests, so that each split is met by users
            timed(removing, lambda: platform.delete_deployment("green"))
        time.sleep(2)
        stats, problem = load.stats(), load.problem()
    changes = sum(map(len, took.values()))
    codes = Counter(line["code"] for line in access_log(platform))
    served = Counter(line["deployment"] for line in access_log(platform))
    print(
        f"  {changes} changes under {RPS:g} requests/s (Poisson): the client sent {stats.sent}, failed {stats.failed}"
    )
    print(f"  Envoy answered {dict(codes)}, by {dict(served)}" + (f"; load generator: {problem}" if problem else ""))
    for name, values in took.items():
        spread(name, values, "ms")


# ---- from the first bad answer to the verified rollback


def rollback(platform: LocalPlatform, folder: Path) -> None:
    """Roll out a canary that raises on every request, by the command line, and read both moments from the records."""
    shutil.copytree(EXAMPLES, folder / "repo")
    manifest = raising(folder / "repo")
    seed(platform, version("blue", "deployment-v1.yml"))
    seconds: list[float] = []
    bad: list[float] = []
    late = 0
    for _ in range(ROLLBACKS):
        code = deployer(platform, "rollout", manifest)
        events = journal(platform)
        shifted, reverted = moment(events, "shifted"), moment(events, "reverted")
        answers = [line for line in access_log(platform) if line["deployment"] == "green" and line["code"] == 424]
        ends = [end for end in (datetime.fromisoformat(line["end"]) for line in answers) if end >= shifted]
        late += sum(1 for line in answers if datetime.fromisoformat(line["start"]) > reverted)
        if code != 10 or not ends:
            print(f"  ended with {code} after {len(ends)} bad answers: {events[-1]}")
            continue
        seconds.append((reverted - min(ends)).total_seconds())
        bad.append(len(ends))
    print(
        f"  {RPS:g} requests/s, 20% to the canary, the gate looks every second; requests sent to it after the rollback: {late}"
    )
    spread("first bad answer to verified rollback", seconds, "s", 2)
    spread("bad answers that users got", bad, "", 0)


def raising(repository: Path) -> str:
    """The example that raises, made worse: on every image, and without the smoke test and warm-up that would find out."""
    deployment = yaml.safe_load((repository / "deployment-broken.yml").read_text())
    deployment["environment_variables"]["DIGITS_FAIL_SHARE"] = "1"
    manifest = yaml.safe_load((repository / "broken.yaml").read_text()) | {"deployment": deployment}
    del manifest["smoke"], manifest["warmup"]
    path = repository / "raising.yaml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return str(path)


def journal(platform: LocalPlatform) -> list[dict[str, Any]]:
    """Entries of the latest rollout."""
    folder = home_of(platform) / "journal" / "local" / "digits"
    return [json.loads(line) for line in max(folder.glob("*.jsonl")).read_text().splitlines()]


def moment(entries: list[dict[str, Any]], kind: str) -> datetime:
    return next(datetime.fromisoformat(entry["at"]) for entry in entries if entry["event"]["type"] == kind)


# ---- the price of the router


class Direct(http.client.HTTPConnection):
    """To the model server's own socket, the one that Envoy uses."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def router(platform: LocalPlatform, folder: Path) -> None:
    """Ask one model server in a closed loop, directly and through Envoy by turns."""
    one = {
        "instance_count": 1,
        "request_settings": {"request_timeout_ms": 3000, "max_concurrent_requests_per_instance": 2 * CLIENTS},
    }
    seed(platform, version("blue", "deployment-v2.yml", **one))
    target = platform.scoring_target()
    url = urlsplit(target.url)
    body = DIGITS.read_text().splitlines()[0]
    parts = lifecycle.status(home_of(platform))[0]
    server = psutil.Process(parts["deployments"]["blue"]["instances"][0]["pid"])
    processes = {"router": [psutil.Process(parts["router_pid"])], "server": [server, *server.children(recursive=True)]}
    unix = platform.client.layout.socket("blue-0")
    ways: dict[str, tuple[Callable[[], http.client.HTTPConnection], bool]] = {
        "model server, directly": (lambda: Direct(unix), False),
        "through Envoy, a connection a request": (
            lambda: http.client.HTTPConnection(url.hostname or "", url.port, timeout=10),
            False,
        ),
        "through Envoy, connections kept": (
            lambda: http.client.HTTPConnection(url.hostname or "", url.port, timeout=10),
            True,
        ),
    }
    headers = {"Content-Type": "application/json", **target.headers}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, (connect, keep) in ways.items():
            with spent(processes) as used:
                rps, failed = closed_loop(connect, url.path, body, headers, keep=keep)
            if turn:
                answered = rps * ROUND_S
                found[name].append((rps, used["router"] / answered * 1e6, used["server"] / answered * 1e6))
            if failed:
                print(f"  {name}: {failed} requests failed")
    print(
        f"  digits v2, 1 instance of 2 workers, {CLIENTS} clients in a closed loop, {ROUNDS} rounds of {ROUND_S:g} s each, medians"
    )
    base = [statistics.median(values) for values in zip(*found["model server, directly"], strict=True)]
    for name, rounds in found.items():
        rps, router_us, server_us = (statistics.median(values) for values in zip(*rounds, strict=True))
        share = (router_us + server_us) / (base[1] + base[2])
        print(
            f"  {name:40} {rps:6.0f} requests/s ({rps / base[0]:.2f} x)   processor a request: "
            f"Envoy {router_us:4.0f} us, server {server_us:5.0f} us, together {share:.2f} x"
        )
    memory = {name: sum(each.memory_info().rss for each in group) / 2**20 for name, group in processes.items()}
    daemon = psutil.Process(parts["daemon_pid"]).memory_info().rss / 2**20
    print(f"  memory: Envoy {memory['router']:.0f} MB, model server {memory['server']:.0f} MB, daemon {daemon:.0f} MB")


@contextmanager
def spent(groups: dict[str, list[psutil.Process]]) -> Iterator[dict[str, float]]:
    """Processor seconds that each group used inside the context."""
    used: dict[str, float] = {}

    def now(group: list[psutil.Process]) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in group)

    before = {name: now(group) for name, group in groups.items()}
    yield used
    used.update({name: now(group) - before[name] for name, group in groups.items()})


def closed_loop(
    connect: Callable[[], http.client.HTTPConnection], path: str, body: str, headers: dict[str, str], *, keep: bool
) -> tuple[float, int]:
    """Requests a second of a few clients that ask again once answered, and how many failed."""
    answered, failed = [0] * CLIENTS, [0] * CLIENTS
    deadline = time.monotonic() + ROUND_S

    def work(number: int) -> None:
        connection = connect()
        while time.monotonic() < deadline:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            response.read()
            answered[number] += 1
            failed[number] += response.status != 200
            if not keep:
                connection.close()
        connection.close()

    threads = [Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / ROUND_S, sum(failed)


PARTS: dict[str, Callable[[LocalPlatform, Path], None]] = {
    "quickstart": quickstart,
    "moves": moves,
    "rollback": rollback,
    "router": router,
}

if __name__ == "__main__":
    main(sys.argv[1:])
