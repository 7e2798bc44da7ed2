"""How a command that moves traffic ends: its last line for people, its document for machines, and what CI is told."""

# ruff: noqa: PLC0415 - imports inside the functions (see base.py)

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployer.cli.base import style
from deployer.errors import ExitCode

if TYPE_CHECKING:  # slow to import; the commands do it when they run
    from deployer.report.output import Output
    from deployer.rollout.ending import Ended


def conclude(out: Output, done: Ended, target: str, more: Mapping[str, Any] | None = None) -> ExitCode:
    """Print how it ended and return its exit code; on a CI system leave annotation, outputs, summary and report.

    Args:
        out: of the command.
        done: how it ended.
        target: what the command line names; a manifest is where an annotation is shown.
        more: further members of the JSON document.
    """
    from deployer.report.records import ended_record, ended_text

    record = ended_record(done) | dict(more or {})
    if done.state is not None and done.state.is_final:
        with suppress(Exception):  # what is told of a rollout never changes how it ended
            _trace(out, done)
    out.result(record, ended_text(done), style(done.exit_code))
    if out.ci is not None:
        _tell_ci(out, done, record, target)
    return done.exit_code


def _trace(out: Output, done: Ended) -> None:
    from deployer.wiring.evidence import trace

    if said := trace(done):
        out.say(said)


def _tell_ci(out: Output, done: Ended, record: Mapping[str, Any], target: str) -> None:
    from deployer.report.ci import Place, outputs_of
    from deployer.report.markdown import code, escaped

    place = Place(target) if target.endswith((".yaml", ".yml")) else None
    if done.exit_code is not ExitCode.OK:
        out.annotate("warning" if done.exit_code is ExitCode.PAUSED else "error", done.text, place)
    out.pass_on(outputs_of(record, ""))  # at once: a runner that was told to stop does not wait for the report
    markdown, report = "", ""
    if done.state is not None:
        try:
            markdown, report = _evidence(done.state.plan.rollout_id)
        except Exception as exc:  # noqa: BLE001 - a report that cannot be made is no reason to fail
            out.annotate("warning", f"no report: {exc}")
    out.summarise(markdown or f"### {code(target)}\n\n{escaped(done.text)} (exit {int(done.exit_code)})\n")
    if report:
        out.pass_on({"report": report})


def _evidence(rollout_id: str) -> tuple[str, str]:
    """Write the report of a rollout where it is kept by default; return its Markdown, and the page's path."""
    from deployer.report.rollout.record import record_of
    from deployer.report.rollout.text import markdown_of
    from deployer.report.rollout.writing import write
    from deployer.wiring import evidence

    record = record_of(evidence.read(rollout_id, recompute=False))
    path = evidence.default_report(rollout_id, "html")
    write(record, "html", path)
    return markdown_of(record), str(path)
