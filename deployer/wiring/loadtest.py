"""Load tests, wired: the engine that sends, where results are kept, what is compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.engine.loadtest import Asked, aim, first_request, run_test
from deployer.engine.signals import Signals
from deployer.errors import ExitCode, StoreError, UsageError
from deployer.loadtest.advice import unprovable
from deployer.loadtest.figures import Figures, Load
from deployer.loadtest.shapes import lasts_s, peak_rps
from deployer.loadtest.verdict import judge
from deployer.manifest.load import RolloutSpec
from deployer.platforms.diagnosis.diagnose import meaning_of
from deployer.platforms.inspection.limits import met_by
from deployer.ports.loadgen import LoadTester
from deployer.report.formats import format_of, formats
from deployer.report.loadtest.junit import junit_of
from deployer.report.loadtest.page import page_of
from deployer.report.loadtest.record import Outcome, record_of
from deployer.report.loadtest.text import markdown_of
from deployer.stores.loadtests import NO_ROOM, LoadTestResults
from deployer.wiring.sites import Reached, home, new_id
from deployer.wiring.where import cloud_of
from deployer.writing import PRIVATE, SHARED, require_writable, write_whole

JOIN_S = 300.0
"""Longest wait for workers that somebody starts on other hosts."""
USUAL_S = 120.0
"""How long is measured when nobody says."""
FORMATS = formats(page_of, junit_of, markdown_of)


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished test with its record."""

    exit_code: ExitCode
    record: dict[str, Any]


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


def load_of(
    spec: RolloutSpec,
    *,
    rps: float | None,
    seconds: float | None,
    warm_up_s: float,
    shape: str,
    arrivals: str,
    replay: Path | None,
) -> Load:
    """What is to be sent, from the command line and the manifest.

    Raises:
        UsageError: it makes no sense, or nobody says how much.
    """
    if replay is not None:
        recorded_s = _recorded_s(replay)
        warm_up_s = warm_up_s if warm_up_s < recorded_s else 0.0
        left_s = recorded_s - warm_up_s
        measured_s = left_s if seconds is None else min(seconds, left_s)
        return Load("replay", "constant", 0.0, measured_s, warm_up_s=warm_up_s, replay=str(replay.absolute()))
    by_itself_s = lasts_s(shape)
    rate = 0.0 if by_itself_s is not None else _rate_of(spec, rps)
    return Load(arrivals, shape, rate, seconds or by_itself_s or USUAL_S, warm_up_s=warm_up_s)


def _recorded_s(replay: Path) -> float:
    """How long a recording lasts: up to its last arrival, at least a second."""
    from deployer.loadgen.replay import recorded_times  # noqa: PLC0415 - adapters: when they are wired

    return max(recorded_times(replay)[-1] + 0.001, 1.0)


def _rate_of(spec: RolloutSpec, given: float | None) -> float:
    if given is not None:
        return given
    if spec.manifest.load is None:
        raise UsageError("how many requests a second?", hint="Give --rps, or add `load:` to the manifest.")
    return spec.manifest.load.rps


@dataclass(frozen=True, slots=True)
class Engine:
    """Who sends, and where it runs."""

    name: str
    """``local``, ``distributed`` or ``azure-load-testing``."""
    workers: int = 2
    bind: str | None = None
    """Address for workers on other hosts; None: all of them are started here."""
    port: int = 5557
    load_testing: str | None = None
    """Host of the Load Testing resource's data plane."""
    key_vault_secret: str | None = None

    def senders(self, load: Load) -> int:
        """Processes that send; each keeps up to ``load.in_flight`` requests in flight by itself."""
        return self.workers if self.name == "distributed" else load.processes


def tester_of(reached: Reached, engine: Engine) -> LoadTester:
    """Make the engine that sends.

    Raises:
        UsageError: an option of it is missing.
    """
    # adapters: when they are wired
    if engine.name == "distributed":
        from deployer.loadgen.distributed import DistributedLoad  # noqa: PLC0415

        if engine.bind is None:
            return DistributedLoad(engine.workers)
        return DistributedLoad(engine.workers, local_workers=0, bind=engine.bind, port=engine.port, join_s=JOIN_S)
    if engine.name == "azure-load-testing":
        from deployer.cloud.clouds import find_cloud  # noqa: PLC0415
        from deployer.cloud.credentials import credential  # noqa: PLC0415
        from deployer.cloud.load_testing import LoadTesting  # noqa: PLC0415
        from deployer.loadgen.azure import AzureLoadTesting  # noqa: PLC0415

        if engine.load_testing is None:
            raise UsageError(
                "--engine azure-load-testing needs --load-testing HOST",
                hint="Give the data plane's host of the Load Testing resource, as its overview in the portal shows it.",
            )
        cloud = cloud_of(reached.the_spec.manifest.platform.cloud, os.environ)
        identity = credential(find_cloud(cloud, os.environ))
        service = LoadTesting(engine.load_testing, identity)
        return AzureLoadTesting(service, reached.site.clock, engine.key_vault_secret)
    from deployer.loadgen.local import LocalLoad  # noqa: PLC0415

    return LocalLoad()


