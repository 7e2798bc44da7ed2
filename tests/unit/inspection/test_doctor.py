"""An inspection: all at once, each with its deadline, and unknown is never ok."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from deployer.clocks import SystemClock
from deployer.engine.doctor import exit_code, inspect, refuse_failed
from deployer.errors import DeniedError, ExitCode, PlanError
from deployer.ports.inspection import Check, CheckState, Question
from deployer.report.doctor import checks_record, checks_text, summary

OK, WARN, FAIL, UNKNOWN = (Check("a thing", state, "text", "Do it.") for state in CheckState)


def saying(*checks: Check) -> Callable[[], Sequence[Check]]:
    return lambda: checks


def ask(*questions: Question) -> tuple[Check, ...]:
    return inspect(questions, SystemClock())


def test_answers_come_in_the_order_of_the_questions() -> None:
    gate = threading.Event()

    def late() -> Sequence[Check]:
        gate.wait(10)
        return [OK]

    def early() -> Sequence[Check]:
        gate.set()
        return [WARN, FAIL]

    assert ask(Question("first", late), Question("second", early)) == (OK, WARN, FAIL)


def test_an_error_makes_the_answer_unknown_and_says_what_to_do() -> None:
    def denied() -> Sequence[Check]:
        raise DeniedError("no right to read it", hint="Ask for one.")

    assert ask(Question("quota", denied)) == (
        Check("quota", CheckState.UNKNOWN, "no right to read it", "Ask for one."),
    )


def test_a_check_that_breaks_hides_nothing_that_the_others_found() -> None:
    def broken() -> Sequence[Check]:
        raise KeyError("value")

    first, second = ask(Question("quota", broken), Question("b", saying(OK)))
    assert (first.state, second) == (CheckState.UNKNOWN, OK)
    assert "KeyError" in first.text


def test_no_answer_in_time_is_unknown() -> None:
    never = threading.Event()

    def hanging() -> Sequence[Check]:
        never.wait(30)
        return [OK]

    slow, quick = ask(Question("slow", hanging, deadline_s=0.05), Question("quick", saying(OK)))
    never.set()
    assert (slow.name, slow.state, quick) == ("slow", CheckState.UNKNOWN, OK)
    assert "0.05 s" in slow.text


def test_an_empty_answer_is_unknown() -> None:
    assert [check.state for check in ask(Question("quota", saying()))] == [CheckState.UNKNOWN]


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((), ExitCode.OK),
        ((OK, WARN), ExitCode.OK),
        ((OK, FAIL), ExitCode.REFUSED),
        ((OK, UNKNOWN), ExitCode.REFUSED),
    ],
)
def test_only_what_is_known_to_be_sound_exits_with_0(checks: tuple[Check, ...], code: ExitCode) -> None:
    assert exit_code(checks) is code


def test_a_rollout_is_refused_by_what_fails_and_by_nothing_else() -> None:
    refuse_failed((OK, WARN, UNKNOWN))
    with pytest.raises(PlanError, match="a thing: text; quota: none left") as refused:
        refuse_failed((OK, FAIL, Check("quota", CheckState.FAIL, "none left")))
    assert (refused.value.hint, refused.value.exit_code) == ("Do it.", ExitCode.REFUSED)


def test_every_check_is_a_line_and_what_to_do_stands_below() -> None:
    lines = checks_text((OK, Check("quota", CheckState.FAIL, "none\x1b[2J left", "Ask."))).split("\n")
    assert [line.split()[0] for line in lines] == ["ok", "next:", "fail", "next:"]
    assert "\x1b" not in "".join(lines)
    assert summary((OK, FAIL, FAIL)) == "1 ok, 2 fail"


def test_the_record_has_the_same_words() -> None:
    assert checks_record((WARN,), ExitCode.OK) == {
        "exit_code": 0,
        "checks": [{"name": "a thing", "state": "warn", "text": "text", "fix": "Do it."}],
    }
