"""What is said of a profile: in words, as JSON, JUnit, Markdown and a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from doubles.profile_world import BIG, ONE, ProfileWorld, Script, open_probe
from doubles.telemetry import ManualClock

from deployer.profile.advice import Ask
from deployer.profile.pricing import PriceTag
from deployer.report.output import Output
from deployer.report.profile.document import profile_json_schema
from deployer.report.profile.junit import junit_of
from deployer.report.profile.outlook import outlook_text
from deployer.report.profile.page import page_of
from deployer.report.profile.progress import Progress
from deployer.report.profile.record import Outcome, answer_of, record_of
from deployer.report.profile.text import headline, markdown_of, text_of

SCHEMA = json.loads((Path(__file__).parents[3] / "manifests" / "profile-report.schema.json").read_text())
PUBLISHED = jsonschema.Draft202012Validator(SCHEMA)


def told(folder: Path, script: Script | None = None, **changes: Any) -> dict[str, Any]:
    world = ProfileWorld(folder, **changes)
    done = world.run(script)
    prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile's prices"))
    record = record_of(Outcome("id-1", datetime(2026, 11, 25, tzinfo=UTC), world.spec, done, prices))
    record["report"] = "/reports/x.html"
    PUBLISHED.validate(json.loads(json.dumps(record, allow_nan=False)))
    return record


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    return told(tmp_path)


def test_json_is_exactly_what_was_agreed(record: dict[str, Any]) -> None:
    answer = answer_of(record)
    assert set(answer) == {"recommended", "candidates", "load_seconds", "report"}
    assert answer["recommended"] == {"instance_count": 1, "workers": 1, "max_concurrent_requests_per_instance": 2}
    assert answer["candidates"][0] == {
        "config": answer["recommended"],
        "sustainable_rps": 60.0,
        "lower": 57.0,
        "upper": 63.0,
        "infeasible": False,
        "measured": True,
        "usd_per_hour": 0.05,
    }
    assert answer["candidates"][1]["sustainable_rps"] is None
    assert (answer["load_seconds"], answer["report"]) == (20.0, "/reports/x.html")


def test_the_published_schema_is_the_one_of_this_version_and_lets_nothing_else_pass(record: dict[str, Any]) -> None:
    assert profile_json_schema() == SCHEMA
    for changed in ({"schema": 2}, {"result": "fine"}, {"extra": 1}, {"candidates": [{}]}):
        assert not PUBLISHED.is_valid({**record, **changed})


def test_the_verdict_comes_first_with_interval_and_price(record: dict[str, Any]) -> None:
    first = text_of(record).split("\n")[0]
    assert first == (
        "1 instance, 1 worker, 2 in flight: carries 60 rps [57-63] within p95 <= 100ms, errors <= 1% at $0.05 an hour"
    )


def test_the_words_say_what_to_write_and_when_to_scale(record: dict[str, Any]) -> None:
    text = text_of(record)
    assert "one more above 48 rps an instance (80 % of 60)" in text
    assert "at least 2 instances in production" in text
    assert "WORKER_COUNT: '1'" in text
    assert text.endswith("report: /reports/x.html")


def test_without_an_answer_nothing_is_recommended(tmp_path: Path) -> None:
    record = told(tmp_path, Script([Ask(ONE, open_probe())], recommended=None))
    assert answer_of(record)["recommended"] is None
    assert headline(record).startswith("No candidate is known to carry 60 rps")
    assert "No candidate" in page_of(record)
    assert ET.fromstring(junit_of(record)).find(".//failure") is not None  # noqa: S314 - our own


def test_a_profile_that_was_cut_short_says_so_everywhere(tmp_path: Path) -> None:
    record = told(tmp_path, Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())]), budget={"time": "17s"})
    assert record["result"] == "budget"
    for said in (text_of(record), markdown_of(record), page_of(record)):
        assert "(partial: budget)" in said
    assert ET.fromstring(junit_of(record)).find(".//error") is not None  # noqa: S314 - our own


def test_junit_has_a_case_for_the_question_and_one_a_candidate(record: dict[str, Any]) -> None:
    root = ET.fromstring(junit_of(record))  # noqa: S314 - our own
    names = [case.get("name") for case in root.iter("testcase")]
    assert names == ["a candidate carries 60 rps", *(each["name"] for each in record["candidates"])]
    assert root.find(".//failure") is None


def test_markdown_is_a_table_in_which_nothing_breaks_out(record: dict[str, Any]) -> None:
    hostile = {**record, "name": "a|b`c<script>", "text": "x\x1b[31m | y"}
    said = markdown_of(hostile)
    assert "<script>" not in said
    assert "\x1b" not in said
    rows = [line for line in said.split("\n") if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_the_page_is_whole_escaped_and_says_what_was_measured(record: dict[str, Any]) -> None:
    page = page_of({**record, "name": "<script>alert(1)</script>", "notes": ["\x1b]0;x\x07 <b>"]})
    assert "<script" not in page
    assert "\x1b" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for part in (
        "Why not the others",
        "All candidates",
        "Autoscale rule",
        "Can these numbers be trusted?",
        "Every trial",
    ):
        assert part in page or (part == "Why not the others" and not any(each["why"] for each in record["candidates"]))
    assert "measured" in page
    assert "slo just met" in page


def test_it_is_said_before_what_it_may_take(tmp_path: Path) -> None:
    spec = ProfileWorld(tmp_path).spec
    prices = dict.fromkeys(spec.configurations, PriceTag(0.05, "x"))
    text = outlook_text(spec, prices)
    assert "4 candidates on test endpoint test (local), one at a time, $0.05 to $0.1 an hour each." in text
    assert "at most 1h and $5.00; everything that is made is removed at the end" in text
    assert "note:" not in text
    assert outlook_text(spec, prices, ["too much"]) == f"{text}\n  note: too much"


def test_a_log_shows_what_is_tried_once_and_json_shows_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for as_json in (False, True):
        world = ProfileWorld(tmp_path)
        with Progress(Output(as_json=as_json), ManualClock()) as progress:
            world.on_look, world.on_trial, world.on_note = progress.on_look, progress.on_trial, progress.on_note  # type: ignore[method-assign]
            world.run()
        lines = capsys.readouterr().out.splitlines()
        if as_json:
            assert lines == []
            continue
        assert sum("confirm 50 rps (trial 1)" in line for line in lines) == 1
        assert any("seen" in line and "p95 20 ms" in line for line in lines)
        assert "removing everything" in lines[-1]
