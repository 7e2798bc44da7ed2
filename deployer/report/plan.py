"""A rollout before it starts, as a record and in words: steps, what the gate can see, checks, minutes and money."""

from __future__ import annotations

from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.ports.preview import Preview
from deployer.report.doctor import check_list, checks_text
from deployer.report.forecast import forecast_record, forecast_text
from deployer.report.gate import power_record, power_text
from deployer.report.records import plan_record, plan_text


def preview_record(found: Preview) -> dict[str, Any]:
    """Write a preview as JSON-able data."""
    record = plan_record(found.plan, found.rps) | {"power": power_record(found.powers)}
    if found.watched_s is not None:
        record["rps_watched_s"] = round(found.watched_s, 1)
    if found.under_way is not None:
        record["under_way"] = found.under_way
    if found.checks:
        record |= {"exit_code": int(found.exit_code), "checks": check_list(found.checks)}
    if found.forecast is not None:
        record["forecast"] = forecast_record(found.forecast)
    return record


def _rate_text(found: Preview) -> str:
    if found.watched_s is None or found.rps is None:
        return ""
    return f"The endpoint got {found.rps:.3g} requests/s in the last {format_duration(round(found.watched_s))}."


def preview_text(found: Preview) -> str:
    """Say a preview."""
    parts = [found.under_way, plan_text(found.plan), _rate_text(found), power_text(found.powers)]
    if found.forecast is not None:
        parts.append(forecast_text(found.forecast))
    if found.checks:
        parts.append(checks_text(found.checks))
    return "\n".join(filter(None, parts))
