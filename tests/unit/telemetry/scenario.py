"""Ten minutes of a canary on Azure, as its telemetry tells of them, and what the gate makes of what is read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from doubles.monitor_tables import app_row, traffic_row
from doubles.monitor_world import T0, MonitorWorld

from deployer.gate.judge import judge
from deployer.gate.samples import Samples
from deployer.gate.verdict import Moment, Shift, Verdict
from deployer.local.traffic_table import LIVE
from deployer.manifest.schema import Gate, Slo

SECONDS, RPS = 600, 10
MAX_LAG_S = 180.0
END = T0 + timedelta(seconds=SECONDS)
SLO = Slo.model_validate({"latency": {"p95": "400ms", "p99": "1s"}, "error_rate": "2%"})
GATE = Gate.model_validate({"warm_up": "0s", "telemetry": {"max_lag": f"{MAX_LAG_S:g}s"}})

Row = tuple[dict[str, Any], datetime]
"""A row, and from when on it is visible."""
Change = Callable[["Answer", Row], Iterable[Row]]
"""What a fault makes of one row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that a user got."""

    ended: datetime
    deployment: str
    code: int
    ms: int

    @property
    def second(self) -> float:
        return (self.ended - T0).total_seconds()


def canary(*, errors: float = 0.0, seconds: int = SECONDS) -> list[Answer]:
    """``RPS`` answers a second, half of them by green, of whose answers ``errors`` fail."""
    chance = random.Random(7)
    answers = []
    for n in range(seconds * RPS):
        deployment = chance.choice(("blue", "green"))
        code = 424 if deployment == "green" and chance.random() < errors else 200
        ms = round(chance.lognormvariate(4.4, 0.5))
        answers.append(Answer(T0 + timedelta(seconds=(n + chance.random()) / RPS), deployment, code, ms))
    return answers


def write(
    world: MonitorWorld, answers: Iterable[Answer], change: Change = lambda _, row: [row], *, counted: bool = True
) -> None:
    """Log the answers as ``change`` has them, 20 to 60 s after they ended, and count all of them in the metrics."""
    chance = random.Random(8)
    rows: list[Row] = []
    told: Counter[tuple[datetime, str, int]] = Counter()
    for answer in answers:
        seen = answer.ended + timedelta(seconds=chance.uniform(20, 60))
        rows += change(answer, (_row(world, answer), seen))
        told[answer.ended.replace(microsecond=0), answer.deployment, answer.code] += 1
    world.monitor.insert("AppRequests" if world.by_container else LIVE, rows)
    for (ended, deployment, code), n in told.items() if counted else ():
        world.monitor.count(ended, deployment, code=code, n=n)


def _row(world: MonitorWorld, answer: Answer) -> dict[str, Any]:
    failed = answer.code >= 400
    if world.by_container:
        return app_row(answer.ended, answer.deployment, 500 if failed else 200, answer.ms)
    model = 500 if failed else None
    return traffic_row(world.monitor.endpoint, answer.ended, answer.deployment, answer.code, model, answer.ms)


def read(world: MonitorWorld, *, second: float = SECONDS) -> Samples:
    """Read everything since the first exposure, ``second`` seconds after it."""
    now = T0 + timedelta(seconds=second)
    world.clock.advance((now - world.clock.now()).total_seconds())
    return world.telemetry.fetch(T0, now, block_s=10)


def verdict(samples: Samples, *, second: float = SECONDS, mirrored: bool = False) -> Verdict:
    """What the gate says of green at half of the traffic."""
    now = T0 + timedelta(seconds=second)
    shifts = (Shift(T0, 50),)
    return judge(samples, SLO, GATE, Moment(now, "green", "blue", shifts, T0, 20, 50, mirrored=mirrored))
