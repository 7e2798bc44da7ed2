"""What a profile has spent and what it may still take."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from deployer.profile.ledger import Ledger

START = datetime(2026, 11, 25, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_instances_cost_from_when_they_are_asked_for_until_they_are_gone() -> None:
    ledger = Ledger(START, 7200, 5.0)
    ledger.charge(1.0, after(600))
    ledger.charge(3.0, after(1200))
    ledger.charge(0.0, after(2400))
    assert ledger.spent_usd(after(7000)) == pytest.approx(1.0 * 600 / 3600 + 3.0 * 1200 / 3600)
    assert ledger.left_usd(after(7000)) == pytest.approx(5.0 - ledger.spent_usd(after(7000)))


def test_what_is_left_is_the_shorter_of_time_and_money() -> None:
    ledger = Ledger(START, 3600, 1.0)
    assert ledger.left_s(after(600)) == 3000
    ledger.charge(3.0, after(600))
    assert ledger.left_s(after(600)) == pytest.approx(1200)
    assert ledger.left_s(after(1800)) == 0
    assert ledger.left_usd(after(9999)) == 0


def test_the_removal_of_what_is_deployed_is_paid_for_too() -> None:
    ledger = Ledger(START, 7200, 1.0, removal_s=600)
    assert ledger.affords(3000, 1.0, START)
    assert not ledger.affords(3001, 1.0, START)
    ledger.charge(1.0, START)
    assert ledger.left_s(START) == 3000
    assert not ledger.affords(2401, 1.0, START), "what stands has to be removed first"
    assert ledger.affords(2400, 1.0, START)
    assert ledger.left_s(after(3100)) == 0
    assert Ledger(START, 100, None, removal_s=600).left_s(START) == 100, "time is counted without it"


def test_without_a_limit_money_is_no_reason_to_end() -> None:
    ledger = Ledger(START, 100, None)
    ledger.charge(1000, START)
    assert ledger.left_s(after(10)) == 90
    assert ledger.left_usd(after(10)) == math.inf


def test_a_step_is_affordable_when_both_allow_it() -> None:
    ledger = Ledger(START, 3600, 1.0)
    assert ledger.affords(3600, 1.0, START)
    assert not ledger.affords(3601, 0.1, START)
    assert not ledger.affords(3600, 1.1, START)
