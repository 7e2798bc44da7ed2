"""What a manifest may say, what it means when it says nothing, and how a refusal reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from manifest_documents import BLUE_GREEN, FULL, MANIFEST, changed

from deployer.manifest.problems import did_you_mean
from deployer.manifest.schema import (
    BlueGreen,
    Canary,
    Empty,
    Gate,
    Manifest,
    MirrorStep,
    OnFail,
    OnInconclusive,
    Pause,
    PauseStep,
    PlatformType,
    Retire,
    SmokeStep,
    Strategy,
    TelemetrySource,
    WeightStep,
)
from deployer.manifest.validation import MAX_PROBLEMS, check


def load(content: dict[str, Any]) -> Manifest:
    manifest, findings = check(Manifest, content)
    assert not findings
    assert manifest is not None
    return manifest


def refusals(**changes: Any) -> list[str]:
    manifest, findings = check(Manifest, changed(FULL, **changes))
    assert manifest is None
    return [f"{each.message} ({each.hint})" if each.hint else each.message for each in findings]


def test_short_forms_and_defaults() -> None:
    manifest = load(MANIFEST)
    assert manifest.platform.type is PlatformType.LOCAL
    assert manifest.slo.latency is not None
    assert manifest.slo.latency.targets() == (("p50", None), ("p95", 0.3), ("p99", None))
    assert manifest.slo.error_rate == 0.01
    strategy = manifest.strategy
    assert strategy.canary is not None
    assert strategy.canary.steps == (WeightStep(weight=5), WeightStep(weight=25), WeightStep(weight=50))
    assert strategy.canary.bounds(WeightStep(weight=5)) == (300, 1800)
    assert strategy.bake_s == 1800
    assert (strategy.on_fail, strategy.on_inconclusive) == (OnFail.ROLLBACK, OnInconclusive.ROLLBACK)
    assert (strategy.retire, strategy.deadline) == (Retire.DELETE, 10800)
    gate = manifest.gate
    assert (gate.block, gate.settle, gate.look, gate.min_requests) == (None, None, 10, 200)
    assert (gate.compare.latency.tolerate, gate.compare.latency.rule_out) == (1.05, 1.25)
    assert (gate.compare.error_rate.tolerate, gate.compare.error_rate.rule_out) == (1.3, 3)
    assert (gate.telemetry.source, gate.telemetry.max_lag) == (None, 600)
    assert manifest.smoke == ()
    assert manifest.load is None


def test_everything_may_be_said() -> None:
    manifest = load(FULL)
    assert manifest.strategy.canary is not None
    assert manifest.strategy.canary.steps == (
        MirrorStep.model_validate({"mirror": "10%", "for": "10m"}),
        WeightStep(weight=5),
        WeightStep.model_validate({"weight": 25, "min": "5m", "max": "30m"}),
        PauseStep(pause=Pause.model_validate({"for": "10m"})),
        SmokeStep(smoke=Empty()),
        PauseStep(pause=Pause()),
        WeightStep(weight=100),
    )
    assert manifest.gate.compare.error_rate.rule_out == 3
    assert manifest.gate.settle == 10
    assert manifest.gate.telemetry.source is TelemetrySource.TRAFFIC_LOG
    assert manifest.load is not None
    assert manifest.load.rps == 40


def test_the_least_time_of_a_rollout_is_the_sum_of_what_must_pass() -> None:
    canary = load(FULL).strategy.canary
    assert canary is not None
    assert canary.least_s == 600 + 300 + 300 + 600 + 1800  # mirror, 5 %, 25 %, pause, bake
    assert load(BLUE_GREEN).strategy.bake_s == 1800
    assert BlueGreen.model_validate({"mirror": "10%"}).least_s == 2400
    assert BlueGreen().least_s == 1800
    assert Strategy.model_construct(canary=None, blue_green=None).bake_s == 0


def test_models_are_made_from_models_too() -> None:
    steps = (WeightStep(weight=5), PauseStep(pause=Pause()))
    assert Canary(steps=steps).steps == steps


@pytest.mark.parametrize("content", [MANIFEST, FULL, BLUE_GREEN])
def test_a_manifest_survives_json(content: dict[str, Any]) -> None:
    """What journal and digest hold of a manifest is plain data."""
    dumped = load(content).model_dump(mode="json", by_alias=True)
    assert json.loads(json.dumps(dumped)) == dumped


@pytest.mark.parametrize("value", ["1s", "10m"])
def test_block_and_settle_take_durations_within_their_limits(value: str) -> None:
    assert Gate.model_validate({"block": value, "settle": value}).block is not None


HINT = "write a weight as 25, or one of {weight: 25}, {mirror: 10%, for: 10m}, {pause: {}}, {smoke: {}}"
MAIN_KEYS = "known: baseline, deployment, endpoint, env, gate, load, name, notify, platform, slo, smoke, strategy, tags, version, warmup"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"version": 2}, "version: the version of this format is 1 (write version: 1)"),
        ({"version": True}, "version: the version of this format is 1 (write version: 1)"),
        ({"version": "1"}, "version: the version of this format is 1 (write version: 1)"),
        ({"name": ...}, "name is missing (of the rollout)"),
        ({"name": 5}, 'name: 5 is not text (put it in quotes: "5")'),
        ({"name": "x"}, "name: 'x' is shorter than 2 characters"),
        ({"name": "x" * 65}, f"name: '{'x' * 59}...' is longer than 64 characters"),
        (
            {"name": "a\n"},
            "name: 'a\\n' is not a name (use letters, digits and single hyphens between them, a letter first)",
        ),
        ({"platfrm": "local"}, "unknown key platfrm (did you mean platform?)"),
        ({"zzzzzz": 1}, f"unknown key zzzzzz ({MAIN_KEYS})"),
        ({"platform": "mangd"}, "platform: 'mangd' is not one of local, managed, kubernetes (did you mean managed?)"),
        ({"platform": 5}, "platform: 5 is not a mapping"),
        (
            {"platform__type": "x"},
            "platform.type: 'x' is not one of local, managed, kubernetes (known: kubernetes, local, managed)",
        ),
        (
            {"platform": "managed"},
            "platform: platform managed needs subscription_id, resource_group, workspace (add it)",
        ),
        ({"platform__type": "kubernetes"}, "platform: platform kubernetes needs compute (add it)"),
        (
            {"platform__type": "local"},
            "platform: platform local takes no subscription_id, resource_group, workspace (remove it)",
        ),
        (
            {"platform__compute": "cluster"},
            "platform: platform managed takes no compute (remove it, or use type: kubernetes)",
        ),
        ({"env": ["a"]}, "env[0]: 'a' is not a name (use capital letters, digits and underscores, no digit first)"),
        ({"env": "A"}, "env: 'A' is not a list (write [a, b], or lines that start with a dash)"),
        ({"endpoint": 5}, 'endpoint: 5 is not text or a mapping (put it in quotes: "5")'),
        (
            {"endpoint": None},
            "endpoint: there is no value, text or a mapping is needed (give a value, or remove the key)",
        ),
        ({"slo": None}, "slo: there is no value, a mapping is needed (give a value, or remove the key)"),
        ({"slo": {}}, "slo: slo names no target (give latency, error_rate or both)"),
        ({"slo__latency": {}}, "slo.latency: latency names no target (give at least one of p50, p95, p99)"),
        ({"slo__latency__p95": "10s"}, "slo.latency: p95 is above p99: quantiles rise"),
        ({"slo__latency__p95": "0s"}, "slo.latency.p95: '0s' must be over 0ms"),
        (
            {"slo__latency__p95": 300},
            "slo.latency.p95: 300 is not a duration: it has no unit (write 300ms, 300s or 300m)",
        ),
        ({"slo__error_rate": "100%"}, "slo.error_rate: '100%' must be under 100%"),
        ({"slo__error_rate": "0%"}, "slo.error_rate: '0%' must be over 0%"),
        ({"slo__error_rate": 0.01}, "slo.error_rate: 0.01 is not a share (write it in percent, as 1% or 0.5%)"),
        (
            {"strategy__canary": ...},
            "strategy: strategy needs canary or blue_green (write canary: {steps: [5, 25, 50]})",
        ),
        ({"strategy__blue_green": {}}, "strategy: strategy has both canary and blue_green (remove one)"),
        (
            {"strategy__on_fail": "rolback"},
            "strategy.on_fail: 'rolback' is not one of rollback, freeze (did you mean rollback?)",
        ),
        (
            {"strategy__retire": 5},
            "strategy.retire: 5 is not one of delete, scale_down, keep (known: delete, keep, scale_down)",
        ),
        (
            {"strategy__deadline": "59m"},
            "strategy: the deadline is shorter than the least time of steps and bake (1h) (raise it, or shorten bake)",
        ),
        (
            {"strategy__canary__bake": "5s"},
            "bake is shorter than one look of the gate: nothing would be judged at 100 %",
        ),
        ({"strategy__canary__steps": []}, "strategy.canary: there is no step (write steps: [5, 25, 50])"),
        (
            {"strategy__canary__steps": 5},
            "strategy.canary.steps: 5 is not a list (write [a, b], or lines that start with a dash)",
        ),
        ({"strategy__canary__steps": [25, 5]}, "strategy.canary: weights must rise: 5 follows 25"),
        ({"strategy__canary__steps": [5, 5]}, "strategy.canary: weights must rise: 5 follows 5"),
        (
            {"strategy__canary__steps": [100, {"pause": {}}]},
            "strategy.canary: nothing may follow weight 100: bake comes after it",
        ),
        (
            {"strategy__canary__steps": [5, {"mirror": "10%", "for": "1m"}]},
            "strategy.canary: mirror comes before the first weight: a deployment takes live or mirrored traffic, not both",
        ),
        (
            {"strategy__canary__steps": [{"weight": 5, "min": "1h"}]},
            "strategy.canary: the step's min (1h) is longer than max (30m)",
        ),
        ({"strategy__canary__steps": [{"weight": "x"}]}, "strategy.canary.steps[0].weight: 'x' is not a whole number"),
        (
            {"strategy__canary__steps": [{"weight": "5"}]},
            "strategy.canary.steps[0].weight: '5' is not a whole number (remove the quotes)",
        ),
        ({"strategy__canary__steps": [5.0]}, f"strategy.canary.steps[0]: 5.0 is not a step ({HINT})"),
        ({"strategy__canary__steps": [0]}, "strategy.canary.steps[0]: 0 is below 1"),
        ({"strategy__canary__steps": [120]}, "strategy.canary.steps[0]: 120 is over 100"),
        ({"strategy__canary__steps": [True]}, f"strategy.canary.steps[0]: true is not a step ({HINT})"),
        ({"strategy__canary__steps": ["5%"]}, f"strategy.canary.steps[0]: '5%' is not a step ({HINT})"),
        (
            {"strategy__canary__steps": [{"weigt": 5}]},
            "strategy.canary.steps[0]: a step says one of weight, mirror, pause, smoke (did you mean weight?)",
        ),
        (
            {"strategy__canary__steps": [{}]},
            f"strategy.canary.steps[0]: a step says one of weight, mirror, pause, smoke ({HINT})",
        ),
        (
            {"strategy__canary__steps": [{"weight": 5, "pause": {}}]},
            "strategy.canary.steps[0]: weight and pause in one step (make them steps of their own)",
        ),
        (
            {"strategy__canary__steps": [{"weight": 5, "mn": "1m"}]},
            "unknown key strategy.canary.steps[0].mn (did you mean min?)",
        ),
        ({"strategy__canary__steps": [{"mirror": "10%"}]}, "strategy.canary.steps[0].for is missing"),
        (
            {"strategy__canary__steps": [{"mirror": "60%", "for": "1m"}]},
            "strategy.canary.steps[0].mirror: '60%' is over 50%",
        ),
        (
            {"strategy__canary__steps": [{"pause": {"fohr": "1m"}}]},
            "unknown key strategy.canary.steps[0].pause.fohr (did you mean for?)",
        ),
        (
            {"smoke": []},
            "a smoke step without smoke requests (add smoke: [{request: samples/ok.json}], or remove the step)",
        ),
        ({"gate__block": "0.5s"}, "gate.block: '0.5s' is below 1s"),
        ({"gate__block": "11m"}, "gate.block: '11m' is over 10m"),
        ({"gate__min_requests": 0}, "gate.min_requests: 0 is below 1"),
        ({"gate__min_requests": 1.5}, "gate.min_requests: 1.5 is not a whole number"),
        (
            {"gate__compare__latency": {"tolerate": "+30%"}},
            "gate.compare.latency: tolerate must be below rule_out: between them lies what the gate may decide either way",
        ),
        (
            {"gate__compare__latency": "25%"},
            "gate.compare.latency: '25%' is not a growth (write how much worse, as +25% or 1.25x)",
        ),
        (
            {"gate__observe_only": ["p51"]},
            "gate.observe_only[0]: 'p51' is not one of p50, p95, p99, error_rate, compare (did you mean p95?)",
        ),
        ({"gate__telemetry__source": "logs"}, None),
        ({"load__rps": "40"}, "load.rps: '40' is not a number (remove the quotes)"),
        ({"load__rps": True}, "load.rps: true is not a number"),
        ({"load__rps": 0}, "load.rps: 0 must be over 0"),
        ({"load__rps": float("nan")}, "load.rps: nan: Input should be a finite number"),
        ({"tags__a": True}, 'tags.a: true is not text (put it in quotes: "true")'),
    ],
)
def test_refusals_say_what_where_and_what_to_write(changes: dict[str, Any], refusal: str | None) -> None:
    (said,) = refusals(**changes)
    assert refusal is None or said.startswith(refusal)
    assert "pydantic" not in said


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": 5}, ("name",)),
        ({"endpoint": 5}, ("endpoint",)),
        ({"slo": ...}, ("slo",)),
        ({"slo": {}}, ("slo",)),
        ({"platform": "x"}, ("platform",)),
        ({"platform__compute": "c"}, ("platform", "compute")),
        ({"gate__compare__latency": {"tolerate": "+30%"}}, ("gate", "compare", "latency", "tolerate")),
        ({"gate__compare__latency": "25%"}, ("gate", "compare", "latency")),
        ({"slo__latency__p95": "10s"}, ("slo", "latency", "p99")),
        ({"strategy__deadline": "1m"}, ("strategy", "deadline")),
        ({"strategy__blue_green": {}}, ("strategy", "blue_green")),
        ({"strategy__canary__bake": "5s"}, ("strategy", "canary", "bake")),
        ({"strategy__canary__steps": []}, ("strategy", "canary", "steps")),
        ({"strategy__canary__steps": [25, 5]}, ("strategy", "canary", "steps", 1)),
        ({"strategy__canary__steps": [5, {"weight": "x"}]}, ("strategy", "canary", "steps", 1, "weight")),
        ({"strategy__canary__steps": [100, 0]}, ("strategy", "canary", "steps", 1)),
        ({"strategy__canary__steps": [100, {"pause": {}}]}, ("strategy", "canary", "steps", 1)),
        ({"strategy__canary__steps": [{"weight": 5, "pause": {}}]}, ("strategy", "canary", "steps", 0, "pause")),
        ({"smoke": []}, ("strategy", "canary", "steps", 4)),
    ],
)
def test_refusals_stand_where_the_cause_is(changes: dict[str, Any], path: tuple[str | int, ...]) -> None:
    _, findings = check(Manifest, changed(FULL, **changes))
    assert [finding.path for finding in findings] == [path]


def test_all_refusals_come_at_once() -> None:
    assert len(refusals(version=2, name=5, slo=None, extra=1, load__rps=0)) == 5


def test_nobody_reads_more_than_so_many() -> None:
    assert len(refusals(**{f"k{n}": 1 for n in range(1000)})) == MAX_PROBLEMS


def test_suggestions_are_the_nearest_word_or_all_or_nothing() -> None:
    assert did_you_mean("Platfrm", ["platform", "gate"]) == "did you mean platform?"
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("xyz", []) == ""
    assert did_you_mean("xyz", [f"option {n}" for n in range(16)]) == ""
