"""Made-up traffic for the gate's tests: cells of one second, judged as the engine would."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np

from deployer.gate.judge import judge
from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.gate.verdict import Moment, Result, Shift
from deployer.manifest.schema import Gate, Slo

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SLO = Slo.model_validate({"latency": {"p50": "100ms", "p95": "200ms"}, "error_rate": "5%"})
GATE = Gate.model_validate({"look": "1s", "warm_up": "2s", "settle": "0s", "min_requests": 60})
OK, ERROR, TIMEOUT, THROTTLED, CLIENT = AnswerClass


def gate(**keys):
    return Gate.model_validate({"look": "1s", "warm_up": "2s", "settle": "0s", "min_requests": 60, **keys})


def slo(**keys):
    return Slo.model_validate(keys)


def after(seconds):
    return T0 + timedelta(seconds=seconds)


def traffic(name, rps, seconds, *, seed=0, first=0, ms=5.0, sigma=0.3, error=0.0, answer=ERROR, g=1):
    """Cells of one deployment: Poisson arrivals, log-normal latency (median ``ms``), a share of ``answer``."""
    rng = np.random.default_rng([seed, *name.encode(), round(rps)])
    counted = Counter()
    for second in range(first, first + seconds):
        n = rng.poisson(rps)
        durations = rng.lognormal(np.log(ms), sigma, n).astype(int)
        bad = rng.random(n) < error
        start = after(second // g * g)
        counted.update((start, answer if b else OK, int(d)) for d, b in zip(durations, bad, strict=True))
    return tuple(Cell(start, name, kind, duration, n) for (start, kind, duration), n in counted.items())


def moment(now, *, weight=20, stable="stable", shifts=None, step=0, looks=0, following=100, mirrored=False):
    shifts = (Shift(T0, weight),) if shifts is None else shifts
    return Moment(after(now), "candidate", stable, shifts, after(step), looks, weight, mirrored, following)


def pair(seconds, *, weight=20, rps=40.0, seed=0, stable=None, **candidate):
    """Candidate and stable at ``weight`` percent of ``rps``."""
    share = weight / 100
    return (
        *traffic("candidate", rps * share, seconds, seed=seed, **candidate),
        *traffic("stable", rps * (1 - share), seconds, seed=seed, **(stable or {})),
    )


def samples(cells, complete, **more):
    return Samples(tuple(cells), 1.0, None if complete is None else after(complete), **more)


def look(cells, now, *, slo=SLO, gate=GATE, complete=None, expected=None, problem=None, **at):
    seen = [cell for cell in cells if cell.start < after(now)]
    given = samples(seen, now if complete is None else complete, expected=expected or {}, problem=problem)
    return judge(given, slo, gate, moment(now, **at))


def decided(cells, until, **how):
    """(second, verdict) of the first PASS or FAIL with a look every second, or the last verdict."""
    verdict = None
    for now in range(1, until + 1):
        verdict = look(cells, now, looks=now - 1, **how)
        if verdict.result in (Result.PASS, Result.FAIL):
            return now, verdict
    return until, verdict
