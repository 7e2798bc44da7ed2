"""Where a whole rollout plays: a repository with a tiny model, a home of its own, and the real command line.

Everything is a real process. A stage knows whatever runs under its home, ends it, and says what was left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

import psutil

from deployer.local import lifecycle
from deployer.platforms.local import LocalPlatform
from deployer.ports.platform import DeploymentSpec, Endpoint

MODEL = Path(__file__).with_name("model")
ENDPOINT = "tiny"
TRACEBACK = re.compile(r"^Traceback", re.MULTILINE)
"""One of deployer's own; what a model printed is quoted, and indented."""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Running:
    """A command that still runs; what it prints is read as it comes."""

    def __init__(self, arguments: tuple[str, ...], folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deployer", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # not a file: what a limit on file sizes does to it is no part of any test
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)  # one line at a time

    def wait_for(self, pattern: str, timeout_s: float = 60) -> str:
        """Wait until a line like this was printed, and return it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            for line in list(self.lines):
                if re.search(pattern, line):
                    return line
            assert not ended, f"it ended with {self.process.returncode} before it said {pattern!r}:\n{self.text}"
            time.sleep(0.01)
        raise AssertionError(f"{timeout_s:g} s went by without {pattern!r}:\n{self.text}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 90) -> int:
        """Wait for its end and return the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        assert not TRACEBACK.search(self.text), self.text
        return code

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Stage:
    """One home, one repository of manifests, one endpoint."""

    def __init__(self, folder: Path, home: Path, endpoint: str = ENDPOINT) -> None:
        self.folder = folder
        self.home = home
        self.endpoint = endpoint
        self._running: list[Running] = []
        self._marks = {str(home)}
        shutil.copytree(MODEL, folder / "model")
        (folder / "sample.json").write_text("{}")

    # ---- the command line

    def run(self, *arguments: object, timeout_s: float = 120, **environment: str) -> Said:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "deployer", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert not TRACEBACK.search(said.text), said.text
        return said

    def json(self, *arguments: object, timeout_s: float = 120) -> dict[str, Any]:
        """Run a command with ``--json``; stdout must be exactly one document that holds the exit code."""
        said = self.run(*arguments, "--json", timeout_s=timeout_s)
        document = json.loads(said.out)
        assert document["exit_code"] == said.code, said.text
        return document

    def start(self, *arguments: object) -> Running:
        """Start a command."""
        running = Running(tuple(map(str, arguments)), self.folder)
        self._running.append(running)
        return running

    # ---- the repository

    def manifest(self, name: str = "rollout", *, environment: Mapping[str, str] | None = None, **changes: Any) -> Path:
        """Write a manifest that is over in seconds: version 2, after version 1 as baseline."""
        content: dict[str, Any] = {
            "version": 1,
            "name": name,
            "platform": "local",
            "endpoint": {"name": self.endpoint, "auth_mode": "key"},
            "deployment": patient({"VERSION": "2"} | dict(environment or {})),
            "baseline": patient({"VERSION": "1"}),
            "slo": {"latency": {"p50": "1s"}, "error_rate": "50%"},
            "strategy": canary(20),
            "gate": {"compare": {"latency": "10x"}, "min_requests": 20, "look": "500ms", "warm_up": "500ms"},
            "smoke": [{"request": "sample.json"}],
            "load": {"rps": 40, "request": "sample.json"},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({key: value for key, value in (content | changes).items() if value is not None}))
        return path

    # ---- the endpoint

    def seed(self) -> None:
        """Make the endpoint, with version 1 as blue at 100 %: what a test of something else may take for granted."""
        document = patient({"VERSION": "1"}) | {"name": "blue"}
        self.platform.ensure_endpoint({"name": self.endpoint, "auth_mode": "key"})
        self.platform.create_deployment(DeploymentSpec("blue", document, self.folder, "1" * 64))
        until(lambda: self.observe().deployments["blue"].instances_ready)
        self.platform.set_traffic({"blue": 100}, {})

    @property
    def platform(self) -> LocalPlatform:
        return LocalPlatform(self.endpoint, self.home)

    def observe(self) -> Endpoint:
        found = self.platform.observe()
        assert found is not None
        return found

    def event(self, kind: str) -> datetime:
        """When the latest rollout journalled its last event of this kind."""
        journals = sorted((self.home / "journal" / "local" / self.endpoint).glob("*.jsonl"))
        entries = [json.loads(line) for line in journals[-1].read_text().splitlines()]
        return datetime.fromisoformat([each["at"] for each in entries if each["event"]["type"] == kind][-1])

    def traffic(self) -> dict[str, int]:
        """What Envoy does now, as ``deployer status`` tells."""
        return self.json("status", self.endpoint)["traffic"]

    def parts(self) -> dict[str, Any]:
        """Process ids of everything that belongs to the endpoint."""
        found = next(each for each in lifecycle.status(self.home) if each["endpoint"] == self.endpoint)
        assert found["running"], found
        return found

    def instance_pid(self, name: str) -> int:
        return self.parts()["deployments"][name]["instances"][0]["pid"]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    # ---- the end

    def at_work(self) -> dict[int, str]:
        """Every process that works for this stage, by its id: told of its home, or of where its endpoint listens."""
        records = (self.home / "local").glob("*/endpoint.json")
        ports = [json.loads(record.read_text())["port"] for record in records]
        self._marks |= {f"127.0.0.1:{port}/" for port in ports}
        return {pid: told for pid, told in processes() if any(mark in told for mark in self._marks)}

    def load_generators(self) -> list[int]:
        return [pid for pid, told in self.at_work().items() if "locust" in told]

    def strangers(self) -> dict[int, str]:
        """What works for this stage and belongs to no running part of it."""
        parts = self.parts()
        deployments = parts["deployments"].values()
        known = {parts["keeper_pid"], parts["daemon_pid"], parts["router_pid"]}
        known |= {instance["pid"] for each in deployments for instance in each["instances"]}
        for pid in list(known):
            known |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
        return {pid: told for pid, told in self.at_work().items() if pid not in known}

    def end(self) -> None:
        """End everything, and fail if anything stays."""
        self.at_work()
        for running in self._running:
            running.kill()
        if self.home.is_dir():
            lifecycle.down(self.home, forget=True)
        until(lambda: not self.at_work(), 5)


