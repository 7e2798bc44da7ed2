"""The lock: what it remembers of a measurement, and in what a deployment departs from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.schema import PlatformType, Slo
from deployer.profile.lock import Lock, departures, from_json, identity_of, slo_record, to_json

SLO = Slo.model_validate({"latency": {"p95": "100ms"}, "error_rate": "1%"})
DOCUMENT: dict[str, Any] = {
    "model": {"path": "model", "name": "digits"},
    "code_configuration": {"code": "src", "scoring_script": "score.py"},
    "environment": "azureml:x:1",
    "instance_type": "Standard_F2s_v2",
    "instance_count": 2,
    "environment_variables": {"WORKER_COUNT": "2"},
    "request_settings": {"max_concurrent_requests_per_instance": 2},
}
CONTENTS = {"model.path": "m" * 64, "code_configuration.code": "c" * 64}


def source(contents: dict[str, str] | None = None, **changes: Any) -> DeploymentSource:
    document = {key: value for key, value in {**DOCUMENT, **changes}.items() if value is not None}
    return DeploymentSource(None, document, Path(), "d", None, CONTENTS if contents is None else contents)


LOCK = Lock(
    profile="size",
    made_at="2026-11-25T00:00:00+00:00",
    platform="managed",
    **identity_of(source()),
    configuration={
        "instance_type": "Standard_F2s_v2",
        "instance_count": 2,
        "workers": 2,
        "max_concurrent_requests_per_instance": 2,
    },
    slo=slo_record(SLO),
    peak_rps=40.0,
    headroom=0.2,
    sustainable_rps=60.0,
    lower=55.0,
    upper=66.0,
    rps_per_instance=30.0,
    usd_per_hour=0.2,
    result="r" * 64,
)


def said(changed: DeploymentSource, slo: Slo = SLO, platform: PlatformType = PlatformType.MANAGED) -> list[str]:
    return list(departures(LOCK, changed, platform, slo))


def test_it_is_read_as_it_was_written() -> None:
    assert from_json(to_json(LOCK)) == LOCK


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        to_json(LOCK).replace("60.0", "600.0"),
        to_json(LOCK).replace('"version": 1', '"version": 2'),
        '{"version": 1, "digest": "x"}',
    ],
)
def test_a_lock_that_was_changed_or_is_of_another_version_is_none(text: str) -> None:
    assert from_json(text) is None


def test_what_is_as_it_was_measured_departs_in_nothing() -> None:
    assert said(source()) == []
    assert said(source(instance_count=5)) == []  # more of them is no risk


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (source({**CONTENTS, "model.path": "n" * 64}), "the model is not the one that was measured"),
        (source(model="azureml:digits:2"), "the model is not"),
        (source(model=None), "the model is not"),
        (source({**CONTENTS, "code_configuration.code": "n" * 64}), "the code is not"),
        (source(environment="azureml:x:2"), "the environment is not"),
        (source(instance_type="Standard_F4s_v2"), "instance_type is Standard_F4s_v2, measured was Standard_F2s_v2"),
        (source(environment_variables={"WORKER_COUNT": "4"}), "workers is 4, measured was 2"),
        (source(request_settings={}), "max_concurrent_requests_per_instance is 1, measured was 2"),
        (source(instance_count=1), "instance_count is 1, recommended were 2"),
    ],
)
def test_what_a_deployment_departs_in_is_said(changed: DeploymentSource, what: str) -> None:
    (line,) = said(changed)
    assert line.startswith(what)


def test_a_model_that_moved_is_the_same_model() -> None:
    assert said(source(model={"path": "elsewhere", "name": "digits"})) == []


def test_another_slo_is_said_with_the_one_that_was_measured_for() -> None:
    (line,) = said(source(), Slo.model_validate({"latency": {"p95": "50ms"}}))
    assert "p95 100ms, error_rate 1%" in line
    lock = replace(LOCK, slo={"latency": {"p99": 1.0}})
    assert any("(p99 1s)" in each for each in departures(lock, source(), PlatformType.MANAGED, SLO))


def test_resources_of_a_cluster_are_compared_as_a_whole() -> None:
    resources = {"requests": {"cpu": "1"}}
    lock = replace(LOCK, platform="kubernetes", configuration={"instance_count": 1, "resources": resources})
    for asked, count in (({"requests": {"cpu": "1"}}, 0), ({"requests": {"cpu": "2"}}, 1)):
        found = list(departures(lock, source(resources=asked), PlatformType.KUBERNETES, SLO))
        assert len(found) == count


def test_another_platform_was_not_measured() -> None:
    assert said(source(instance_count=1), platform=PlatformType.LOCAL) == []
