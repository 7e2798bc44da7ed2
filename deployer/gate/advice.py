"""What would cure an undecided step: which weight would have brought enough requests in the step's time.

Only said where more traffic is the cure: every open proof goes forward, and nothing else holds the step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployer.gate.power import WEIGHTS_PCT
from deployer.gate.verdict import Moment, Reason, Result


@dataclass(frozen=True, slots=True)
class Seen:
    """Requests of the candidate that were scored."""

    before: int
    """In earlier steps."""
    step: int
    """In this step so far."""


def enough_weight(moment: Moment, seen: Seen, open_proofs: Iterable[Reason], least: int) -> int | None:
    """Smallest usual weight at which this step's time so far would probably have been enough for a PASS.

    None: no weight up to a half would, more requests would not help, or there is no weight to raise. A comparison needs
    more requests of the candidate the fewer of them are the stable's: in proportion to 1 / (1 - weight).

    Args:
        moment: the look.
        seen: what this step and the ones before brought.
        open_proofs: reasons of the metrics that are not proven.
        least: requests of the candidate that each step must have.
    """
    if moment.stable is None or moment.mirrored or moment.weight_pct <= 0 or not seen.step:
        return None
    missing = [
        (reason.needed - seen.before if reason.needed is not None else None, reason.rule)
        for reason in open_proofs
        if reason.result is not Result.PASS
    ]
    for weight in WEIGHTS_PCT:
        brought = seen.step * weight / moment.weight_pct
        dearer = (100 - moment.weight_pct) / (100 - weight)
        if weight > moment.weight_pct and all(
            needed is not None and needed * (dearer if rule == "compare" else 1.0) <= brought
            for needed, rule in [*missing, (least, "slo")]
        ):
            return weight
    return None
