"""Words: every event has some, few are repeated, and none from outside is a command."""

from __future__ import annotations

import unicodedata
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from told import (
    BAKING,
    FAIL,
    HOLDING,
    JUDGING,
    PASS,
    PHASES,
    PROMOTED,
    RETIRING,
    REVERTING,
    ROLLED_BACK,
    STUCK,
    T0,
    UNPROVEN,
    arm,
    plan,
    reason,
    tell,
    verdict,
)

from deployer.gate.verdict import Result
from deployer.report.harmless import plain
from deployer.report.verdicts import brief, errors_words, is_news, verdict_record, versus, why
from deployer.report.words import cleaned_words, event_words, excerpt, first_line, outcome_words, step_name
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Cleaned,
    DriftNoticed,
    Event,
    GaveUp,
    Judged,
    Paused,
    RequestIgnored,
    Resumed,
    Scaled,
    ScalingMatched,
    ScalingReleased,
    Shifted,
    Smoked,
    UnreadyNoticed,
    Warmed,
)
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, Step, StepKind


def words(*events: Event, last: object = None) -> tuple[str, str]:
    state, event, _ = tell(*events)[-1]
    return event_words(state, event, last)  # type: ignore[arg-type]


# ---- what comes from outside


@given(st.text())
@example("\x1b[2J\x1b]0;title\x07\x9b31m")
@example("\u202eabc\u2066\u200f\ufeff")
@example("a\r\nb\rc\x85d\u2028e")
def test_no_control_or_format_character_survives(text: str) -> None:
    assert [c for c in plain(text) if unicodedata.category(c)[0] == "C" and c != "\n"] == []


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="#:")))
def test_harmless_text_is_left_alone(text: str) -> None:
    assert plain(text) == text


def test_line_ends_of_any_system_are_line_ends_and_tabs_are_blanks() -> None:
    assert plain("a\r\nb\n\tc") == "a\nb\n    c"


