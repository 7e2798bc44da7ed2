"""The gate's verdicts in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from typing import Any

from deployer.gate.power import PROOF
from deployer.gate.verdict import Verdict
from deployer.manifest.quantities import format_duration
from deployer.rollout.power import StepPower


def backtest_text(verdict: Verdict | None) -> str:
    """Say a verdict and each metric's part in it."""
    if verdict is None:
        return "inconclusive: the gate never looked, the recorded traffic is too short"
    lines = [f"{verdict.result.value} at {verdict.at:%Y-%m-%d %H:%M:%S} UTC: {verdict.text}"]
    lines += [f"  {reason.result.value:<13} {reason.metric:<11} {reason.text}" for reason in verdict.reasons]
    return "\n".join(lines)


def power_text(powers: Sequence[StepPower]) -> str:
    """Say for each step how long the gate takes to pass a good version and to find a bad one, and what is too short."""
    if not powers:
        return ""
    width = max(len(str(power.step)) for power in powers)
    lines = ["At this rate of requests the gate takes about:"]
    for power in powers:
        lines.append(f"  {power.step!s:<{width}}  {_passes(power)}; {_finds(power)}")
        if missed := _misses(power):
            lines.append(f"  {'':<{width}}  {missed}")
        if power.shortfall is not None:
            lines.append(f"  {'':<{width}}  too short: {power.shortfall.text}")
    return "\n".join(lines)


def _passes(power: StepPower) -> str:
    slowest = next((row for row in power.rows if row.question.startswith(PROOF)), None)
    if slowest is None:
        return "nothing to pass"
    what = slowest.question.removeprefix(PROOF)
    if not isfinite(slowest.seconds):
        return f"never passes ({what})"
    return f"{format_duration(slowest.seconds)} to pass a good version ({what})"


def _finds(power: StepPower) -> str:
    """Group what is found in the same time; a stronger sign of the same kind that takes as long is left out."""
    found: dict[str, list[str]] = {}
    kinds: set[tuple[str, str]] = set()
    for row in sorted(power.rows, key=lambda row: row.seconds):
        took, kind = format_duration(row.seconds) if isfinite(row.seconds) else "", row.question.split()[-1]
        if took and not row.question.startswith(PROOF) and (took, kind) not in kinds:
            kinds.add((took, kind))
            found.setdefault(took, []).append(row.question)
    said = "; ".join(f"{took} to find {' or '.join(questions)}" for took, questions in found.items())
    return said or "finds nothing in time"


def _misses(power: StepPower) -> str:
    """Name the regressions that usually outlast the step, and how often they are found in it all the same."""
    max_s = power.step.max_s
    if max_s is None:
        return ""
    late = [
        f"{row.question} {_how_often(row.chance(max_s))}"
        for row in power.rows
        if not row.question.startswith(PROOF) and max_s < row.seconds < inf
    ]
    if not late:
        return ""
    said = ", ".join(late)
    return f"within its {format_duration(max_s)} this step finds {said}: more traffic, weight or time would find more"


def _how_often(chance: float) -> str:
    tenths = round(10 * chance)
    return f"in about {tenths} of 10 rollouts" if tenths else "hardly ever"


def power_record(powers: Sequence[StepPower]) -> list[dict[str, Any]]:
    """Write the same as JSON-able data; ``seconds`` is null where it is never."""
    return [
        {
            "step": str(power.step),
            "needs": [
                {
                    "question": row.question,
                    "requests": row.requests,
                    "seconds": row.seconds if isfinite(row.seconds) else None,
                    "chance": None if power.step.max_s is None else round(row.chance(power.step.max_s), 2),
                }
                for row in power.rows
            ],
            "too_short": power.shortfall.text if power.shortfall else None,
        }
        for power in powers
    ]
