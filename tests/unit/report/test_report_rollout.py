"""The report of a rollout: one record, as a page, JSON, Markdown, JUnit XML and a story."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # our own output, which JUnit readers parse

import jsonschema
import pytest
from golden.compare import check
from golden.report.kept import FAILED, PROMOTED, case, copied, rewritten

from deployer.report.output import document
from deployer.report.rollout.document import report_json_schema
from deployer.report.rollout.junit import junit_of
from deployer.report.rollout.page import LOOKS, page_of
from deployer.report.rollout.record import proven, record_of
from deployer.report.rollout.text import explained, markdown_of

COMMITTED = Path(__file__).parents[3] / "manifests" / "report.schema.json"
NAMES = {"failed": FAILED, "promoted": PROMOTED}


RECORDS = {name: record_of(case(name)) for name in NAMES.values()}


@pytest.fixture(params=NAMES)
def told(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, RECORDS[NAMES[request.param]]


@pytest.mark.parametrize(
    ("suffix", "write"), [("html", page_of), ("md", markdown_of), ("xml", junit_of), ("txt", explained)]
)
def test_every_format_of_a_real_rollout_is_as_agreed(told: tuple[str, dict[str, Any]], suffix: str, write: Any) -> None:
    name, found = told
    check(f"report/{name}.{suffix}", write(found).rstrip("\n") + "\n")


def test_the_json_is_as_its_published_schema_says(told: tuple[str, dict[str, Any]]) -> None:
    jsonschema.Draft202012Validator(json.loads(COMMITTED.read_text())).validate(json.loads(document(told[1])))


def test_the_published_schema_is_the_one_of_this_version() -> None:
    assert json.loads(COMMITTED.read_text()) == report_json_schema()


def test_the_page_tells_the_verdict_and_its_reason_before_anything_else() -> None:
    page = page_of(RECORDS[FAILED])
    body = page[page.index("<main") :]
    verdict = body.index("Rolled back, the gate failed")
    assert verdict < body.index("the stable&#39;s") < body.index("<svg") < body.index("What decided")


def test_every_look_says_what_would_have_changed_it(told: tuple[str, dict[str, Any]]) -> None:
    assert all(look["would_change"] for look in told[1]["looks"])


def test_a_page_is_one_small_file_that_refers_to_nothing_and_runs_nothing(told: tuple[str, dict[str, Any]]) -> None:
    page = page_of(told[1])
    assert len(page.encode()) < 200_000
    assert not re.search(r"<script|<link|<img|<iframe|\ssrc=|url\(|@import|\son\w+=|javascript:", page, re.IGNORECASE)
    assert set(re.findall(r'href="([^"]*)"', page)) == {"#main"}


def test_each_chart_has_a_title_a_description_and_its_numbers_as_a_table(told: tuple[str, dict[str, Any]]) -> None:
    page = page_of(told[1])
    charts = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(charts) == 5
    for chart in charts:
        assert re.search(r'<svg [^>]*role="img"><title>.+?</title><desc>.+?</desc>', chart)
        assert "<table>" in chart


def test_the_difference_between_the_versions_is_shown_from_what_was_kept(tmp_path: Path) -> None:
    specification = RECORDS[FAILED]["specification"]
    assert specification["stable"] != specification["candidate"]
    assert '<span class="more">+' in page_of(RECORDS[FAILED])
    folder = copied(tmp_path)
    for path in (folder / f"{FAILED}.evidence").iterdir():
        path.unlink()
    assert "do not hold the specification of both versions" in page_of(record_of(case(FAILED, folder)))


def old(place: int, event: dict[str, Any]) -> dict[str, Any]:
    """As versions before wrote it."""
    return {key: each for key, each in event.items() if key not in ("deployer", "specification", "kept", "calls")}


def test_a_journal_of_an_older_version_is_told_with_what_it_does_not_know(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    rewritten(folder, FAILED, old)
    found = record_of(case(FAILED, folder))
    assert (found["calls"], found["cost"], found["deployer"]["began"]) == (None, None, None)
    page = page_of(found)
    assert "Calls of the platform: not recorded" in page
    assert "Cost: not recorded" in page
    jsonschema.Draft202012Validator(report_json_schema()).validate(found)


def test_calls_are_counted_by_name_and_their_time_told() -> None:
    calls = RECORDS[PROMOTED]["calls"]
    assert {"observe", "set_traffic", "create_deployment"} <= calls["total"].keys()
    assert calls["total"]["set_traffic"] >= 3
    assert calls["seconds"] > 0


def test_the_cost_is_the_candidates_time_by_its_price() -> None:
    found = case(PROMOTED)
    price = {"usd_per_hour": 0.5, "instances": 2, "source": "a list", "as_of": "2026-11-25"}
    priced = type(found)(
        found.platform, found.place, found.journal, found.told, found.looks, found.last, {"cost": price}, "0.1.0"
    )
    cost = record_of(priced)["cost"]
    assert cost["usd"] == pytest.approx(cost["hours"] * 1.0)
    assert 0 < cost["hours"] < 1
    assert "at 0.5 USD an hour each" in page_of(record_of(priced))


def test_junit_fails_for_a_rollout_that_was_not_promoted_and_for_the_look_that_decided_so() -> None:
    root = ET.fromstring(junit_of(RECORDS[FAILED]))  # noqa: S314
    failures = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert failures == ["rollout", "gate at 20%"]
    passed = ET.fromstring(junit_of(RECORDS[PROMOTED]))  # noqa: S314
    assert passed.find(".//failure") is None


def test_explain_exits_0_when_all_match_10_when_one_does_not_and_11_when_it_cannot_be_known() -> None:
    found_before = RECORDS[FAILED]
    assert [
        int(proven({**found_before, "proof": {**found_before["proof"], **found}}))
        for found in (
            {},
            {"other": 1},
            {"changed": 1, "missing": 1},
            {"missing": 1},
            {"unreadable": 1},
            {"other_rule": 1},
        )
    ] == [0, 10, 10, 11, 11, 11]


def test_a_page_shows_a_bounded_number_of_looks_and_always_those_that_decided() -> None:
    looks = RECORDS[PROMOTED]["looks"]
    undecided = [{**look, "decided": False} for look in looks] * 60
    many = {**RECORDS[PROMOTED], "looks": [*undecided, *(look for look in looks if look["decided"])]}
    page = page_of(many)
    assert f"{len(many['looks'])} looks" in page
    shown = page.split("Every look of the gate")[1].split("</table>")[0].count("<tr")
    assert shown <= LOOKS + 5
