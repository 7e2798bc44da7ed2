"""Error rates of the whole gate by simulation: minutes. The table of record is tests/bench/gate."""

import numpy as np
import pytest

from deployer.gate.backtest import Replay, backtest
from deployer.gate.blocks import fetch_block_s
from deployer.gate.ledger import utc
from deployer.gate.simulate import EPOCH_S, Scenario, World, stream
from deployer.gate.verdict import Result, Shift
from deployer.manifest.schema import Gate, Slo

pytestmark = pytest.mark.slow

SLO = Slo.model_validate({"latency": {"p95": "330ms", "p99": "930ms"}, "error_rate": "1%"})
GATE = Gate.model_validate({"look": "10s", "warm_up": "30s", "min_requests": 30})
SETTINGS = {"thin": (0.2, 10), "usual": (5.0, 10), "half": (5.0, 50)}


def rollouts(setting, scenario, runs, *, chance=0.01):
    rps, weight = SETTINGS[setting]
    gate = GATE.model_copy(update={"false_rollback": chance})
    world = World(SLO, gate, rps, weight, 1800.0, (30.0, 180.0), 30.0)
    rng = np.random.default_rng([17, runs, int(10 * rps), weight])
    for _ in range(runs):
        replay = Replay(SLO, gate, fetch_block_s(gate), (Shift(utc(EPOCH_S), weight),))
        yield backtest(stream(world, scenario, rng), replay).result


def share(setting, scenario, runs, result, **how):
    return sum(found is result for found in rollouts(setting, scenario, runs, **how)) / runs


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("identical", bad=False),
        Scenario("incident", bad=False, shared=True),
        Scenario("3% slower", bad=False, factor=1.03),
    ],
    ids=lambda scenario: scenario.name,
)
def test_a_good_candidate_is_rarely_rolled_back(setting, scenario):
    assert share(setting, scenario, 60, Result.FAIL, chance=0.05) <= 0.05


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("25% slower", bad=True, factor=1.25),
        Scenario("1.2% errors", bad=True, error_rate=0.012),
    ],
    ids=lambda scenario: scenario.name,
)
def test_a_bad_candidate_never_passes(setting, scenario):
    assert share(setting, scenario, 40, Result.PASS) <= 0.05


@pytest.mark.timeout(1800)
def test_large_regressions_are_found_at_usual_traffic():
    assert share("usual", Scenario("50% slower", bad=True, factor=1.5), 30, Result.FAIL) == 1
    assert share("usual", Scenario("5% errors", bad=True, error_rate=0.05), 30, Result.FAIL) >= 0.95


@pytest.mark.timeout(1800)
def test_an_identical_candidate_passes_where_there_is_traffic():
    assert share("half", Scenario("identical", bad=False), 30, Result.PASS) >= 0.85
