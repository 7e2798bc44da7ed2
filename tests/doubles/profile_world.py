"""A profile without processes: a platform in memory, a load generator that answers from what stands, a scripted search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deployer.engine.http import Answer as HttpAnswer
from deployer.engine.profile_stand import Stand
from deployer.engine.profile_trial import Trials
from deployer.engine.profiler import Profiler
from deployer.engine.site import Site
from deployer.errors import DeployerError
from deployer.loadtest.figures import Figures, Health, Load, Requests, Window
from deployer.manifest.configuration import Configuration
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.profile_load import load_profile
from deployer.ports.platform import ScoringTarget
from deployer.ports.profiling import Look, Profiled, TrialRecord
from deployer.profile.advice import Advice, Answer, Ask
from deployer.profile.ledger import Ledger
from deployer.profile.trials import Capacity, Probe, Seen, Tally
from deployer.stores.files import DiskFiles
from tests.doubles.memory import MemoryPlatform
from tests.doubles.telemetry import ManualClock

ONE, TWO, BIG = Configuration(1, 1, 2), Configuration(2, 1, 2), Configuration(1, 2, 2)
PROFILE: dict[str, Any] = {
    "version": 1,
    "name": "size",
    "platform": "local",
    "endpoint": {"name": "test", "auth_mode": "key"},
    "deployment": {
        "model": {"path": "model"},
        "code_configuration": {"code": "code", "scoring_script": "score.py"},
        "environment": "azureml:x:1",
        "request_settings": {"max_concurrent_requests_per_instance": 2},
    },
    "candidates": {"instance_count": [1, 2], "workers": [1, 2]},
    "slo": {"latency": {"p95": "100ms"}, "error_rate": "1%"},
    "peak_rps": 50,
    "request": "ok.json",
    "budget": {"time": "1h", "usd": 5},
}


def open_probe(seconds: float = 10.0, rps: float = 50.0) -> Probe:
    return Probe("open", rps, 0, seconds, True, f"confirm {rps:g} rps")


def capacity(rps: float, *, measured: bool = True) -> Capacity:
    return Capacity(rps, 0.95 * rps, 1.05 * rps, False, measured, 1.2 * rps, "", (), 60.0, "p95")


def write_profile(folder: Path, **changes: Any) -> Path:
    for name in ("model", "code"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "model" / "weights").write_text("1")
    (folder / "code" / "score.py").write_text("def init(): ...\n")
    (folder / "ok.json").write_text('{"data": [1]}')
    path = folder / "profile.yaml"
    path.write_text(json.dumps({**PROFILE, **changes}))
    return path


@dataclass
class Script:
    """A search that asks what it is told to, then advises."""

    asks: list[Ask]
    recommended: Configuration | None = ONE
    seen: list[Seen] = field(default_factory=list[Seen])
    excluded: list[tuple[Configuration, str]] = field(default_factory=list[tuple[Configuration, str]])
    hopeless: Callable[[Tally], bool] = lambda _: False
    limits_ms: Sequence[float] = (100.0,)

    def next(self, left_s: float, left_usd: float) -> Ask | Advice:
        if not self.asks:
            return self._advice(final=True)
        if self.asks[0].probe.seconds > left_s or left_usd <= 0:
            return self.advice()
        return self.asks[0]

    def tell(self, seen: Seen) -> None:
        self.seen.append(seen)
        if seen.healthy:
            self.asks.pop(0)

    def is_hopeless(self, tally: Tally) -> bool:
        return self.hopeless(tally)

    def exclude(self, configuration: Configuration, why: str) -> None:
        self.excluded.append((configuration, why))
        self.asks = [ask for ask in self.asks if ask.configuration != configuration]

    def advice(self) -> Advice:
        return self._advice(final=False)

    def _advice(self, *, final: bool) -> Advice:
        answers = [Answer(each, 0.05, capacity(60.0) if each == self.recommended else None) for each in (ONE, TWO, BIG)]
        return Advice(self.recommended if self.seen else None, answers, final)


@dataclass
class Running:
    """A simulated test: time passes while it is waited for."""

    world: ProfileWorld
    load: Load
    began_s: float
    partial: str | None = None
    spent: float | None = None

    def _elapsed(self) -> float:
        now = (self.world.clock.now() - self.world.started).total_seconds()
        return min(now - self.began_s, self.load.seconds)

    def wait(self, seconds: float) -> bool:
        self.world.clock.sleep(seconds)
        self.world.tick()
        return self._elapsed() >= self.load.seconds

    def progress(self) -> Figures:
        return self._figures(self._elapsed())

    def stop(self, why: str) -> None:
        self.partial, self.spent = why, self._elapsed()

    def figures(self) -> Figures:
        return self._figures(self.load.seconds if self.spent is None else self.spent)

    def _figures(self, seconds: float) -> Figures:
        n = int(seconds * (self.load.rps or 20.0))
        status = np.full(n, self.world.status, dtype=np.int16)
        arrival = np.linspace(0, seconds, n, endpoint=False)
        latency = np.full(n, self.world.latency_ms)
        ms = self.world.latency_ms
        good = {ms: n} if 200 <= self.world.status < 300 else {}
        window = Window(0.0, seconds, False, n, {self.world.status: n}, {ms: n}, good)
        health = Health(
            1.0, 10.0, self.world.unhealthy.pop(0) if self.world.unhealthy and seconds >= self.load.seconds else None
        )
        return Figures(
            self.load, self.world.started, (window,), health, self.partial, Requests(arrival, latency, status)
        )


class ProfileWorld:
    """One test endpoint in memory and everything around it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.clock = ManualClock()
        self.started = self.clock.now()
        self.platform = MemoryPlatform("test", self.clock)
        self.platform.ready_after_s = 5.0
        self.spec: ProfileSpec = load_profile(write_profile(folder, **changes), files=DiskFiles(), env={})
        self.signal: str | None = None
        self.at: dict[float, Callable[[], None]] = {}
        self.status = 200
        self.latency_ms = 20.0
        self.first_status = 200
        self.usd = 0.05
        """An hour, of each worker."""
        self.unhealthy: list[str | None] = []
        self.loads: list[tuple[str, Load]] = []
        self.notes: list[str] = []
        self.looks: list[Look] = []
        self.records: list[TrialRecord] = []
        self.script = Script([Ask(ONE, open_probe()), Ask(ONE, open_probe())])

    # what the engine is given

    def run(self, script: Script | None = None) -> Profiled:
        script = script or self.script
        site = Site(
            endpoint="test",
            platform=self.platform,
            telemetry=None,  # type: ignore[arg-type] - a profile reads none
            journal=None,  # type: ignore[arg-type]
            clock=self.clock,
            actor="me",
            signal=lambda: self.signal,
        )
        budget = self.spec.profile.budget
        removal_s = self.platform.capabilities.typical_delete_s
        ledger = Ledger(self.clock.now(), budget.time, budget.usd, removal_s=removal_s)
        stand = Stand(
            site, self.spec, ledger, lambda each: self.usd * each.workers * each.instance_count, self.notes.append
        )
        trials = Trials(site, self.spec, self, self)  # type: ignore[arg-type]
        return Profiler(site, stand, trials, script, ledger, self).run()

    @contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Iterator[Running]:
        assert keep_requests
        assert payload == self.spec.payload
        self.loads.append((target.headers["azureml-model-deployment"], load))
        yield Running(self, load, (self.clock.now() - self.started).total_seconds())

    def score(self, target: ScoringTarget, payload: bytes, *, deployment: str, total_s: float) -> HttpAnswer:
        assert payload == b'{"data": [1]}'
        return HttpAnswer(self.first_status, {}, b"said", 0.01, deployment, truncated=False)

    def on_look(self, look: Look) -> None:
        self.looks.append(look)
        self.tick()

    def on_trial(self, record: TrialRecord) -> None:
        self.records.append(record)

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    # what a test does

    def tick(self) -> None:
        """What happens at its time happens."""
        now = (self.clock.now() - self.started).total_seconds()
        for at in [at for at in self.at if at <= now]:
            self.at.pop(at)()

    def interrupt(self) -> None:
        self.signal = "SIGTERM"

    @property
    def left(self) -> object:
        """What is still there: None when nothing is."""
        return self.platform.peek()

    @property
    def made(self) -> int:
        return self.platform.calls.count("create_deployment")


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


def kill() -> None:
    raise Killed


__all__ = ["BIG", "ONE", "TWO", "DeployerError", "Killed", "ProfileWorld", "Script", "kill", "open_probe"]
