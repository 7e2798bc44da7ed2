"""Pages from fixed facts at a fixed time: what their pictures are taken of."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from doubles.profile_world import BIG, ONE, ProfileWorld, Script, open_probe
from golden.report.kept import FAILED, PROMOTED, case
from unit.loadtest.windows import run, steady

from deployer.loadtest.verdict import judge
from deployer.manifest.schema import LatencyTargets, Slo
from deployer.profile.advice import Ask
from deployer.profile.pricing import PriceTag
from deployer.report.loadtest import page as load_page
from deployer.report.loadtest import record as load_record
from deployer.report.profile import page as profile_page
from deployer.report.profile import record as profile_record
from deployer.report.rollout.page import page_of
from deployer.report.rollout.record import record_of

SLO = Slo(latency=LatencyTargets(p50="200ms", p95="300ms"), error_rate="1%")  # type: ignore[arg-type]


@cache
def report(name: str) -> str:
    return page_of(record_of(case(name, recompute=False)))


def failed(_: Path) -> str:
    return report(FAILED)


def promoted(_: Path) -> str:
    return report(PROMOTED)


def load_test(_: Path) -> str:
    """Calm, then slow and failing."""
    figures = run((*steady(40, {100.0: 48, 150.0: 2}), *steady(20, {250.0: 40, 420.0: 8}, {500: 2}, start_s=40.0)))
    about = {"engine": "local", "payload": "digit.json", "payload_sha256": "0" * 64, "actor": "ann@desk"}
    outcome = load_record.Outcome(
        id="20261125T200000-abcd",
        endpoint="digits",
        platform="local",
        deployment=None,
        figures=figures,
        verdict=judge(figures, SLO),
        interrupted=False,
        traffic={"blue": 100},
        **about,
    )
    return load_page.page_of(load_record.record_of(outcome, None))


def profile(folder: Path) -> str:
    """Two configurations tried, the cheaper one chosen."""
    world = ProfileWorld(folder)
    done = world.run(Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())]))
    prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile's prices"))
    at = datetime(2026, 11, 25, tzinfo=UTC)
    return profile_page.page_of(profile_record.record_of(profile_record.Outcome("id-1", at, world.spec, done, prices)))
