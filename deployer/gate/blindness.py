"""When telemetry cannot carry a verdict. Losing sight never promotes, and by itself never rolls back.

Each rule answers with one line that says what is missing, or None.
"""

from __future__ import annotations

import numpy as np

from deployer.gate.ledger import CANDIDATE, STABLE, Ledger
from deployer.gate.samples import Samples
from deployer.gate.verdict import Moment
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Gate

MISSING = 0.1
"""Part of the independently counted requests that may be missing, beside chance."""
CHANCE = 2.0
"""Small counts may differ by so many square roots of the count."""
SILENT = 10.0
"""Requests that an arm should have had, by its weight, since its last one: fewer are chance (e to the -10)."""
AHEAD_S = 5.0
"""Clocks of telemetry may be ahead by so much."""
FRESH_LOOKS = 3
FRESH_GAPS = 10
FRESH_S = 60.0


def untrusted(samples: Samples, ledger: Ledger, moment: Moment) -> str | None:
    """Why the counts themselves cannot be believed."""
    if samples.problem is not None:
        return f"telemetry cannot be trusted: {samples.problem}"
    ahead_s = float(ledger.starts[-1]) - moment.now.timestamp() if ledger.starts.size else 0.0
    if ahead_s > AHEAD_S:
        return f"telemetry holds answers from {ahead_s:.0f}s in the future: its clock and ours disagree"
    return None


def blind(samples: Samples, ledger: Ledger, gate: Gate, moment: Moment) -> str | None:
    """Why the counts are not the whole story: late, incomplete, or one arm is silent."""
    if samples.complete_until is None:
        return samples.doubt or "telemetry does not say up to when it is complete"
    lag_s = (moment.now - samples.complete_until).total_seconds()
    if lag_s > gate.telemetry.max_lag:
        return (
            f"telemetry is {format_duration(lag_s)} old, over gate.telemetry.max_lag "
            f"{format_duration(gate.telemetry.max_lag)}"
        )
    return _incomplete(samples, ledger, moment) or _silent(
        ledger, moment, min(samples.complete_until, moment.now).timestamp()
    )


def _incomplete(samples: Samples, ledger: Ledger, moment: Moment) -> str | None:
    """Compare with the independent count, which is a lower bound: more rows than it knows of are no fault."""
    for arm, name in ((CANDIDATE, moment.candidate), (STABLE, moment.stable)):
        expected = samples.expected.get(name, 0) if name else 0
        seen = int(ledger.counts[:, arm].sum())
        if seen < expected - max(MISSING * expected, CHANCE * expected**0.5):
            return f"telemetry holds {seen} of the {expected} requests that {name} answered"
    return None


def _silent(ledger: Ledger, moment: Moment, until_s: float) -> str | None:
    """Name the arm that should have answered by its weight, and did not, while the other did."""
    weight = moment.weight_pct / 100
    if moment.stable is None or moment.mirrored or not 0 < weight < 1:
        return None
    rows = ledger.rows(moment.step_started_at.timestamp(), until_s)
    n = ledger.counts[rows].sum(axis=2)
    for arm, name, odds in (
        (CANDIDATE, moment.candidate, weight / (1 - weight)),
        (STABLE, moment.stable, 1 / weight - 1),
    ):
        seen = np.flatnonzero(n[:, arm])
        others = int(n[(seen[-1] + 1 if seen.size else 0) :, 1 - arm].sum())
        if others * odds >= SILENT:
            return (
                f"no answers of {name} in telemetry while the other deployment gave {others}: "
                f"at this weight about {others * odds:.0f} were due"
            )
    return None


def stale(ledger: Ledger, gate: Gate, moment: Moment, until_s: float) -> str | None:
    """Why the candidate's newest complete answer is too old to promote by: its traffic has stopped."""
    rows = ledger.rows(moment.step_started_at.timestamp(), until_s)
    n = ledger.served(CANDIDATE)[rows]
    starts = ledger.starts[rows][n > 0]
    if not starts.size:
        return None
    span_s = until_s - float(starts[0])
    allowed = max(
        FRESH_LOOKS * gate.look, FRESH_S if gate.look >= FRESH_LOOKS else 0.0, FRESH_GAPS * span_s / float(n.sum())
    )
    quiet_s = until_s - float(starts[-1]) - ledger.cell_s
    if quiet_s <= allowed:
        return None
    return f"the candidate answered nothing for {format_duration(quiet_s)}: its traffic has stopped"
