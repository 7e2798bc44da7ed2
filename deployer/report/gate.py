"""The gate's verdicts in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

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
    """Say for each step how long the gate takes for what, and what is too short."""
    lines: list[str] = []
    for power in powers:
        rows = [f"{row.question} {format_duration(row.seconds)}" for row in power.rows if isfinite(row.seconds)]
        lines.append(f"  {power.step!s:<5} the gate needs about: {', '.join(rows)}")
        if power.shortfall is not None:
            lines.append(f"        too short: {power.shortfall.text}")
    return "\n".join(lines)


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
                }
                for row in power.rows
            ],
            "too_short": power.shortfall.text if power.shortfall else None,
        }
        for power in powers
    ]
