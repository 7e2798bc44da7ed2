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


BADNESS = (
    *(ExitCode.STUCK, ExitCode.BUG),
    *(ExitCode.REFUSED, ExitCode.POLICY, ExitCode.MANIFEST, ExitCode.USAGE),  # nobody knows how that one stands
    *(ExitCode.PLATFORM, ExitCode.ABORTED, ExitCode.INCONCLUSIVE, ExitCode.GATE_FAILED),
    *(ExitCode.PAUSED, ExitCode.OK),
)
"""Exit codes, the worst first."""


class Endings:
    """How a command ends that did the same to several endpoints: a line each, one document, the worst exit code."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._records: list[dict[str, Any]] = []
        self._reports: list[str] = []
        self._codes = [ExitCode.OK]

    def add(self, target: str, done: Ended, more: Mapping[str, Any]) -> None:
        """Tell how one ended."""
        from deployer.report.records import ended_record

        record = ended_record(done) | dict(more)
        self._say(target, done.text, record, done.exit_code)
        if self._out.ci is not None:
            self._reports += filter(None, [_tell_ci(self._out, done, record, target)])

    def failed(self, target: str, error: Exception) -> None:
        """Tell of one that could not be tried."""
        from deployer.errors import DeployerError
        from deployer.report.output import error_record

        known = error if isinstance(error, DeployerError) else DeployerError(repr(error), hint="Run with --debug.")
        code = known.exit_code if known is error else ExitCode.BUG
        text = f"{known.message}. {known.hint}"
        self._say(target, text, error_record(known) | {"exit_code": int(code)}, code)
        self._out.annotate("error", f"{target}: {text}")

    def conclude(self) -> ExitCode:
        """Write the document and what CI is told of all; return the worst exit code."""
        from deployer.report.ci import outputs_of

        worst = min(self._codes, key=BADNESS.index)
        if self._out.as_json:
            self._out.result({"exit_code": int(worst), "endpoints": self._records}, "")
        self._out.pass_on(outputs_of({"exit_code": worst}, "\n".join(self._reports)))
        return worst

    def _say(self, target: str, text: str, record: Mapping[str, Any], code: ExitCode) -> None:
        self._records.append({"target": target, **record})
        self._codes.append(code)
        if not self._out.as_json:
            self._out.result({}, f"{target}: {text}", style(code))


def _trace(out: Output, done: Ended) -> None:
    from deployer.wiring.evidence import trace

    if said := trace(done):
        out.say(said)


def _tell_ci(out: Output, done: Ended, record: Mapping[str, Any], target: str) -> str:
    """Tell it of one endpoint; the path of its report, if there is one."""
    from deployer.report.ci import Place, outputs_of
    from deployer.report.markdown import code, escaped
    from deployer.wiring.sites import is_manifest

    place = Place(target) if is_manifest(target) else None
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
    return report


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
