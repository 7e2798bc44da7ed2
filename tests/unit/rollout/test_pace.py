"""What past rollouts tell of how long to wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from playbook import T0

from deployer.rollout.pace import Told, Usual, usual


def journal(*told: tuple[float, dict[str, Any]]) -> list[Told]:
    return [(event, T0 + timedelta(seconds=second)) for second, event in told]


def rolled_out(deploy_s: float, *shifts_s: float) -> list[Told]:
    told: list[tuple[float, dict[str, Any]]] = [
        (0, {"type": "started"}),
        (1, {"type": "requested", "deployment": None}),
        (2, {"type": "requested", "deployment": "green"}),
        (2 + deploy_s, {"type": "deployed"}),
    ]
    at = 10_000.0
    for shift_s in shifts_s:
        told += [
            (at, {"type": "advanced"}),
            (at + shift_s, {"type": "shifted"}),
            (at + shift_s + 1, {"type": "judged"}),
        ]
        at += 1000
    return journal(*told)


def test_without_a_past_nothing_is_usual() -> None:
    assert usual([]) == usual([[]]) == Usual(None, None)


def test_the_usual_is_the_median_over_past_rollouts() -> None:
    past = [rolled_out(580, 20, 30), rolled_out(600, 70), rolled_out(3000)]
    assert usual(past) == Usual(600, 30)


def test_a_deployment_that_was_there_already_or_never_came_says_nothing() -> None:
    resumed = journal((0, {"type": "adopted"}), (5, {"type": "deployed"}))
    failed = journal((0, {"type": "requested", "deployment": "green"}), (900, {"type": "gave_up"}))
    torn = journal((0, {"type": "shifted"}))
    assert usual([resumed, failed, torn]) == Usual(None, None)