COMMANDS = [
    "##vso[task.setvariable variable=x]y",
    "all well ##vso[task.complete result=Succeeded]done",
    "##[error]no",
    "###[group]no",
    "##VSO[task.setsecret]no",
    "::set-output name=x::y",
    "  ::add-mask::secret",
    "first\n::stop-commands::x",
    "first\r\n\t::error::x",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_no_line_is_a_command_to_a_ci_system(text: str) -> None:
    said = plain(text).lower()
    assert "##[" not in said
    assert "##vso[" not in said
    assert not any(line.lstrip().startswith("::") for line in said.split("\n"))
    assert plain(said) == said


def test_text_that_is_no_command_keeps_its_colons_and_hashes() -> None:
    assert plain("std::vector ## heading [x]") == "std::vector ## heading [x]"


def test_the_first_line_is_the_first_that_says_something() -> None:
    assert first_line("\n  \n  so \nmore") == "so"
    assert first_line("") == first_line("\n\n") == ""


# ---- events


@pytest.mark.parametrize("event", [Scaled("green", 4, "said"), ScalingMatched("said"), ScalingReleased("said")])
def test_what_is_scaled_is_said_as_it_was_done(event: Event) -> None:
    assert event_words(tell()[-1][0], event) == ("scale", "said")


def test_every_event_has_words() -> None:
    told = {type(event) for events in PHASES.values() for _, event, _ in tell(*events)}
    others = {Adopted, Paused, Resumed, RequestIgnored, DriftNoticed, Scaled, ScalingMatched, ScalingReleased}
    others.add(UnreadyNoticed)
    assert told | others == set(get_args(Event))
    for events in PHASES.values():
        for state, event, _ in tell(*events):
            kind, text = event_words(state, event)
            assert kind
            assert text.strip()


@pytest.mark.parametrize(
    ("events", "kind", "text"),
    [
        ((), "start", "rollout 20260101T000000-abcd on digits: green replaces blue"),
        ((*JUDGING, Paused("pause by ann")), "pause", "blue 80%, green 20%: pause by ann"),
        ((*JUDGING, Paused("pause by ann"), Resumed("resume by ann")), "resume", "resume by ann"),
        ((*JUDGING, RequestIgnored("resume by ann: it is not paused")), "ignored", "resume by ann: it is not paused"),
        ((*JUDGING, DriftNoticed({"blue": 100})), "drift", "traffic is blue 100%?"),
        ((*JUDGING, DriftNoticed({"blue": 100}), DriftNoticed(None)), "drift", "traffic is ours again"),
        ((*RETIRING, UnreadyNoticed("green has 0 of 1")), "unready", "green has 0 of 1"),
        ((*RETIRING, UnreadyNoticed("green has 0 of 1"), UnreadyNoticed(None)), "unready", "green is whole again"),
        (REVERTING, "rollback", "attempt 1 failed: busy (wait)"),
        (STUCK, "STUCK", "traffic is blue 80%, green 20%, not blue 100%"),
        (PROMOTED, "retire", "blue deleted"),
        (ROLLED_BACK, "clean", "green removed"),
        ((*PHASES[Phase.SMOKING], Smoked(passed=False, text="got 424")), "smoke", "FAILED: got 424"),
        ((*PHASES[Phase.WARMING], Warmed("green", passed=False, text="slow")), "warm-up", "green FAILED: slow"),
        ((*JUDGING, GaveUp(Outcome.PLATFORM, "gone")), "rollback", "platform failed: gone"),
        (
            (*PHASES[Phase.WARMING], Warmed("green", passed=True, text="ok"), Shifted(0, 10)),
            "shift",
            "blue 100%, 10% mirrored to green, verified",
        ),
        ((*HOLDING, Advanced("held for 600s")), "advance", "held for 600s; next: pause"),
    ],
)
def test_an_event_is_told_in_few_words(events: tuple[Event, ...], kind: str, text: str) -> None:
    assert words(*events) == (kind, text)


def test_a_rollout_found_on_the_endpoint_says_so() -> None:
    found = Adopted(plan(stable=None), Phase.SHIFTING, 5, 20, 0, "found")
    assert event_words(begin(found, T0), found) == (
        "resume",
        "rollout found on digits, shifting: green is the first",
    )


def test_a_look_says_the_numbers_and_then_the_main_reason() -> None:
    kind, text = words(*JUDGING)
    assert kind == "gate"
    assert text.split("\n") == [
        "20% inconclusive: 117 requests, p95 11 ms (stable 14 ms), 0% errors (stable 0%)",
        "58 of the 100 requests that this step needs",
    ]


def test_a_pass_needs_no_reason() -> None:
    assert "\n" not in words(*BAKING)[1]


def test_what_the_gate_said_is_not_repeated_by_the_event_that_follows() -> None:
    assert words(*JUDGING, Judged(PASS, "e"), Advanced(PASS.text), last=PASS)[1] == "20% passed, next: pause 10m"
    assert words(*JUDGING, Judged(FAIL, "e"), GaveUp(Outcome.GATE_FAILED, FAIL.text), last=FAIL)[1] == (
        "gate failed; back to blue 100%"
    )


def test_a_step_skipped_to_is_told_by_who_asked() -> None:
    assert words(*JUDGING, Advanced("promote full by ann", to=8), last=UNPROVEN)[1] == (
        "promote full by ann; next: 100% and bake"
    )


def test_a_frozen_failure_repeats_only_the_main_reason() -> None:
    text = words(*JUDGING, Judged(FAIL, "e"), Paused(f"gate FAIL, frozen: {FAIL.text}"), last=FAIL)[1]
    assert text.endswith(
        "frozen: p95 28x the stable's (20.8 to 43.7): slower than the stable in the same moments (and 1 more)"
    )


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Step(StepKind.BAKE, weight_pct=100), "100% and bake"),
        (Step(StepKind.RETIRE), "retire blue"),
        (Step(StepKind.PAUSE, max_s=90.0), "pause 1m30s"),
        (Step(StepKind.PAUSE), "pause"),
        (Step(StepKind.WEIGHT, weight_pct=5), "5%"),
    ],
)
def test_a_step_has_a_name(step: Step, name: str) -> None:
    assert step_name(plan(), step) == name