def interruptible(reached: Reached) -> Reached:
    """The same endpoint; a signal ends the test, and the same one again leaves at once with code 12."""
    signals = Signals(lambda: None, ExitCode.ABORTED, "the load ends with this process; its figures are not kept")
    return replace(reached, signals=signals, site=replace(reached.site, signal=signals))


def warnings(reached: Reached, asked: Asked, engine: Engine) -> list[str]:
    """What is known before: targets that this run cannot prove, and limits of the services that it will meet."""
    load, found = asked.load, list(unprovable(asked.load, reached.the_spec.manifest.slo))
    if engine.name == "azure-load-testing":
        from deployer.loadgen.azure import COARSE  # noqa: PLC0415 - adapters: when they are wired

        found.append(f"{COARSE}. The load begins minutes after the start, from one engine")
    connections = max(load.in_flight, load.concurrency) * engine.senders(load)
    size = usual_body(asked.payload)
    return found + met_by(reached.platform, rps=peak_rps(load), connections=connections, payload_bytes=size)


def usual_body(payload: Path) -> int:
    """Bytes of a request of a payload file, on average; 0 where a schema says what is drawn: not known."""
    if payload.name.endswith(".schema.json"):
        return 0
    content = payload.read_bytes()
    bodies = [line for line in content.splitlines() if line.strip()] if payload.suffix == ".jsonl" else [content]
    return round(sum(map(len, bodies)) / max(len(bodies), 1))


def run(
    reached: Reached,
    tester: LoadTester,
    engine: Engine,
    asked: Asked,
    show: Callable[[Figures], None],
    note: Callable[[str], None],
    *,
    during_rollout: bool,
    reports: Sequence[Path],
) -> Ran:
    """Run a test, judge it, compare it, keep it and write its reports.

    Raises:
        UsageError: a report's name has an unknown end; nothing was sent.
        StoreError: the result could not be written; nothing was sent.
    """
    site, spec = reached.site, reached.the_spec
    where = spec.manifest.platform
    for path in reports:
        format_of(path, FORMATS)
        require_writable(path, mode=SHARED, hint=NO_ROOM)
    said = warnings(reached, asked, engine)
    for warning in said:
        note(warning)
    aimed = aim(site, asked.deployment, during_rollout=during_rollout)
    aimed = first_request(site, aimed, asked, lambda status: meaning_of(status, reached.platform), note)
    results = LoadTestResults(home().joinpath("loadtests", *_folder(reached)))
    require_writable(results.path("result", ".json"), hint=NO_ROOM)
    test_id = new_id(site.clock)
    figures = run_test(site, tester, aimed.target, asked, show)
    outcome = Outcome(
        id=test_id,
        endpoint=site.endpoint,
        platform=reached.platform,
        deployment=asked.deployment,
        engine=engine.name,
        payload=asked.payload.name,
        payload_sha256=_sha256(asked.payload),
        figures=figures,
        verdict=judge(figures, spec.manifest.slo),
        interrupted=site.signal() is not None and figures.partial is not None,
        traffic=aimed.traffic,
        actor=site.actor,
        warnings=said,
        place="/".join(filter(None, (where.subscription_id, where.resource_group, where.workspace))),
        replay_sha256=_sha256(Path(asked.load.replay)) if asked.load.replay else None,
    )
    record = record_of(outcome, results.previous(outcome.test))
    _write(record, results, reports, note)
    return Ran(outcome.exit_code, record)


def _write(
    record: dict[str, Any], results: LoadTestResults, reports: Sequence[Path], note: Callable[[str], None]
) -> None:
    """Keep the result and write its pages; what cannot be written is noted, for the verdict is told all the same."""
    pages = list(reports) or [results.path(record["id"], ".html")]
    record["report"] = str(pages[0])
    written: list[Path] = []
    problems: list[str] = []
    for path in pages:
        try:
            write_whole(path, format_of(path, FORMATS)(record), mode=SHARED if reports else PRIVATE, hint=NO_ROOM)
            written.append(path)
        except StoreError as exc:
            problems.append(exc.message)
    record["report"] = str(written[0]) if written else None
    record["warnings"] += problems
    try:
        kept = results.keep(record["id"], record)
        problems += [f"the result is kept as {kept}"] if problems else []
    except StoreError as exc:
        problems.append(f"{exc.message}: the result is not kept")
    for problem in problems:
        note(problem)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _folder(reached: Reached) -> tuple[str, ...]:
    workspace = reached.the_spec.manifest.platform.workspace
    return (reached.platform, *([workspace] if workspace else []), reached.site.endpoint)
