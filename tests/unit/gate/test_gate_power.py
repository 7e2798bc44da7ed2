import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.gate.worlds import gate, slo

from deployer.gate.power import Traffic, _kl, _paired, check_step, plan_power

SLO = slo(latency={"p95": "330ms", "p99": "930ms"}, error_rate="1%")
GATE = gate(look="10s", warm_up="60s", min_requests=200)


def asked(traffic, **how):
    return {row.question: row for row in plan_power(how.get("slo", SLO), how.get("gate", GATE), traffic)}


def test_small_regressions_take_longer_than_large_ones():
    rows = asked(Traffic(10, 5.0))
    assert rows["+20% latency"].seconds > rows["+50% latency"].seconds >= rows["+100% latency"].seconds
    assert rows["5% errors"].seconds >= rows["20% errors"].seconds


def test_the_answers_are_near_what_simulated_rollouts_took():
    rows = asked(Traffic(10, 5.0, lag_s=105.0))
    assert rows["+50% latency"].seconds == pytest.approx(300, rel=0.5)
    assert rows["+20% latency"].seconds == pytest.approx(750, rel=0.5)
    assert rows["5% errors"].seconds == pytest.approx(360, rel=0.5)


def test_more_traffic_never_takes_longer():
    seconds = [asked(Traffic(10, rps))["+20% latency"].seconds for rps in (0.2, 1, 5, 20, 200)]
    assert seconds == sorted(seconds, reverse=True)


def test_a_pass_is_as_slow_as_its_slowest_proof():
    (question,) = [name for name in asked(Traffic(10, 5.0)) if name.startswith("pass")]
    assert "p99" in question
    (easy,) = [name for name in asked(Traffic(10, 5.0, next_weight_pct=20)) if name.startswith("pass")]
    assert "p99 against" not in easy


def test_alone_only_the_slo_counts():
    rows = asked(Traffic(100, 5.0))
    assert not any("latency" in name or "against" in name for name in rows)


def test_without_requests_nothing_is_ever_decided():
    assert all(row.seconds == math.inf for row in asked(Traffic(10, 0.0)).values())


def test_what_is_tolerated_is_never_found():
    loose = gate(compare={"latency": {"tolerate": "+30%", "rule_out": "+60%"}})
    row = asked(Traffic(10, 5.0), gate=loose)["+20% latency"]
    assert (row.requests, row.seconds) == (-1, math.inf)


def test_a_step_that_can_decide_is_not_complained_about():
    assert check_step(SLO, GATE, Traffic(50, 200.0), 1800) is None


def test_a_step_that_cannot_decide_is_refused_with_proposals():
    found = check_step(SLO, GATE, Traffic(10, 0.2), 1800)
    assert found is not None
    assert found.never
    assert "max 17h" in found.text
    assert "load.rps" in found.text


def test_a_step_that_would_decide_with_more_weight_is_told_so():
    found = check_step(SLO, GATE, Traffic(10, 5.0), 1800)
    assert found is not None
    assert not found.never
    assert "weight 20" in found.text


def test_a_step_shorter_than_the_lag_has_no_rate_that_would_do():
    found = check_step(SLO, GATE, Traffic(10, 5.0, lag_s=600), 300)
    assert found is not None
    assert "load.rps" not in found.text


def test_a_step_without_requests_is_refused():
    found = check_step(slo(error_rate="1%"), GATE, Traffic(10, 0.0, error_rate=0.01), 300)
    assert found is not None
    assert found.never
    assert "for ever" in found.text


def test_a_service_of_a_few_milliseconds_needs_less():
    local = slo(latency={"p95": "200ms"}, error_rate="5%")
    quick = gate(min_requests=50)
    traffic = Traffic(50, 40.0, typical_ms=5.0)
    assert check_step(local, quick, traffic, 40) is None
    assert check_step(local, quick, Traffic(50, 40.0), 40) is not None


RATES = st.sampled_from([0.05, 0.2, 1.0, 3.0, 20.0])


@given(
    weight=st.sampled_from([1, 5, 10, 25, 50]),
    rps=RATES,
    max_s=st.sampled_from([600.0, 1800.0, 7200.0]),
    lag_s=st.sampled_from([0.0, 180.0]),
)
def test_whatever_is_proposed_would_decide(weight, rps, max_s, lag_s):
    traffic = Traffic(weight, rps, lag_s=lag_s)
    found = check_step(SLO, GATE, traffic, max_s)
    if found is None:
        return
    for weight_text, rps_text, at_text in re.findall(
        r"weight (\d+),|(\d+) requests/s in all(?: at weight (\d+))?", found.text
    ):
        changed = replace(
            traffic,
            weight_pct=int(weight_text or at_text or weight),
            rps=float(rps_text) if rps_text else rps,
        )
        assert check_step(SLO, GATE, changed, max_s) is None, found.text
    longer = re.search(r"max (?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:,|$)", found.text.partition("what would do")[2])
    if longer:
        days, hours, minutes = (int(part or 0) for part in longer.groups())
        assert check_step(SLO, GATE, traffic, 60.0 * (minutes + 60 * (hours + 24 * days)) + 3600 * (days > 0)) is None


def test_a_thin_endpoint_is_told_how_often_a_regression_would_be_found_in_time():
    row = asked(Traffic(10, 0.2))["+50% latency"]
    assert 0.5 <= row.chance(1800) <= 0.8  # three in four, simulated with telemetry a minute or two late
    assert asked(Traffic(10, 0.2, lag_s=180.0))["+50% latency"].chance(1800) < row.chance(1800)
    assert row.chance(row.seconds) == pytest.approx(0.5)
    assert row.chance(10 * row.seconds) > 0.99
    assert row.chance(60) < 0.01
    assert asked(Traffic(10, 0.0))["+50% latency"].chance(1800) == 0.0
    assert asked(Traffic(10, 5.0, lag_s=180.0))["+50% latency"].chance(180) == 0.0


def test_a_slo_of_latency_alone_needs_no_proof_about_errors():
    rows = asked(Traffic(50, 200.0), slo=slo(latency={"p50": "80ms"}))
    assert "pass: error_rate" not in rows


def test_a_given_block_is_respected():
    rows = asked(Traffic(10, 200.0), gate=gate(block="5m", look="10s"))
    assert rows["+100% latency"].seconds >= 300


def test_information_about_errors_is_that_of_the_paired_comparison():
    assert 4.18 / _paired(0.01, 0.001, 0.1) == pytest.approx(384, rel=0.01)
    assert 4.18 / _paired(0.05, 0.001, 0.5) == pytest.approx(135, rel=0.01)
    assert 4.18 / _kl(0.01, 0.001) == pytest.approx(297, rel=0.01)