def test_every_outcome_has_a_name() -> None:
    assert outcome_words(Outcome.PLATFORM) == "platform failed"
    assert {outcome_words(outcome) for outcome in Outcome} >= {"gate failed", "aborted", "inconclusive", "promoted"}


# ---- verdicts


def test_the_main_reason_of_an_undecided_look_is_the_farthest_from_a_proof() -> None:
    near = reason("p95", Result.INCONCLUSIVE, "p95 needs 200", needed=200)
    far = reason("p99", Result.INCONCLUSIVE, "p99 needs 900", needed=900)
    never = reason("p50", Result.INCONCLUSIVE, "p50 would never", needed=None)
    assert why(verdict(Result.INCONCLUSIVE, near, far)) == "p99 needs 900 (and 1 more)"
    assert why(verdict(Result.INCONCLUSIVE, near, far, never)) == "p50 would never (and 2 more)"


def test_a_reason_that_the_gate_did_not_give_is_not_told() -> None:
    seen = reason("p99", Result.FAIL, "p99 only observed")
    acted = reason("p95", Result.FAIL, "p95 too slow")
    assert why(verdict(Result.FAIL, seen, acted, text="p95 too slow")) == "p95 too slow"


def test_a_verdict_without_reasons_has_its_own_words() -> None:
    assert why(verdict(Result.BLIND, text="telemetry is 11m old")) == "telemetry is 11m old"


def test_a_pass_names_what_was_proven_once_each() -> None:
    metrics = [reason(metric, Result.PASS, f"{metric} fine") for metric in ("error_rate", "shift", "p95", "p95")]
    assert why(verdict(Result.PASS, *metrics)) == "errors, latency, p95 proven within the limits"


def test_other_numbers_are_no_news_and_another_reason_is() -> None:
    one = verdict(Result.INCONCLUSIVE, reason("requests", Result.INCONCLUSIVE, "58 of 100", needed=100))
    two = verdict(Result.INCONCLUSIVE, reason("requests", Result.INCONCLUSIVE, "59 of 100", needed=100))
    other = verdict(Result.INCONCLUSIVE, reason("p95", Result.INCONCLUSIVE, "p95", needed=100))
    assert not is_news(one, two)
    assert is_news(one, other)
    assert is_news(one, verdict(Result.BLIND, text="gone"))


def test_text_is_shortened_where_it_repeats_the_gate_and_nowhere_else() -> None:
    assert brief(f"x: {FAIL.text}!", FAIL) == f"x: {why(FAIL)}!"
    assert brief("x", FAIL) == brief("x", None) == "x"
    assert brief("x", verdict(Result.BLIND, text="")) == "x"


@pytest.mark.parametrize(
    ("requests", "errors", "said"),
    [
        (0, 0, "0% errors"),
        (100, 0, "0% errors"),
        (1_000_000, 1, "0.01% errors"),
        (10_000, 3, "0.03% errors"),
        (1000, 1, "0.1% errors"),
        (66, 9, "13.6% errors"),
        (5, 5, "100.0% errors"),
    ],
)
def test_few_errors_never_look_like_none(requests: int, errors: int, said: str) -> None:
    assert errors_words(arm(requests, errors)) == said


def test_throttled_answers_are_told() -> None:
    assert errors_words(arm(100, throttled=1234)) == "0% errors, 1,234 throttled"


def test_numbers_that_are_unknown_are_left_out() -> None:
    assert versus(verdict(Result.PASS, candidate=arm(0))) == "no requests yet"
    assert versus(verdict(Result.PASS, candidate=arm(1, p95_ms=None), stable=None)) == "1 request, 0% errors"
    assert versus(verdict(Result.PASS, stable=arm(0))) == "117 requests, p95 11 ms, 0% errors"


