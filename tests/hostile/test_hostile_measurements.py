"""Hostile texts in load tests and profiles, through every way out: shown harmlessly everywhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from doubles.profile_world import BIG, ONE, ProfileWorld, Script, open_probe
from doubles.telemetry import ManualClock
from hostile import corpus
from unit.loadtest.windows import run, steady

from deployer.loadtest.verdict import judge
from deployer.manifest.schema import LatencyTargets, Slo
from deployer.profile.advice import Ask
from deployer.profile.pricing import PriceTag
from deployer.report.loadtest import junit as load_junit
from deployer.report.loadtest import page as load_page
from deployer.report.loadtest import progress as load_progress
from deployer.report.loadtest import record as load_record
from deployer.report.loadtest import text as load_text
from deployer.report.output import Output, document
from deployer.report.profile import junit as profile_junit
from deployer.report.profile import page as profile_page
from deployer.report.profile import progress as profile_progress
from deployer.report.profile import record as profile_record
from deployer.report.profile import text as profile_text

HOSTILE = pytest.mark.parametrize("text", corpus.TEXTS.values(), ids=corpus.TEXTS)
LOAD_FIXED = corpus.FIXED | {"arrivals", "shape", "change"}
PROFILE_FIXED = corpus.FIXED | {"kind"}
"""Words of deployer's own, beside those of a rollout's record."""
SLO = Slo(latency=LatencyTargets(p50="200ms", p95="300ms"), error_rate="1%")  # type: ignore[arg-type]

Record = dict[str, Any]
Made = Callable[[str], str]


def measured(*windows: Any, partial: str | None = None, previous: Record | None = None) -> Record:
    figures = run(windows, partial=partial)
    outcome = load_record.Outcome(
        id="20261125T200000-abcd",
        endpoint="digits",
        platform="local",
        deployment="green",
        engine="local",
        payload="digit.json",
        payload_sha256="0" * 64,
        figures=figures,
        verdict=judge(figures, SLO),
        interrupted=False,
        traffic={"blue": 100},
        actor="me@here",
        warnings=("first",),
    )
    return load_record.record_of(outcome, previous)


@cache
def load_test() -> Record:
    """A run with everything in it: failures, a miss, an earlier run beside it, an early end, a warning."""
    before = measured(*steady(60, {100.0: 50}))
    return measured(*steady(60, {100.0: 48}, {500: 2}), partial="it died", previous=before)


@cache
def profile() -> Record:
    """One with everything in it: a recommendation, one that is too dear, trials, notes, something left over."""
    with TemporaryDirectory() as folder:
        world = ProfileWorld(Path(folder))
        done = world.run(Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())]))
        prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile's prices"))
        at = datetime(2026, 11, 25, tzinfo=UTC)
        found = profile_record.record_of(profile_record.Outcome("id-1", at, world.spec, done, prices))
    best, *others = found["candidates"]
    others = [{**each, "why": "too dear"} for each in others]
    return {**found, "candidates": [best, *others], "notes": ["one"], "left_over": "test", "report": "x.html"}


def planted_load(text: str) -> Record:
    return {**corpus.planted(load_test(), text, fixed=LOAD_FIXED), "traffic": {text: 100}}


def planted_profile(text: str) -> Record:
    """What it compares configurations by must stay equal: they hold numbers, and on Azure an instance type."""
    return corpus.planted(profile(), text, fixed=PROFILE_FIXED)


def printed(show: Callable[[Output], object]) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        show(Output(as_json=False))
    return stream.getvalue()


def noted(text: str) -> str:
    def show(out: Output) -> None:
        load_progress.Progress(out, ManualClock()).note(text)
        profile_progress.Progress(out, ManualClock()).on_note(text)

    return printed(show)


WAYS: dict[str, tuple[Made, corpus.Check]] = {
    "load test, text": (
        lambda text: printed(lambda out: out.result({}, load_text.text_of(planted_load(text)))),
        corpus.steers_nothing,
    ),
    "load test, page": (lambda text: load_page.page_of(planted_load(text)), corpus.is_small_and_inert_html),
    "load test, markdown": (lambda text: load_text.markdown_of(planted_load(text)), corpus.is_inert_markdown),
    "load test, junit": (lambda text: load_junit.junit_of(planted_load(text)), corpus.is_wellformed_xml),
    "load test, json": (lambda text: document(planted_load(text)), corpus.is_strict_json),
    "profile, text": (
        lambda text: printed(lambda out: out.result({}, profile_text.text_of(planted_profile(text)))),
        corpus.steers_nothing,
    ),
    "profile, page": (lambda text: profile_page.page_of(planted_profile(text)), corpus.is_small_and_inert_html),
    "profile, markdown": (lambda text: profile_text.markdown_of(planted_profile(text)), corpus.is_inert_markdown),
    "profile, junit": (lambda text: profile_junit.junit_of(planted_profile(text)), corpus.is_wellformed_xml),
    "profile, json": (lambda text: document(planted_profile(text)), corpus.is_strict_json),
    "notes on the way": (noted, corpus.steers_nothing),
}


@HOSTILE
@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_load_test_or_a_profile_tells_is_text_and_no_more(way: str, text: str) -> None:
    made, check = WAYS[way]
    check(made(text))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_planted_does_come_out(way: str) -> None:
    assert "plantedword" in WAYS[way][0]("plantedword")


@HOSTILE
@pytest.mark.parametrize("way", ["load test, page", "profile, page"])
def test_a_page_has_no_other_elements_than_a_harmless_one(way: str, text: str) -> None:
    made, _ = WAYS[way]
    assert corpus.elements(made(text)) <= corpus.elements(made("harmless"))


def long(record: Record, text: str) -> Record:
    """A text of a megabyte where messages from outside may stand."""
    return {**record, "text": text, "partial": text, "left_over": text, "notes": [text], "warnings": [text]}


LONG: dict[str, tuple[Made, corpus.Check]] = {
    "load test, page": (lambda text: load_page.page_of(long(load_test(), text)), corpus.is_small_and_inert_html),
    "load test, markdown": (lambda text: load_text.markdown_of(long(load_test(), text)), lambda _: None),
    "load test, junit": (lambda text: load_junit.junit_of(long(load_test(), text)), corpus.is_wellformed_xml),
    "profile, page": (lambda text: profile_page.page_of(long(profile(), text)), corpus.is_small_and_inert_html),
    "profile, junit": (lambda text: profile_junit.junit_of(long(profile(), text)), corpus.is_wellformed_xml),
}


@pytest.mark.parametrize("text", corpus.MEGABYTES)
@pytest.mark.parametrize("way", LONG)
def test_a_text_of_a_megabyte_breaks_nothing(way: str, text: str) -> None:
    made, check = LONG[way]
    check(made(text))
