"""The tree: what it says in every phase, and that no text from outside harms it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from golden.compare import check
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from told import (
    BAKING,
    CLEANING,
    DEPLOYING,
    FAIL,
    HOLDING,
    JUDGING,
    MIRRORING,
    PASS,
    PAUSED,
    PHASES,
    REVERTING,
    ROLLED_BACK,
    SHIFTING,
    STUCK,
    STYLE,
    T0,
    UNPROVEN,
    arm,
    deployment,
    draw,
    endpoint,
    plan,
    reason,
    story_of,
    tell,
    verdict,
)

from deployer.gate.verdict import Result
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.rollout.endpoint import DeploymentState
from deployer.rollout.events import (
    Adopted,
    Cleaned,
    DriftNoticed,
    GaveUp,
    Judged,
    Paused,
    RequestIgnored,
    Retired,
    Reverted,
    RevertFailed,
    Shifted,
    Smoked,
)
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, Step, StepKind


def test_the_tree_of_every_phase_is_as_agreed() -> None:
    assert set(PHASES) == set(Phase)
    parts = [f"== {phase.value}\n{draw(tell(*events))}" for phase, events in PHASES.items()]
    check("trees.txt", "\n".join(parts))


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_fits_any_width_without_a_line_too_long(phase: Phase) -> None:
    for width in (20, 60, 110, 300):
        lines = draw(tell(*PHASES[phase]), width=width).split("\n")
        assert max(map(cell_len, lines)) <= width


def test_the_step_under_way_says_how_long_it_may_take() -> None:
    assert "decides within 56s, not before 1s" in draw(tell(*JUDGING))
    assert "goes on in 9m58s" in draw(tell(*HOLDING))
    assert "decides within 56s, not before 26s" in draw(tell(*BAKING))
    late = tell(*JUDGING)
    late[-1] = (late[-1][0], late[-1][1], late[-1][2] + timedelta(hours=1))
    assert "decides within 0ms" in draw(late)


def test_a_step_that_is_judged_shows_the_numbers_of_both_versions_and_why() -> None:
    text = draw(tell(*JUDGING), endpoint({"blue": 80, "green": 20}))
    assert "candidate  green  20%  117 requests  p95 11 ms  0% errors" in text
    assert "stable     blue   80%  468 requests  p95 14 ms  0% errors" in text
    assert "inconclusive  58 of the 100 requests that this step needs" in text


def test_traffic_is_shown_as_it_is_and_not_as_we_wrote_it() -> None:
    text = draw(tell(*JUDGING), endpoint({"blue": 10, "green": 90}))
    assert "candidate  green  90%" in text


def test_mirrored_traffic_is_called_so() -> None:
    told = tell(*MIRRORING, Shifted(0, 10))
    assert "green  mirror 10%  no requests yet" in draw(told)
    assert "green  mirror 7%" in draw(told, endpoint({"blue": 100}, mirror={"green": 7}))


def test_a_passed_step_keeps_the_numbers_it_passed_with() -> None:
    line = next(line for line in draw(tell(*HOLDING)).split("\n") if "✔ 20%" in line)
    assert "pass: 117 requests, p95 11 ms (stable 14 ms), 0% errors (stable 0%)" in line


def test_a_step_passed_by_hand_says_by_whom() -> None:
    told = tell(*PAUSED, *SHIFTING[len(PAUSED) :])
    assert "promote by ann: looks good" in draw(told)


def test_a_failed_step_shows_its_evidence_and_reason_and_not_the_clean_up() -> None:
    text = draw(tell(*ROLLED_BACK), endpoint({"blue": 100}))
    step = text.split("✖ 20%")[1].split("○ pause")[0]
    assert "gate failed" in step
    assert "candidate  green  20%   66 requests  p95 491 ms  13.6% errors" in step
    assert "p95 28x the stable's" in step
    assert "(and 1 more)" in step
    assert "removed" not in step
    assert text.split("way back")[1].index("green removed")


def test_a_failing_step_is_timed_without_the_way_back() -> None:
    told = tell(*ROLLED_BACK)
    story = story_of(told)
    position, last = told[-1][0].position, told[-1][2]
    given_up = next(at for _, event, at in told if isinstance(event, GaveUp))
    assert story.seconds(position, last + timedelta(hours=1)) == (given_up - story.began[position]).total_seconds()
    assert story.back_seconds(last + timedelta(hours=1)) == (last - given_up).total_seconds()


def test_the_way_back_shows_its_attempts_and_what_it_waits_for() -> None:
    text = draw(tell(*REVERTING), waiting="stable blue has no ready instance")
    back = text.split("way back")[1]
    assert "attempt 1 failed: busy (wait)" in back
    assert "stable blue has no ready instance" in back


def test_many_attempts_leave_only_the_latest_on_the_screen() -> None:
    text = draw(tell(*REVERTING, *(RevertFailed(f"fault {n}") for n in range(30))))
    assert "attempt 31 failed: fault 29" in text
    assert len(text.split("\n")) < 30


def test_a_stuck_rollout_says_what_traffic_is() -> None:
    assert "✖ way back" in draw(tell(*STUCK))
    assert "not blue 100%" in draw(tell(*STUCK))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (GaveUp(Outcome.PLATFORM, "deployment green failed: init raised"), "init raised"),
        (GaveUp(Outcome.ABORTED, "stopped by SIGTERM"), "stopped by SIGTERM"),
        (GaveUp(Outcome.INCONCLUSIVE, "deadline of 300s reached"), "deadline of 300s"),
    ],
    ids=["platform", "aborted", "deadline"],
)
def test_what_no_gate_decided_is_told_by_its_reason(event: GaveUp, said: str) -> None:
    assert said in draw(tell(*JUDGING, event)).split("✖ 20%")[1].split("○")[0]


def test_no_verdict_in_time_is_told_with_the_main_reason_only() -> None:
    unproven = verdict(
        Result.INCONCLUSIVE,
        reason("p95", Result.INCONCLUSIVE, "p95 not proven", needed=500),
        reason("p50", Result.INCONCLUSIVE, "p50 not proven", needed=None),
    )
    gave_up = GaveUp(Outcome.INCONCLUSIVE, f"no verdict within 60s at 20%: {unproven.text}")
    text = draw(tell(*JUDGING, Judged(unproven, "e"), gave_up))
    assert "no verdict within 60s at 20%: p50 not proven (and 1 more)" in text


def test_a_failed_smoke_test_is_the_reason_of_its_step() -> None:
    text = draw(tell(*PHASES[Phase.SMOKING], Smoked(passed=False, text="expected 200, got 424")))
    step = text.split("✖ smoke")[1].split("○")[0]
    assert "gate failed" in step
    assert "smoke test: expected 200, got 424" in step


def test_what_the_removed_version_last_said_is_on_the_screen() -> None:
    logs = "starting\nINFO all well\nValueError: no such layer\nbye"
    text = draw(tell(*CLEANING, Cleaned(f"green removed; it last said:\n{logs}")))
    assert "ValueError: no such layer" in text
    assert "INFO all well" not in text


def test_a_deploying_rollout_says_what_each_version_is_doing() -> None:
    creating = deployment("green", DeploymentState.CREATING, "green-0: loading the model")
    text = draw(tell(*DEPLOYING), endpoint({"blue": 100}, deployment("blue"), creating))
    assert "blue: ready" in text
    assert "green: creating green-0: loading the model" in text
    assert "nobody" not in draw(tell(*DEPLOYING), endpoint({"blue": 100}, deployment("nobody")))


def test_traffic_that_differs_is_said() -> None:
    told = tell(*JUDGING, DriftNoticed({"blue": 100}))
    assert "traffic is blue 100%: watching whether somebody changed it" in draw(told)


def test_what_is_waited_for_is_said_at_the_current_step() -> None:
    assert "a left-over green is being deleted" in draw(tell(*JUDGING), waiting="a left-over green is being deleted")


def test_a_pause_says_why_for_how_long_and_what_to_do() -> None:
    text = draw(tell(*JUDGING, Paused("pause by ann: incident elsewhere")))
    assert "paused for 2s with blue 80%, green 20%: pause by ann: incident elsewhere" in text
    assert "next: deployer promote digits, or deployer abort" in text
    assert "‖ 20%" in text


def test_who_must_decide_after_a_pause_sees_the_evidence() -> None:
    text = draw(tell(*JUDGING, Judged(UNPROVEN, "e"), Paused("pause by ann")))
    assert "candidate  green  20%  117 requests" in text
    assert "inconclusive  58 of the 100" in text


def test_a_new_weight_shows_the_numbers_so_far() -> None:
    assert "candidate  green  20% → 100%  117 requests" in draw(tell(*SHIFTING))


def test_a_frozen_failure_is_told_shortly() -> None:
    told = tell(*JUDGING, Judged(FAIL, "e"), Paused(f"gate FAIL, frozen as on_fail asks: {FAIL.text}"))
    assert "frozen as on_fail asks: p95 28x the stable's" in draw(told)


def test_time_and_limit_of_the_whole_rollout_are_in_the_title() -> None:
    assert "judging  24s of at most 1h" in draw(tell(*JUDGING))
    assert "of at most" not in draw(tell(*ROLLED_BACK)).split("\n")[0]


def test_what_was_left_behind_is_a_warning() -> None:
    told = tell(*PHASES[Phase.RETIRING], Retired("could not retire blue: busy", ("blue",)))
    assert "warning: could not retire blue: busy" in draw(told)


def test_a_first_deployment_has_no_stable() -> None:
    alone = plan(stable=None, stable_digest=None)
    text = draw(tell(*JUDGING, plan=alone))
    assert "digits  nothing → green" in text
    assert "retire nothing" in text
    assert "stable     " not in text


def test_a_note_stands_below_the_tree() -> None:
    assert draw(tell(*JUDGING), note="synthetic load is late").rstrip().endswith("synthetic load is late")


def test_a_rollout_found_without_its_journal_has_no_times_for_what_it_did_not_see() -> None:
    found = Adopted(plan(), Phase.SHIFTING, 5, 20, 0, "found")
    state = begin(found, T0)
    text = draw([(state, found, T0)])
    assert "✔ deploy\n" in text
    assert "● 20%" in text


def test_a_long_or_many_line_reason_does_not_fill_the_screen() -> None:
    for long in ("word " * 5000, "\n".join(f"line {n}" for n in range(500))):
        text = draw(tell(*JUDGING, GaveUp(Outcome.PLATFORM, long)))
        assert len(text.split("\n")) < 30
        assert "…" in text


def test_colours_tell_who_is_to_blame() -> None:
    canvas = Console(file=StringIO(), width=110, force_terminal=True, color_system="standard", no_color=False)
    told = tell(*JUDGING, Judged(FAIL, "e"))
    with canvas.capture() as capture:
        canvas.print(tree(told[-1][0], story_of(told), None, told[-1][2]))
    red = "\x1b[1;31m"
    assert f"{red}p95 491 ms" in capture.get()
    assert f"{red}13.6% errors" in capture.get()
    assert f"{red}p95 19 ms" not in capture.get()


NASTY = "[bold]x[/] [link=http://a]b[/link] :smile: \x1b[2J\x1b]0;title\x07 \u202eabc\u2066 \x9b31m a\tb \r\n\x00 \ud800 ::set-output x"
TEXTS = st.one_of(
    st.just(NASTY),
    st.just("x" * 5000),
    st.just("\n" * 50),
    st.just(""),
    st.text(max_size=40),
    st.text("[]/\\\x1b\u202e"),
)


@given(text=TEXTS, name=TEXTS, phase=st.sampled_from(list(Phase)), width=st.sampled_from([30, 110]))
@example(text=NASTY, name=NASTY, phase=Phase.ROLLED_BACK, width=110)
@example(text="[/]", name="[/bold]", phase=Phase.JUDGING, width=110)
def test_no_text_from_outside_steers_the_terminal_or_breaks_the_tree(
    text: str, name: str, phase: Phase, width: int
) -> None:
    odd = plan(endpoint=name, rollout_id=text, candidate=f"c{name}", stable=f"s{name}")
    told = tell(*PHASES[phase], plan=odd)
    last, event, at = told[-1]
    judged = verdict(Result.FAIL, reason(text, Result.FAIL, text), text=text, candidate=arm(5, 1))
    over = {"reason": text, "warnings": (text,), "verdict": judged, "drift": {name: 100}}
    state = replace(last, **over)
    story = story_of([*told[:-1], (state, event, at)])
    story.lines[0] = text
    story.back, story.last_words = [text], [text]
    seen = endpoint(
        {f"c{name}": 100}, deployment(f"c{name}", message=text), deployment(f"s{name}", message=text), mirror={name: 5}
    )
    canvas = Console(file=StringIO(), width=width, force_terminal=True, color_system="standard")
    with canvas.capture() as capture:
        canvas.print(tree(state, story, seen, at + timedelta(seconds=1), text, text))
    got = STYLE.sub("", capture.get())
    assert [c for c in got if unicodedata.category(c)[0] == "C" and c != "\n"] == []
    if "[bold]" in text and phase is Phase.ROLLED_BACK and width == 110:
        assert "[bold]x[/]" in got
        assert "😄" not in got


def test_a_step_may_have_any_kind() -> None:
    kinds = {step.kind for step in plan().steps}
    assert kinds == set(StepKind)
    assert draw(tell(plan=plan(steps=(Step(StepKind.PREPARE), Step(StepKind.BAKE, weight_pct=100))))).count("○") == 1


def test_events_that_change_nothing_leave_the_steps_words_alone() -> None:
    told = tell(*ROLLED_BACK)
    story = story_of(told)
    before = dict(story.lines)
    state, _, at = told[-1]
    story.add(state, RequestIgnored("pause by ann: too late"), at)
    story.add(state, Reverted("again"), at)
    assert story.lines == before


def test_a_pass_may_be_told_of_a_step_without_a_stable() -> None:
    alone = verdict(Result.PASS, reason("p95", Result.PASS, "p95 fine"), stable=None)
    told = tell(*JUDGING, Judged(alone, "e"))
    assert "pass  p95 proven within the limits" in draw(told)
    assert PASS.stable is not None


def test_a_narrow_terminal_keeps_names_and_shares_whole() -> None:
    file = StringIO()
    told = tell(*JUDGING)
    story = Story()
    for each in told:
        story.add(*each)
    Console(file=file, width=46).print(tree(told[-1][0], story, None, told[-1][2]))
    assert "candidate  green  20%" in file.getvalue()
    assert "stable     blue   80%" in file.getvalue()
    assert max(len(line) for line in file.getvalue().split("\n")) <= 46
