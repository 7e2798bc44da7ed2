"""What a load test found, in every form: each says the same, escapes what is foreign, and names what to think of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from windows import HEALTHY, run, steady, window

from deployer.loadtest.estimates import Estimate
from deployer.loadtest.figures import Figures, Health
from deployer.loadtest.verdict import judge
from deployer.manifest.schema import LatencyTargets, Slo
from deployer.report.harmless import plain
from deployer.report.loadtest.document import loadtest_json_schema
from deployer.report.loadtest.junit import junit_of
from deployer.report.loadtest.page import page_of
from deployer.report.loadtest.progress import panel, rows
from deployer.report.loadtest.record import Outcome, estimate_of, estimate_record, record_of
from deployer.report.loadtest.text import headline, load_words, markdown_of, text_of
from deployer.report.output import document
from deployer.stores.loadtests import LoadTestResults

SCHEMA = json.loads((Path(__file__).parents[3] / "manifests" / "loadtest-report.schema.json").read_text())
PUBLISHED = jsonschema.Draft202012Validator(SCHEMA)
SLO = Slo(latency=LatencyTargets(p50="200ms", p95="300ms"), error_rate="1%")  # type: ignore[arg-type]
SICK = Health(400.0, 99.0, "requests were sent up to 400 ms late")
GOOD = (window({900.0: 5}, is_warm_up=True), *steady(60, {100.0: 48, 150.0: 2}, start_s=1.0))


def outcome(figures: Figures, **changes: Any) -> Outcome:
    given = {
        "id": "20261125T200000-abcd",
        "endpoint": "digits",
        "platform": "local",
        "deployment": None,
        "engine": "local",
        "payload": "digit.json",
        "payload_sha256": "0" * 64,
        "figures": figures,
        "verdict": judge(figures, SLO),
        "interrupted": False,
        "traffic": {"blue": 100},
        "actor": "me@here",
    }
    return Outcome(**(given | changes))


def record(figures: Figures, previous: Any = None, **changes: Any) -> dict[str, Any]:
    made = record_of(outcome(figures, **changes), previous)
    told = json.loads(document(made))  # strict JSON: no NaN, nothing that is no JSON
    assert told == json.loads(json.dumps(made))
    PUBLISHED.validate(told)
    return made


def test_the_published_schema_is_the_one_of_this_version_and_lets_nothing_else_pass() -> None:
    assert loadtest_json_schema() == SCHEMA
    made = record(run(GOOD))
    for changed in ({"schema": 2}, {"result": "fine"}, {"extra": 1}, {"requests": {}}):
        assert not PUBLISHED.is_valid({**made, **changed})


def everywhere(made: dict[str, Any]) -> list[str]:
    return [text_of(made), markdown_of(made), page_of(made), junit_of(made)]


def test_the_record_holds_what_was_measured_and_what_is_shown() -> None:
    made = record(run(GOOD, warm_up_s=1.0))
    assert (made["schema"], made["result"], made["exit_code"], made["trusted"]) == (1, "passed", 0, True)
    assert made["requests"] | {"by_kind": 0} == {
        "sent": 3000,
        "ended": 3000,
        "waiting": 0,
        "failed": 0,
        "warm_up": 5,
        "per_second": 50.0,
        "by_kind": 0,
        "by_status": {"200": 3000},
    }
    assert list(made["latency_ms"]) == ["p50", "p90", "p95", "p99", "p99.9"]
    assert made["latency_ms"]["p50"] == {"estimate": 100.0, "lower": 100.0, "upper": 100.0}
    assert made["error_rate"]["upper"] == pytest.approx(0.000998, abs=1e-5)
    assert [target["result"] for target in made["targets"]] == ["passed"] * 3
    assert [point["warm_up"] for point in made["over_time"]][:2] == [True, False]
    assert made["over_time"][1] == {
        "at_s": 1.0,
        "warm_up": False,
        "sent_per_second": 50.0,
        "failed_per_second": 0.0,
        "p50": 100.0,
        "p95": 100.0,
        "p99": 150.0,
    }


def test_every_form_says_the_verdict_first() -> None:
    made = record(run(GOOD))
    assert text_of(made).startswith("TARGETS MET: digits at 50 requests/s\n  passed        p50 is 100 ms, shown to be")
    assert markdown_of(made).startswith("### Load test: TARGETS MET: digits at 50 requests/s\n")
    assert "| p95 | 300 ms | 100 ms \\[100-100 ms\\] | passed |" in markdown_of(made)
    page = page_of(made)
    assert page.index("TARGETS MET") < page.index("Targets") < page.index("Can these numbers be trusted?")
    assert "measured" in page
    suite = ET.fromstring(junit_of(made))[0]  # noqa: S314 - our own
    assert [case.get("name") for case in suite.findall("testcase")] == ["p50", "p95", "error_rate"]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")


@pytest.mark.parametrize(
    ("figures", "exit_code", "failures", "errors", "words"),
    [
        (run(steady(60, {700.0: 50})), 10, "2", "0", "TARGET MISSED: digits"),
        (run(steady(60, {100.0: 1})), 11, "0", "1", "NOT SHOWN: digits"),
        (run(steady(60, {100.0: 50}), health=SICK), 11, "0", "1", "THROWN AWAY: digits"),
        (
            run(steady(60, {100.0: 50}), partial="it died"),
            11,
            "0",
            "1",
            "NOT SHOWN: digits at 50 requests/s, ended early",
        ),
    ],
)
def test_whatever_is_not_met_lets_no_build_pass(
    figures: Figures, exit_code: int, failures: str, errors: str, words: str
) -> None:
    made = record(figures)
    assert made["exit_code"] == exit_code
    assert headline(made).startswith(words)
    suite = ET.fromstring(junit_of(made))[0]  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("errors")) == (failures, errors)
    assert all(headline(made) in text for text in everywhere(made)[::2])


def test_an_interrupted_run_is_aborted_whatever_it_shows() -> None:
    assert record(run(steady(9, {700.0: 50}), partial="interrupted by SIGINT"), interrupted=True)["exit_code"] == 12


def test_figures_of_a_sick_generator_are_nobodys() -> None:
    made = record(run(steady(60, {123.0: 50}, {500: 7}), health=SICK))
    assert (made["trusted"], made["over_time"], made["longest_ms"]) == (False, [], None)
    assert all(value["estimate"] is None for value in made["latency_ms"].values())
    assert made["error_rate"]["estimate"] is None
    for text in everywhere(made):
        assert "7,654" not in text
        assert "requests were sent up to 400 ms late" in text


def test_a_figure_without_bound_is_told_from_an_unknown_one() -> None:
    for value in (
        Estimate(5.0, 4.0, math.inf),
        Estimate(math.inf, 4.0, math.inf),
        Estimate(math.nan, math.nan, math.nan),
    ):
        read = estimate_of(json.loads(json.dumps(estimate_record(value))))
        assert [str(each) for each in (read.value, read.low, read.high)] == [
            str(each) for each in (value.value, value.low, value.high)
        ]


def test_failures_are_named_with_what_to_think_of_them() -> None:
    made = record(run(steady(60, {100.0: 40}, {429: 5, 1429: 5, 0: 3, 599: 2})))
    statuses = {"no answer": 180, "200": 2400, "429": 300, "failed": 120, "429 rate limit": 300}
    assert made["requests"]["by_status"] == statuses
    text = text_of(made)
    assert "300 turned away for lack of capacity (429). More requests were pending than" in text
    assert "300 turned away by the endpoint's rate limit (429). More instances do not help" in text


def test_a_run_is_compared_with_the_one_before() -> None:
    before = record(run(steady(60, {float(value): 1 for value in range(180, 230)})), traffic={"green": 100})
    made = record(run(steady(60, {float(value): 1 for value in range(80, 130)})), before)
    changes = {change["metric"]: change["change"] for change in made["previous"]["changes"]}
    assert changes == {
        "p50": "better",
        "p90": "better",
        "p95": "better",
        "p99": "better",
        "p99.9": "better",
        "error_rate": "no difference shown",
        "good_per_second": "no difference shown",
    }
    text = text_of(made)
    assert "compared with 20261125T200000-abcd (2026-11-25 20:00 UTC; then green 100%, now blue 100%)" in text
    assert "p50 204 ms [204-205 ms] -> 104 ms [104-105 ms]: faster" in text
    assert "faster" in page_of(made)
    slower = record(run(steady(60, {float(value): 1 for value in range(180, 230)})), made)
    assert "slower" in text_of(slower)
    assert record(run(steady(60, {1.0: 1}), health=SICK), before)["previous"] is None
    dead = record(run(steady(60, {}, {0: 50})))
    again = text_of(record(run(steady(60, {}, {0: 50})), dead))
    assert "errors 100% [100-100%] -> 100% [100-100%]: no difference shown" in again
    assert "unknown" not in again
    older = record(run(GOOD), {"id": "older", "started_at": None})
    assert older["previous"]["changes"] == []
    assert "compared with" not in text_of(older)


def test_stages_are_told_one_by_one() -> None:
    windows = (
        window({9.0: 1}, is_warm_up=True),
        *steady(10, {50.0: 10}, start_s=1.0),
        *steady(5, {90.0: 30}, {429: 10}, start_s=11.0),
    )
    made = record(run(windows, shape="stages:10s@10,20s@40", seconds=15.0, warm_up_s=1.0))
    assert [(stage["rps"], stage["from_s"], stage["to_s"]) for stage in made["stages"]] == [(10, 1, 11), (40, 11, 16)]
    assert [stage["latency_ms"]["p50"]["estimate"] for stage in made["stages"]] == [50.0, 90.0]
    assert [stage["error_rate"]["estimate"] for stage in made["stages"]] == [0.0, 0.25]
    assert "stage         40/s (11-16s): p50 90 ms [90-90 ms], p95 no good answer [90-?]" in text_of(made)
    assert "40/s (11-16s)" in page_of(made)
    assert record(run(windows[:8], shape="stages:10s@10,20s@40", seconds=30.0, warm_up_s=1.0))["stages"][1:] == []
    assert record(run(GOOD))["stages"] == []


def test_what_is_sent_is_said_in_words() -> None:
    said = [
        load_words(record(run(GOOD, warm_up_s=5.0))),
        load_words(record(run(GOOD, shape="stages:30s@10,30s@20", rps=0.0))),
        load_words(record(run(GOOD, arrivals="closed", shape="closed", concurrency=8))),
        load_words(record(run(GOOD, arrivals="replay", replay="a.csv", seconds=math.inf))),
    ]
    assert said == [
        "10 requests/s, constant, poisson arrivals for 1m after 5s of warm-up",
        "stages:30s@10,30s@20, poisson arrivals for 1m",
        "8 requests always in flight for 1m",
        "recorded arrivals of a.csv",
    ]


def test_an_engine_that_is_not_exact_says_so() -> None:
    coarse = Figures(run(GOOD).load, run(GOOD).started_at, GOOD, HEALTHY, coarse="no histogram")
    for text in everywhere(record(coarse)):
        assert "not exact: no histogram" in text


EVIL = "</script><script>alert(1)</script>\x1b[31m\u202e::error::x | y"


def test_foreign_words_do_nothing() -> None:
    made = record(run(GOOD, partial=EVIL), endpoint=EVIL, payload=EVIL, warnings=[EVIL], traffic={EVIL: 100})
    made["report"] = EVIL
    page = page_of(made)
    assert "<script" not in page
    for text in [plain(text_of(made)), *everywhere(made)[1:]]:  # plain: as Output does with every result
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert ET.fromstring(junit_of(made)).tag == "testsuites"  # noqa: S314 - our own


def test_a_running_test_is_told_in_a_line_or_a_panel() -> None:
    seen = run((*GOOD, window({100.0: 2}, {0: 1}, start_s=61.0)), partial="running", warm_up_s=1.0)
    told = dict(rows(seen, 40.0))
    assert told[""] == "measuring, 21s left"
    assert told["latency"] == "p50 100 ms, p95 100 ms, p99 150 ms"
    assert told["failed"] == "1 of 3,008 (1 without an answer)"
    assert told["in flight"] == "-"
    assert dict(rows(replace(seen, in_flight=7), 40.0))["in flight"] == "7"
    assert dict(rows(seen, 0.5))[""].startswith("warming up")
    assert dict(rows(seen, 70.0))[""] == "measuring, waiting for the last answers"
    assert dict(rows(run(()), 0.0))["latency"] == "p50 -, p95 -, p99 -"
    assert panel(seen, 40.0) is not None
    assert rows(replace(run(()), phase="it is PROVISIONING"), 0.0) == [("", "it is PROVISIONING")]
    assert rows(replace(seen, phase="ending"), 40.0)[:2] == [("", "ending"), ("sent", "45.3/s")]


def test_only_whole_runs_with_the_same_load_are_compared_with(tmp_path: Path) -> None:
    results = LoadTestResults(tmp_path / "digits")
    good = outcome(run(GOOD))
    assert results.previous(good.test) is None
    for name, figures in (
        ("1", run(GOOD)),
        ("2", run(GOOD, partial="cut")),
        ("3", run(GOOD, health=SICK)),
        ("4", run(GOOD, rps=20.0)),
    ):
        made = record(figures, id=name)
        assert results.keep(name, made).stat().st_mode & 0o077 == 0
    (tmp_path / "digits" / "5.json").write_text("{torn")
    (tmp_path / "digits" / "6.json").write_text("[]")
    found = results.previous(good.test)
    assert found is not None
    assert found["id"] == "1"
    assert results.previous(outcome(run(GOOD), payload_sha256="1" * 64).test) is None
    assert results.previous(outcome(replace(run(GOOD), coarse="no histogram")).test) is None
    assert results.previous(outcome(run(GOOD), place="sub/group/ws").test) is None


def test_recorded_arrivals_are_compared_with_the_same_recording_alone(tmp_path: Path) -> None:
    results = LoadTestResults(tmp_path / "digits")
    night = outcome(run(GOOD, arrivals="replay"), replay_sha256="a" * 64)
    results.keep("1", record(night.figures, id="1", replay_sha256="a" * 64, place="sub/group/ws"))
    results.keep("2", record(night.figures, id="2", replay_sha256="a" * 64))
    assert (results.previous(night.test) or {})["id"] == "2"
    assert results.previous(replace(night, replay_sha256="b" * 64).test) is None
