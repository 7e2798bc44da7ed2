"""A rollout before it starts, as a record and in words: steps, what the gate can see, checks, minutes and money."""

from __future__ import annotations

from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.ports.inspection import CheckState
from deployer.ports.preview import Preview
from deployer.report.doctor import check_list, checks_text
from deployer.report.forecast import forecast_record, forecast_text
from deployer.report.gate import power_record, power_text
from deployer.report.markdown import COMMENT_MOST, block, bounded, code, escaped, row
from deployer.report.records import plan_record, plan_text
from deployer.rollout.describe import describe


def preview_record(found: Preview) -> dict[str, Any]:
    """Write a preview as JSON-able data."""
    record = plan_record(found.plan, found.rps) | {"power": power_record(found.powers)}
    if found.watched_s is not None:
        record["rps_watched_s"] = round(found.watched_s, 1)
    if found.under_way is not None:
        record["under_way"] = found.under_way
    if found.warnings:
        record["warnings"] = list(found.warnings)
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
    warned = [f"warning: {each}" for each in found.warnings]
    parts = [*warned, found.under_way, plan_text(found.plan), _rate_text(found), power_text(found.powers)]
    if found.forecast is not None:
        parts.append(forecast_text(found.forecast))
    if found.checks:
        parts.append(checks_text(found.checks))
    return "\n".join(filter(None, parts))


def preview_markdown(found: Preview, manifest: str) -> str:
    """Write a preview for a comment or a step summary: the steps as a table, all the rest below it.

    Args:
        found: the preview.
        manifest: path of it, as the command line has it.
    """
    plan = found.plan
    if isinstance(plan, str):
        return f"### {code(manifest)}: nothing to do\n\n{code(plan)} already serves this version with 100 %.\n"
    mark = "⛔ refused" if found.exit_code else "🚀 plan"
    lines = [f"### {mark}: {code(plan.endpoint)} {code(plan.stable or 'nothing')} → {code(plan.candidate)}", ""]
    if found.under_way is not None:
        lines += [f"⏳ {escaped(found.under_way)}", ""]
    lines += [row("", "step"), row("---:", "---")]
    lines += [row(str(number), escaped(text)) for number, (_, text) in enumerate(describe(plan), start=1)]
    bad = [one for one in found.checks if one.state is not CheckState.OK]
    if bad:
        lines += ["", row("check", "", "what to do"), row("---", "---", "---")]
        lines += [row(escaped(one.name), f"{one.state.value}: {escaped(one.text)}", escaped(one.fix)) for one in bad]
    back = f"{code(plan.stable)} gets 100 % back" if plan.stable else "all traffic is taken away again"
    lines += ["", f"If anything fails, {back}. {code(manifest)}, rollout not started: this is a plan."]
    details = "\n".join(filter(None, (_rate_text(found), power_text(found.powers), _forecast(found))))
    if details:
        lines += ["", "<details><summary>Time, money and what the gate can see</summary>", "", block(details)]
        lines.append("</details>")
    return bounded("\n".join(lines) + "\n", COMMENT_MOST)


def _forecast(found: Preview) -> str:
    return forecast_text(found.forecast) if found.forecast is not None else ""
