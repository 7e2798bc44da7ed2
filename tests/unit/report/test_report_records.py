"""Plans, states and history: the same facts as strict JSON and as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from told import FAIL, JUDGING, PHASES, ROLLED_BACK, T0, plan, reason, tell, verdict

from deployer.errors import ExitCode
from deployer.gate.verdict import Result
from deployer.ports.views import Past
from deployer.report.local import local_text
from deployer.report.output import document
from deployer.report.records import (
    ended_record,
    ended_text,
    history_record,
    history_text,
    plan_record,
    plan_text,
    state_record,
)
from deployer.rollout.ending import Ended, ended
from deployer.rollout.events import Judged
from deployer.rollout.model import Phase, Rollout


def last(*events: Any, **over: Any) -> Rollout:
    return tell(*events, plan=plan(**over))[-1][0]


@pytest.mark.parametrize("phase", list(Phase))
def test_the_state_of_every_phase_is_strict_json(phase: Phase) -> None:
    state = last(*PHASES[phase])
    found = json.loads(document(state_record(state)))
    assert found["phase"] == phase.value
    assert found["step"] == {"index": state.position, "of": 10, "name": str(state.step)}
    assert found["outcome"] == (state.outcome.value if state.outcome else None)


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    endless = reason("p95", Result.FAIL, "x", estimate=float("nan"), lower=float("-inf"), e_value=float("inf"))
    judged = verdict(Result.FAIL, endless, candidate=replace(FAIL.candidate, p95_ms=float("nan")))
    found = json.loads(document(state_record(last(*JUDGING, Judged(judged, "e")))))
    assert found["verdict"]["reasons"][0]["lower"] is None
    assert found["verdict"]["candidate"]["p95_ms"] is None


def test_a_verdict_is_written_with_all_that_explains_it() -> None:
    found = state_record(last(*JUDGING, Judged(FAIL, "e")))["verdict"]
    assert found["result"] == "fail"
    assert found["text"] == FAIL.text
    assert [r["metric"] for r in found["reasons"]] == ["p95", "error_rate"]
    assert found["candidate"]["error_rate"] == pytest.approx(9 / 66)


def test_traffic_is_unknown_until_the_endpoint_stands() -> None:
    assert state_record(last(*PHASES[Phase.PREPARING]))["traffic"] is None
    assert state_record(last(*JUDGING))["traffic"] == {"green": 20, "blue": 80}


def test_an_end_is_written_with_its_code_and_whole_reason() -> None:
    done = ended(last(*ROLLED_BACK))
    found = ended_record(done)
    assert found["exit_code"] == 10
    assert FAIL.text in found["text"]
    assert found["rollout"]["phase"] == "rolled_back"
    assert ended_record(Ended(ExitCode.OK, "nothing to do"))["rollout"] is None


def test_an_end_is_told_with_the_main_reason_only() -> None:
    text = ended_text(ended(last(*ROLLED_BACK)))
    assert text == (
        "gate failed, rolled back, blue has 100%: p95 28x the stable's (20.8 to 43.7): "
        "slower than the stable in the same moments (and 1 more)"
    )
    assert ended_text(Ended(ExitCode.OK, "nothing to do")) == "nothing to do"


def test_a_plan_is_told_step_by_step_with_its_limits() -> None:
    text = plan_text(plan())
    assert text.split("\n")[0] == "digits: blue -> green"
    assert "   6. blue 80%, green 20%; the gate decides within 5s to 1m" in text
    assert "At least 10m40s of judging, at most 13m; then it rolls back." in text
    assert "If anything fails: blue gets 100% back. Nothing was changed now." in text


def test_a_plan_is_written_with_every_step() -> None:
    found = json.loads(document(plan_record(plan(), 40.0)))
    assert (found["changes"], found["rps"], len(found["steps"])) == (True, 40.0, 10)
    assert found["steps"][5] == {
        "kind": "weight",
        "weight_pct": 20,
        "mirror_pct": 0,
        "min_s": 5,
        "max_s": 60,
        "text": "blue 80%, green 20%; the gate decides within 5s to 1m",
    }


def test_nothing_to_do_is_a_plan_too() -> None:
    assert plan_text("blue") == "nothing to do: blue already serves this version with 100%"
    assert plan_record("blue", None) == {"exit_code": 0, "changes": False, "live": "blue", "steps": []}


PAST = [
    Past("r1", T0, "ann@vm", "nothing -> blue", "promoted", 44.0),
    Past("r2", T0 + timedelta(hours=1), "run-77@github", f"blue -> green: {'slow ' * 99}\nmore", "gate_failed", 3605.0),
    Past("r3", T0 + timedelta(hours=2), "ann@vm", "rollback to blue: panic", "rolled_back_by_hand", 0.0),
]


def test_history_is_a_line_each_that_is_not_too_long() -> None:
    lines = history_text(PAST).split("\n")
    assert [line.split()[0] for line in lines] == [past.id for past in PAST]
    assert [re.split(r"  +", line)[2] for line in lines] == ["promoted", "gate failed", "rolled back by hand"]
    assert lines[0].split() == ["r1", "2026-01-01", "00:00:00", "promoted", "44s", "ann@vm", "nothing", "->", "blue"]
    assert lines[1].endswith("…")
    assert max(map(len, lines)) < 200
    assert "0ms" not in lines[2]
    assert lines[0].index("nothing") == lines[2].index("rollback to")


def test_history_is_written_whole() -> None:
    found = json.loads(document(history_record(PAST)))
    assert [row["outcome"] for row in found["rollouts"]] == ["promoted", "gate_failed", "rolled_back_by_hand"]
    assert found["rollouts"][1]["text"] == PAST[1].text


def test_no_history_is_said() -> None:
    assert history_text([]) == "no rollouts are known on this machine"


def test_history_cannot_be_faked_by_its_own_texts() -> None:
    sly = Past("r1", T0, "ann\n2026-01-01 promoted", "x\n2026-01-01 00:00:00  promoted", "aborted", 1.0)
    assert len(history_text([sly]).split("\n")) == 1


# ---- the local platform


def test_no_local_endpoint_says_how_to_make_one() -> None:
    assert "deployer rollout manifests/local/quickstart.yaml" in local_text([])


def test_local_endpoints_are_told_with_what_runs_of_them() -> None:
    running = {
        "endpoint": "digits",
        "running": True,
        "scoring_url": "http://127.0.0.1:1/score",
        "traffic": {"green": 20, "blue": 80},
        "deployments": {
            "blue": {"state": "ready", "instances_ready": 2, "instances_wanted": 2},
            "green": {"state": "failed", "instances_ready": 0, "instances_wanted": 1, "message": "init raised"},
        },
    }
    down = {"endpoint": "old", "running": False}
    odd = {"endpoint": "odd", "running": True, "problem": "it does not answer"}
    assert local_text([running, down, odd]).split("\n") == [
        "digits  http://127.0.0.1:1/score  blue 80%, green 20%",
        "  blue   ready   2/2",
        "  green  failed  0/1  init raised",
        "old     down (deployer local up old starts it as it was)",
        "odd     running, but: it does not answer",
    ]
