"""What a rollout takes: minutes, calls, money, and requests that meet the candidate."""

from __future__ import annotations

import pytest
from unit.rollout.playbook import wanted

from deployer.engine.forecast import Pace, forecast
from deployer.manifest.schema import Retire
from deployer.platforms.managed import CAPABILITIES
from deployer.ports.inspection import Price
from deployer.report.forecast import forecast_record, forecast_text
from deployer.rollout.model import Plan
from deployer.rollout.plan import compile_plan

PACE = Pace(45.0, 600.0, 5.0)
PRICE = Price(0.5, "the service's estimate", "2026-11-25")
STRATEGY = {
    "canary": {"steps": [10, 50], "each": {"min": "5m", "max": "30m"}, "bake": "30m"},
    "retire": Retire.DELETE.value,
    "deadline": "6h",
}


def plan(**over: object) -> Plan:
    return compile_plan(wanted({**STRATEGY, **over}, baseline=True), None, CAPABILITIES, rollout_id="r")


def test_the_least_time_is_deployments_writes_and_the_least_of_every_step() -> None:
    found = forecast(plan(), PACE, rps=None, instances=1, price=None)
    assert found.least_s == 2 * 600 + 4 * 45 + (300 + 300 + 1800)


def test_the_most_never_exceeds_the_deadline() -> None:
    assert forecast(plan(deadline="2h"), PACE, rps=None, instances=1, price=None).most_s == 7200


def test_money_is_time_by_instances_of_the_candidate() -> None:
    found = forecast(plan(), PACE, rps=None, instances=3, price=PRICE)
    assert found.cost is not None
    assert found.cost.per_hour == pytest.approx(1.5)
    assert found.cost.least == pytest.approx(1.5 * found.least_s / 3600)
    assert found.cost.most == pytest.approx(1.5 * found.most_s / 3600)


def test_exposed_requests_are_the_candidates_share_of_each_step() -> None:
    found = forecast(plan(), PACE, rps=20.0, instances=1, price=None)
    assert [(str(one.step), one.least, one.most) for one in found.exposures] == [
        ("10%", 600, 3600),
        ("50%", 3000, 18000),
        ("bake", 36000, 72000),
    ]


def test_without_a_rate_only_the_shares_are_said() -> None:
    found = forecast(plan(), PACE, rps=None, instances=1, price=None)
    assert all(one.least is None for one in found.exposures)
    assert "10%, 50%, 100% of the requests" in forecast_text(found)


def test_calls_grow_with_time_and_a_traffic_step_costs_four() -> None:
    short = forecast(plan(), PACE, rps=None, instances=1, price=None)
    assert short.calls_least < short.calls_most
    still = forecast(plan(), Pace(45.0, 600.0, 0.0), rps=None, instances=1, price=None)
    one_step = forecast(
        plan(canary={"steps": [10], "each": {"min": "5m", "max": "30m"}, "bake": "30m"}),
        Pace(45.0, 600.0, 0.0),
        rps=None,
        instances=1,
        price=None,
    )
    assert still.calls_least - one_step.calls_least == 4


def test_a_stable_that_cannot_be_scaled_down_to_nothing_is_told_with_its_price() -> None:
    found = forecast(plan(retire="scale_down"), PACE, rps=None, instances=3, price=PRICE)
    assert "The stable goes on costing $0.50 an hour after it is scaled down (1 x " in forecast_text(found)
    assert forecast_record(found)["instances_kept"] == 1
    deleted = forecast(plan(), PACE, rps=None, instances=3, price=PRICE)
    assert "goes on costing" not in forecast_text(deleted)
    assert forecast_record(deleted)["instances_kept"] == 0


def test_the_text_names_price_source_and_day() -> None:
    text = forecast_text(forecast(plan(), PACE, rps=20.0, instances=3, price=PRICE))
    assert "$1.50 an hour (3 x $0.5; the service's estimate, 2026-11-25)" in text
    assert "10% 600 to 3,600" in text


def test_the_record_holds_the_same_numbers() -> None:
    record = forecast_record(forecast(plan(), PACE, rps=20.0, instances=3, price=PRICE))
    assert record["cost"]["usd_per_hour_of_candidate"] == 1.5
    assert record["exposed"][0] == {"step": "10%", "share": 0.1, "least": 600, "most": 3600}
    assert forecast_record(forecast(plan(), PACE, rps=None, instances=1, price=None))["cost"] is None
