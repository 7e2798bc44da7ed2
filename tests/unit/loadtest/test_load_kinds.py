"""Who is to blame for an answer: as the gate sees it (INVARIANTS, G6), and what only a load test sees."""

from __future__ import annotations

from collections import Counter

import pytest

from deployer.gate.samples import AnswerClass, classify
from deployer.loadtest.kinds import FAILED, WORDS, Kind, kind_of, kinds_of


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Kind.OK),
        (204, Kind.OK),
        (301, Kind.REJECTED),
        (400, Kind.REJECTED),
        (404, Kind.REJECTED),
        (408, Kind.TIMEOUT),
        (424, Kind.ERROR),
        (429, Kind.THROTTLED),
        (1429, Kind.RATE_LIMITED),
        (499, Kind.TIMEOUT),
        (500, Kind.ERROR),
        (503, Kind.ERROR),
        (504, Kind.TIMEOUT),
        (0, Kind.NO_ANSWER),
        (-1, Kind.OVER_CAP),
    ],
)
def test_a_status_has_its_kind(status: int, kind: Kind) -> None:
    assert kind_of(status) is kind


def test_gate_and_load_test_agree_on_what_is_the_models_fault() -> None:
    blamed = {AnswerClass.ERROR: Kind.ERROR, AnswerClass.TIMEOUT: Kind.TIMEOUT, AnswerClass.THROTTLED: Kind.THROTTLED}
    for status in range(100, 600):
        if (kind := blamed.get(classify(status))) is not None:
            assert kind_of(status) is kind


def test_only_our_own_mistakes_are_no_failures() -> None:
    assert set(Kind) - FAILED == {Kind.OK, Kind.REJECTED}
    assert set(WORDS) == set(Kind)


def test_requests_are_counted_by_kind() -> None:
    assert kinds_of({200: 5, 201: 1, 429: 2, 1429: 3}) == Counter({Kind.OK: 6, Kind.THROTTLED: 2, Kind.RATE_LIMITED: 3})
