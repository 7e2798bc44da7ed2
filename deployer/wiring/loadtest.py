"""Load tests, wired: the engine that sends, where results are kept, what is compared."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deployer.engine.loadtest import Test, run_test, target_of
from deployer.errors import StoreError, UsageError
from deployer.loadtest.figures import Figures, Load
from deployer.loadtest.verdict import judge
from deployer.manifest.load import RolloutSpec
from deployer.ports.loadgen import LoadTester
from deployer.report.loadtest.page import page_of
from deployer.report.loadtest.record import Outcome, record_of
from deployer.report.loadtest.text import markdown_of
from deployer.stores.loadtests import TestResults
from deployer.wiring.sites import Reached, home

ENDPOINT_RPS = 500.0
"""Requests a second that a managed endpoint admits by default. Source: Azure ML, limits of online endpoints."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished test with its record."""

    outcome: Outcome
    record: dict[str, object]


def payload_of(spec: RolloutSpec, given: Path | None) -> Path:
    """The request that is sent: the one given, else the first that the manifest names.

    Raises:
        UsageError: there is none.
    """
    manifest = spec.manifest
    named = [
        *([manifest.load.request] if manifest.load else []),
        *([manifest.warmup.request] if manifest.warmup else []),
        *(smoke.request for smoke in manifest.smoke),
    ]
    path = given or (spec.path.parent / named[0] if named else None)
    if path is None:
        raise UsageError(
            "the manifest names no request to send", hint="Give one: --payload FILE, or add `load:` to it."
        )
    if not path.is_file() or not path.stat().st_size:
        raise UsageError(f"{path} is not a file with a request", hint="Give the request's body: --payload FILE.")
    return path


def rate_of(spec: RolloutSpec, given: float | None) -> float:
    """Requests a second: as given, else the manifest's load.

    Raises:
        UsageError: neither says.
    """
    if given is not None:
        return given
    if spec.manifest.load is None:
        raise UsageError("how many requests a second?", hint="Give --rps, or add `load:` to the manifest.")
    return spec.manifest.load.rps


def warnings(reached: Reached, load: Load) -> list[str]:
    """What the service's own limits will do to this load."""
    if reached.platform == "local" or load.rps <= ENDPOINT_RPS:
        return []
    return [f"{load.rps:g} requests/s are over the {ENDPOINT_RPS:g} that an endpoint admits by default: expect 429"]


def run(
    reached: Reached,
    tester: LoadTester,
    engine: str,
    test: Test,
    on_progress: Callable[[Figures], None],
    *,
    force: bool,
    report: Path | None,
) -> Ran:
    """Run a test, judge it, compare it, keep it and write its report."""
    site, spec = reached.site, reached.the_spec
    target = target_of(site, test.deployment, force=force)
    test_id = f"{site.clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    figures = run_test(site, tester, target, test, on_progress)
    verdict = judge(figures, spec.manifest.slo)
    interrupted = site.signal() is not None
    name = test.payload.name
    outcome = Outcome(test_id, site.endpoint, test.deployment, engine, name, figures, verdict, interrupted)
    place = spec.manifest.platform
    results = TestResults(home().joinpath("loadtests", place.type.value, place.workspace or "local", site.endpoint))
    record = record_of(outcome, results.previous(outcome.test))
    path = report or home().joinpath("reports", f"loadtest-{test_id}.html")
    record["report"] = str(path)
    results.keep(test_id, record)
    _write(path, page_of(record))
    _append_summary(record)
    return Ran(outcome, record)


def _write(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise StoreError(
            f"cannot write the report {path}: {exc.strerror or exc}", hint="Give another --report."
        ) from exc


def _append_summary(record: dict[str, object]) -> None:
    """Show the result in the CI run, where there is one; that it cannot be written changes nothing."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown_of(record))
        except OSError:
            return


def tester_of(engine: str) -> LoadTester:
    """The engine that sends.

    Raises:
        UsageError: there is no such engine.
    """
    from deployer.loadgen.local import LocalLoad  # noqa: PLC0415 - adapters: when they are wired

    if engine == "local":
        return LocalLoad()
    raise UsageError(f"there is no engine {engine}", hint="Choose local.")
