"""Forecasts in words."""

from __future__ import annotations

from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.ports.inspection import Cost, Exposure, Forecast


def forecast_record(found: Forecast) -> dict[str, Any]:
    """Write a forecast as JSON-able data."""
    return {
        "seconds": {"least": found.least_s, "most": found.most_s},
        "calls": {"least": found.calls_least, "most": found.calls_most},
        "queries": {"least": found.queries_least, "most": found.queries_most},
        "exposed": [
            {"step": str(one.step), "share": one.share, "least": one.least, "most": one.most} for one in found.exposures
        ],
        "cost": None if found.cost is None else _cost_record(found.cost),
        "instances_kept": found.kept,
    }


def _cost_record(cost: Cost) -> dict[str, Any]:
    return {
        "usd_per_hour_of_candidate": round(cost.per_hour, 4),
        "usd": {"least": round(cost.least, 4), "most": round(cost.most, 4)},
        "instances": cost.instances,
        "usd_per_instance_hour": cost.price.usd_per_hour,
        "source": cost.price.source,
        "as_of": cost.price.as_of,
    }


def forecast_text(found: Forecast) -> str:
    """Say what the rollout will take, in a few lines."""
    least, most = format_duration(found.least_s), format_duration(found.most_s)
    calls = f"{found.calls_least:,} to {found.calls_most:,} calls"
    queries = f"{found.queries_least:,} to {found.queries_most:,} queries of telemetry"
    lines = [f"It takes {least} if all passes as early as it may, at most {most}; {calls}, {queries}."]
    if found.cost is not None:
        cost = found.cost
        lines.append(
            f"While both versions run the candidate costs ${cost.per_hour:,.2f} an hour ({cost.instances} x "
            f"${cost.price.usd_per_hour:,.4g}; {cost.price.source}, {cost.price.as_of}); "
            f"the whole rollout ${cost.least:,.2f} to ${cost.most:,.2f}."
        )
        if found.kept:
            lines.append(
                f"The stable goes on costing ${found.kept * cost.price.usd_per_hour:,.2f} an hour after it is scaled "
                f"down ({found.kept} x the candidate's price): write `retire: delete` to end that."
            )
    lines += _exposure_lines(found.exposures)
    return "\n".join(lines)


def _exposure_lines(exposures: tuple[Exposure, ...]) -> list[str]:
    if not exposures:
        return []
    if any(one.most is None for one in exposures):
        shares = ", ".join(f"{one.share:.0%}" for one in exposures)
        return [f"Exposed to the candidate: {shares} of the requests, step by step (their rate is not known)."]
    said = ", ".join(f"{one.step} {one.least:,} to {one.most:,}" for one in exposures)
    return [f"Requests exposed to the candidate: {said}."]