def test_a_number_that_json_cannot_say_is_null() -> None:
    odd = reason("p95", Result.FAIL, "x", estimate=float("nan"), upper=float("inf"), e_value=float("inf"))
    written = verdict_record(verdict(Result.FAIL, odd, stable=None, until=None))
    assert [written["reasons"][0][key] for key in ("estimate", "upper", "e_value")] == [None, None, None]
    assert (written["stable"], written["until"]) == (None, None)


# ---- logs of a removed version

CRASH = """==> green-0 <==
2026-11-22 03:49:35,497 I [29124] azmlinfsrv - Found user script at score.py
2026-11-22 03:49:35,497 E [29124] azmlinfsrv - User's init function failed
2026-11-22 03:49:35,498 E [29124] azmlinfsrv - Encountered Exception Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/azureml_inference_server_http/server/user_script.py", line 119, in init
    self._user_init()
    ^^^^^^^^^^^^^^^^^
  File "/srv/code/score.py", line 32, in init
    raise FileNotFoundError("no weights")
FileNotFoundError: no weights

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/opt/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 299, in handle_chld
    self.reap_workers()
azureml_inference_server_http.server.user_script.UserScriptException: Caught an unhandled exception
[2026-11-22 03:49:37 +0000] [29114] [ERROR] Worker (pid:29121) exited with code 3.
[2026-11-22 03:49:37 +0000] [29114] [INFO] Shutting down
==> green-1 <==
2026-11-22 03:49:36,001 E [29199] azmlinfsrv - User's init function failed"""


def test_the_logs_of_a_crash_are_cut_to_what_the_model_did() -> None:
    assert excerpt(CRASH) == [
        "  2026-11-22 03:49:35,497 E [29124] azmlinfsrv - User's init function failed",
        "  2026-11-22 03:49:35,498 E [29124] azmlinfsrv - Encountered Exception Traceback (most recent call last):",
        '    File "/srv/code/score.py", line 32, in init',
        '      raise FileNotFoundError("no weights")',
        "  FileNotFoundError: no weights",
        "  (17 more lines in the journal)",
    ]


def test_long_logs_are_cut_to_twelve_lines_from_the_first_trouble() -> None:
    logs = "\n".join(["fine"] * 3 + [f"Error {chr(97 + n)}" for n in range(20)])
    shown = excerpt(logs)
    assert (len(shown), shown[0], shown[11], shown[12]) == (
        13,
        "  Error a",
        "  Error l",
        "  (11 more lines in the journal)",
    )


def test_logs_without_trouble_are_not_shown() -> None:
    assert excerpt("started\nall is well") == []
    assert cleaned_words("green removed; it last said:\nstarted", with_logs=True) == "green removed"


def test_an_abort_shows_no_logs_and_every_other_way_back_does() -> None:
    logged = "green removed; it last said:\nKeyError: 1\nblue removed"
    assert cleaned_words(logged, with_logs=False) == "green removed\nblue removed"
    assert cleaned_words(logged, with_logs=True) == "green removed\n  KeyError: 1\nblue removed"
    for outcome, shown in ((Outcome.ABORTED, False), (Outcome.GATE_FAILED, True), (Outcome.PLATFORM, True)):
        events = (*JUDGING, GaveUp(outcome, "x"), *ROLLED_BACK[len(REVERTING) : -1], Cleaned(logged))
        assert ("KeyError" in words(*events)[1]) is shown


def test_what_could_not_be_removed_is_told_whole() -> None:
    text = "could not remove green: busy (wait)"
    assert cleaned_words(text, with_logs=True) == text
    assert cleaned_words(f"{text}\nblue removed", with_logs=True) == f"{text}\nblue removed"


def test_a_megabyte_of_empty_lines_is_made_harmless_without_end_of_time() -> None:
    text = "\n" * 1_000_000 + "::error::x"
    assert plain(text).endswith("\n: :error::x")