def canary(*steps: Any, least: str = "1s") -> dict[str, Any]:
    """A strategy: ``least`` is how long each weight is held at least."""
    return {"canary": {"steps": list(steps), "each": {"min": least, "max": "60s"}, "bake": "2s"}, "deadline": "4m"}


def deployment(environment: Mapping[str, str], *, limit_ms: int = 1000, at_once: int = 4) -> dict[str, Any]:
    """An Azure ML deployment of the tiny model."""
    return {
        "model": {"path": "model"},
        "code_configuration": {"code": "model", "scoring_script": "score.py"},
        "environment": "azureml://registries/azureml/environments/minimal-py311-inference/labels/latest",
        "environment_variables": dict(environment),
        "instance_type": "Standard_F2s_v2",
        "instance_count": 1,
        "request_settings": {"request_timeout_ms": limit_ms, "max_concurrent_requests_per_instance": at_once},
        "readiness_probe": {"initial_delay": 1, "period": 1, "failure_threshold": 60},
    }


def patient(environment: Mapping[str, str]) -> dict[str, Any]:
    """One that refuses nobody because the machine has other things to do."""
    return deployment(environment, limit_ms=5000, at_once=100)


def processes() -> Iterator[tuple[int, str]]:
    """Every other process that can be looked into: its id, and its command line and environment as one text."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with suppress(psutil.Error):
            told = [*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())]
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid, " ".join(told)


def until(is_so: Callable[[], object], timeout_s: float = 30) -> float:
    """Wait until it is so; the seconds that took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < timeout_s, "it did not become so"
        time.sleep(0.02)
    return time.monotonic() - started
