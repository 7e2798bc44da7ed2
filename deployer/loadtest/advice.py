"""What can be said of a load before it is sent."""

from __future__ import annotations

from deployer.loadtest.figures import Load
from deployer.loadtest.proof import requests_to_prove
from deployer.loadtest.shapes import expected_requests
from deployer.loadtest.verdict import ERROR_RATE, LEVELS
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Slo


def unprovable(load: Load, slo: Slo) -> tuple[str, ...]:
    """Say which targets so few requests cannot prove, even if every one of them is answered well and in time."""
    expected = expected_requests(load)
    if not expected or load.seconds <= 0:
        return ()
    allowed = {ERROR_RATE: slo.error_rate} if slo.error_rate else {}
    if slo.latency is not None:
        allowed |= {name: round(1 - LEVELS[name], 9) for name, limit in slo.latency.targets() if limit is not None}
    needed = {name: requests_to_prove(share) or 0 for name, share in allowed.items()}
    most = max(needed.values(), default=0)
    names = [name for name, n in needed.items() if n > expected]
    if not names:
        return ()
    rate = expected / load.seconds
    text = (
        f"about {expected:,.0f} requests are too few to prove {' and '.join(names)}, even without a bad one: "
        f"{most:,} are needed at least, {format_duration(max(most / rate, 1.0))} at this rate"
    )
    return (text,)
