"""Profiles, wired: the test endpoint, prices, the load generator, and where results are kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.engine.profile_stand import Stand, require_test_endpoint
from deployer.engine.profile_trial import Trials
from deployer.engine.profiler import Listener, Profiler
from deployer.engine.site import Site
from deployer.errors import ManifestError, PlanError, StoreError
from deployer.manifest.configuration import Configuration
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import PlatformType
from deployer.manifest.sources import digest_of
from deployer.platforms.inspection.limits import met_by
from deployer.ports.inspection import Price
from deployer.ports.loadgen import LoadTester
from deployer.ports.profiling import Ending
from deployer.profile import lock as locks
from deployer.profile.cheapest import CheapestSearch
from deployer.profile.ledger import HOUR_S, Ledger
from deployer.profile.patch import patched
from deployer.profile.pricing import PriceTag, own_price
from deployer.report.formats import Write, format_of, formats
from deployer.report.output import document
from deployer.report.profile.junit import junit_of
from deployer.report.profile.page import page_of
from deployer.report.profile.record import Outcome, record_of
from deployer.report.profile.text import markdown_of
from deployer.wiring.checks import profile as load_profile
from deployer.wiring.loadtest import usual_body
from deployer.wiring.sites import Reached, home, new_id
from deployer.wiring.sites import reach as reach_endpoint
from deployer.writing import SHARED, require_writable, write_whole

LOOK_S = 5.0
"""The first trial, about."""
FORMATS = formats(page_of, junit_of, markdown_of)


@dataclass(frozen=True, slots=True)
class ReachedProfile:
    """A profile and the test endpoint it is for."""

    spec: ProfileSpec
    reached: Reached
    prices: dict[Configuration, PriceTag]
    """Of one instance of each configuration."""

    @property
    def site(self) -> Site:
        """The test endpoint."""
        return self.reached.site

    @property
    def warnings(self) -> list[str]:
        """Which limits of the endpoint itself the wanted rate meets, whatever configuration stands behind it."""
        return met_by(self.reached.platform, rps=self.spec.rate, payload_bytes=usual_body(self.spec.payload))

    def usd_per_hour(self, configuration: Configuration) -> float:
        """Price of the whole configuration."""
        return self.prices[configuration].usd_per_hour * configuration.instance_count


@dataclass(frozen=True, slots=True)
class Ran:
    """A profile that has ended."""

    outcome: Outcome
    record: dict[str, Any]
    changed: str | None
    """The deployment file that was written; None: none was."""


def reach(path: Path) -> ReachedProfile:
    """Load a profile, reach its endpoint, look up prices. Changes nothing.

    Raises:
        InvalidManifestError: the profile is wrong.
        PlanError: a price is not to be had, or the endpoint is not one for this.
    """
    spec = load_profile(path)
    place = spec.profile.platform
    where = {
        "platform": place.type.value,
        "subscription": place.subscription_id,
        "resource_group": place.resource_group,
        "workspace": place.workspace,
        "cloud": None if place.type is PlatformType.LOCAL else place.cloud,
    }
    reached = _insistent(reach_endpoint(spec.endpoint.name, where=where))
    require_test_endpoint(reached.site.platform.observe())
    known: dict[str, Price | None] = {}
    prices = {each: _price(each, spec, reached.price, known) for each in spec.configurations}
    asked = ReachedProfile(spec, reached, prices)
    _require_budget(asked)
    return asked


def _insistent(reached: Reached) -> Reached:
    """The same endpoint; who insists on leaving is told what is left there."""
    name = reached.site.endpoint
    words = f"what was made on {name} is there still: the next profile removes it, or `deployer gc {name} --yes`"
    signals = reached.signals.saying(words)
    return replace(reached, signals=signals, site=replace(reached.site, signal=signals))


def _require_budget(asked: ReachedProfile) -> None:
    """Refuse a budget that does not pay for one deployment, the shortest look at it, and its removal.

    Raises:
        PlanError: it says what would do. Nothing was changed.
    """
    budget = asked.spec.profile.budget
    capabilities = asked.site.platform.capabilities
    least_s = capabilities.typical_deploy_s + LOOK_S
    paid_s = least_s + capabilities.typical_delete_s
    least_usd = min(map(asked.usd_per_hour, asked.spec.configurations)) * paid_s / HOUR_S
    if budget.time < least_s or (budget.usd is not None and budget.usd < least_usd):
        raise PlanError(
            "the budget does not pay for one deployment, a look at it and its removal",
            hint=f"Give it at least {{time: {format_duration(least_s)}, usd: {least_usd:.2g}}}, and more to compare.",
        )


def _price(
    configuration: Configuration,
    spec: ProfileSpec,
    ask: Callable[[str], Price | None],
    known: dict[str, Price | None],
) -> PriceTag:
    given = own_price(configuration, spec.profile.platform.type, spec.profile.prices)
    if given is not None:
        return given
    instance_type = configuration.instance_type or ""
    if instance_type not in known:
        known[instance_type] = ask(instance_type)
    found = known[instance_type]
    if found is None:
        raise PlanError(
            f"nobody says what {instance_type} costs", hint=f"Add `prices: {{{instance_type}: <USD per hour>}}`."
        )
    return PriceTag(found.usd_per_hour, found.source, found.as_of)


def tester() -> LoadTester:
    """The load generator: on this machine."""
    from deployer.loadgen.local import LocalLoad  # noqa: PLC0415 - adapters: when they are wired

    return LocalLoad()


def run(
    asked: ReachedProfile,
    tester: LoadTester,
    listener: Listener,
    *,
    write: bool = False,
    reports: Sequence[Path] = (),
    junit: Path | None = None,
    seed: int = 1,
) -> Ran:
    """Carry a profile out, write its reports and lock, and the deployment file when that is wanted.

    What was measured is kept among deployer's files in any case; without ``reports`` a page is beside it.

    Raises:
        UsageError: a report's name has an unknown end. Nothing was changed.
        PlanError: refused. Nothing was changed.
        ManifestError, StoreError: what is asked for cannot be written. Nothing was changed.
    """
    spec, site = asked.spec, asked.site
    profile_id = new_id(site.clock)
    kept = home().joinpath("reports", f"profile-{profile_id}.json")
    pages = {path: format_of(path, FORMATS) for path in reports or [kept.with_suffix(".html")]}
    _require_writable(spec, [*pages, kept, *([junit] if junit else [])], write=write)
    profile, started = spec.profile, site.clock.now()
    removal_s = site.platform.capabilities.typical_delete_s
    ledger = Ledger(started, profile.budget.time, profile.budget.usd, removal_s=removal_s)
    search = CheapestSearch(
        spec.configurations, lambda each: asked.prices[each].usd_per_hour, profile.slo, spec.rate, seed=seed
    )
    stand = Stand(site, spec, ledger, asked.usd_per_hour, listener.on_note)
    trials = Trials(site, spec, tester, seed=seed)
    done = Profiler(site, stand, trials, search, ledger, listener).run()
    outcome = Outcome(profile_id, started, spec, done, asked.prices)
    record = record_of(outcome)
    record["report"] = str(next(iter(pages)))
    changed, notes = None, record["notes"]
    known = len(notes)
    if done.ending is Ending.COMPLETE and done.advice.recommended is not None:
        with _noting(notes):
            _put(spec.path.parent / locks.NAME, locks.to_json(_lock(outcome, record)))
        if write:
            with _noting(notes):
                changed = _write_deployment(spec, done.advice.recommended)
    _keep(record, pages | ({junit: junit_of} if junit else {}), kept)
    for note in notes[known:]:
        listener.on_note(note)
    return Ran(outcome, record, changed)


def _require_writable(spec: ProfileSpec, files: Sequence[Path], *, write: bool) -> None:
    """Refuse before anything is paid for what could not be written at the end."""
    for path in [*files, spec.path.parent / locks.NAME, *([_deployment_file(spec)] if write else [])]:
        require_writable(path, mode=SHARED, hint="Look at its folder, or name another file.")


@contextmanager
def _noting(notes: list[str]) -> Generator[None]:
    """Note what cannot be written: what was measured and paid for is given all the same."""
    try:
        yield
    except (StoreError, ManifestError) as exc:
        notes.append(f"{exc.message} ({exc.hint})")
    except OSError as exc:
        notes.append(f"not written: {exc}")


def _keep(record: dict[str, Any], pages: Mapping[Path, Write], kept: Path) -> None:
    """Write what is read, then the record itself, which says what of it could not be written."""
    written: list[str] = []
    for path, write in pages.items():
        with _noting(record["notes"]):
            _put(path, write(record))
            written.append(str(path))
    record["report"] = written[0] if written else None
    with _noting(record["notes"]):
        _put(kept, document(record))


def _put(path: Path, text: str) -> None:
    write_whole(path, text, mode=SHARED, hint="Look at its folder.")


def _deployment_file(spec: ProfileSpec) -> Path:
    if spec.deployment.path is None:
        raise ManifestError(
            "the deployment stands in the profile: it has no file to write",
            hint="Leave --write out and copy the patch, or use a file.",
        )
    return spec.deployment.path


def _write_deployment(spec: ProfileSpec, configuration: Configuration) -> str:
    path = _deployment_file(spec)
    with path.open(encoding="utf-8", newline="") as file:
        before = file.read()
    after = patched(before, configuration)
    if after != before:
        _put(path, after)
    return str(path)


def _lock(outcome: Outcome, record: dict[str, Any]) -> locks.Lock:
    spec, advice = outcome.spec, outcome.done.advice
    best = next(each for each in advice.answers if each.configuration == advice.recommended)
    capacity = best.capacity
    count = best.configuration.instance_count
    rps, lower, upper = (capacity.sustainable_rps, capacity.lower, capacity.upper) if capacity else (0.0, 0.0, 0.0)
    return locks.Lock(
        profile=spec.profile.name,
        made_at=outcome.started_at.isoformat(timespec="seconds"),
        platform=spec.profile.platform.type.value,
        **locks.identity_of(spec.deployment),
        configuration=best.configuration.record(),
        slo=locks.slo_record(spec.profile.slo),
        peak_rps=spec.profile.peak_rps,
        headroom=spec.profile.headroom,
        sustainable_rps=float(f"{rps:.4g}"),
        lower=float(f"{lower:.4g}"),
        upper=float(f"{upper:.4g}"),
        rps_per_instance=float(f"{rps / count:.10g}"),
        usd_per_hour=best.usd_per_hour,
        result=digest_of({key: value for key, value in record.items() if key != "report"}),
    )
