"""Inspections: every question asked at the same time, each with its deadline; what is not answered is unknown."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from deployer.errors import DeployerError, ExitCode, PlanError
from deployer.ports.clock import Clock
from deployer.ports.inspection import Check, CheckState, Question


def inspect(questions: Sequence[Question], clock: Clock) -> tuple[Check, ...]:
    """Ask all ``questions`` side by side; return their answers in the questions' order. Never raises for one of them.

    A question that does not answer in its time is left behind in a thread that ends with the process.
    """
    answers: list[tuple[Check, ...]] = [() for _ in questions]

    def ask(index: int, question: Question) -> None:
        answers[index] = _answer(question)

    started = clock.now()
    threads = [
        threading.Thread(target=ask, args=(index, question), name=f"check {question.name}", daemon=True)
        for index, question in enumerate(questions)
    ]
    for thread in threads:
        thread.start()
    for thread, question in zip(threads, questions, strict=True):
        thread.join(_left_s(started, question, clock))
    return tuple(
        check
        for question, answer in zip(questions, tuple(answers), strict=True)
        for check in answer or (_too_late(question),)
    )


def _left_s(started: datetime, question: Question, clock: Clock) -> float:
    left = started + timedelta(seconds=question.deadline_s) - clock.now()
    return max(left.total_seconds(), 0.0)


def _answer(question: Question) -> tuple[Check, ...]:
    try:
        return tuple(question.ask()) or (Check(question.name, CheckState.UNKNOWN, "nothing was found out"),)
    except DeployerError as exc:
        return (Check(question.name, CheckState.UNKNOWN, exc.message, exc.hint),)
    except Exception as exc:  # noqa: BLE001 (a check that breaks must not hide what the others found)
        return (Check(question.name, CheckState.UNKNOWN, f"the check itself failed: {exc!r}", "Report this as a bug."),)


def _too_late(question: Question) -> Check:
    text = f"no answer within {question.deadline_s:g} s"
    return Check(question.name, CheckState.UNKNOWN, text, "Check the network, then try again.")


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """0 when everything is known and nothing fails, else 5."""
    sound = all(check.state in (CheckState.OK, CheckState.WARN) for check in checks)
    return ExitCode.OK if sound else ExitCode.REFUSED


def refuse_failed(checks: Sequence[Check]) -> None:
    """Refuse a rollout that would end badly. What is unknown does not stop it: the gate never promotes blindly.

    Raises:
        PlanError: says every check that failed. Nothing was touched.
    """
    failed = [check for check in checks if check.state is CheckState.FAIL]
    if failed:
        raise PlanError(
            "; ".join(f"{check.name}: {check.text}" for check in failed),
            hint=failed[0].fix or "See `deployer doctor`.",
        )
