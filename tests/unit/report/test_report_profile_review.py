"""A profile in which the load generator failed is told as undecided, not as a service that carries nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from doubles.profile_world import ONE, ProfileWorld, Script, capacity, open_probe

from deployer.errors import ExitCode
from deployer.ports.profiling import Ending
from deployer.profile.advice import Advice, Answer, Ask
from deployer.profile.cheapest import scaled
from deployer.profile.pricing import PriceTag
from deployer.profile.trials import Point
from deployer.report.profile.junit import junit_of
from deployer.report.profile.page import page_of
from deployer.report.profile.record import Outcome, candidate_record, record_of
from deployer.report.profile.text import markdown_of, rate_words, text_of


def test_a_candidate_that_was_not_judged_is_said_everywhere_and_is_no_failure(tmp_path: Path) -> None:
    world = ProfileWorld(tmp_path)
    world.unhealthy = ["sent 300 ms late"] * 2
    done = world.run(Script([Ask(ONE, open_probe())], recommended=None))
    prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile's prices"))
    record = record_of(Outcome("id-1", datetime(2026, 11, 25, tzinfo=UTC), world.spec, done, prices))
    assert (record["result"], record["exit_code"]) == ("complete", 11)
    for said in (text_of(record), markdown_of(record), page_of(record)):
        assert "not judged, see why beside each" in said
    case = ET.fromstring(junit_of(record))  # noqa: S314 - our own
    assert case.find(".//error") is not None
    assert case.find(".//failure") is None


def test_a_rate_beyond_the_endpoints_limit_is_told_as_undecided_everywhere(tmp_path: Path) -> None:
    class Undecided(Script):
        def _advice(self, *, final: bool) -> Advice:
            return replace(super()._advice(final=final), undecided="not known: the endpoint's rate limit")

    world = ProfileWorld(tmp_path)
    world.status = 1429
    done = world.run(Undecided([Ask(ONE, open_probe())], recommended=None))
    assert (done.ending, done.exit_code, done.text) == (
        Ending.COMPLETE, ExitCode.INCONCLUSIVE, "not known: the endpoint's rate limit",
    )  # fmt: skip
    assert world.records[0].problem == "the endpoint's rate limit turned 500 of 500 requests away"
    prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile's prices"))
    record = record_of(Outcome("id-1", datetime(2026, 11, 25, tzinfo=UTC), world.spec, done, prices))
    for said in (text_of(record), markdown_of(record), page_of(record)):
        assert "not known: the endpoint" in said
    assert "**recommended**" not in markdown_of(record)
    case = ET.fromstring(junit_of(record))  # noqa: S314 - our own
    assert (case.find(".//error") is not None, case.find(".//failure")) == (True, None)


def test_what_more_instances_would_carry_is_a_prediction_without_measured_points() -> None:
    points = (Point(10.0, 0.5, 0.4, 0.6, measured=False), Point(12.0, 0.0, 0.0, 0.1, measured=True))
    twice = scaled(replace(capacity(20.0), curve=points), 2)
    assert (twice.sustainable_rps, twice.measured) == (40.0, False)
    assert [(point.rps, point.measured) for point in twice.curve] == [(20.0, False)]


def test_a_rate_that_was_not_looked_for_yet_is_no_rate_of_nought() -> None:
    cut = replace(capacity(0.0, measured=False), ceiling_rps=40.0, note="ended before the first open probe")
    told = candidate_record(Answer(ONE, 0.05, cut, ""), None)
    assert (told["sustainable_rps"], told["lower"], told["upper"]) == (None, None, None)
    assert (told["capacity"]["ceiling_rps"], rate_words(told)) == (40.0, "cut short")
    assert rate_words(candidate_record(Answer(ONE, 0.05, replace(cut, infeasible=True), ""), None)) == "infeasible"
