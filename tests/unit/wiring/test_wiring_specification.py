"""What is kept of both versions beside a journal: all but secrets."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from golden.report.kept import FAILED, case

from deployer.errors import TransientError
from deployer.manifest.azureml import DeploymentSource
from deployer.ports.inspection import Price
from deployer.wiring.specification import SECRET, document, specification_of

CANARY = "canary" + "-7f3a9c"
SAS = "https://store.blob.core.windows.net/m?sv=1&sig=" + CANARY + "AAAABBBBCCCCDDDD%3D"
PLAIN = {
    "name": "green",
    "instance_type": "Standard_F2s_v2",
    "instance_count": 2,
    "environment": "azureml://registries/azureml/environments/minimal/labels/latest",
    "image": "registry.example/model@sha256:0f3a9c7be2410f3a9c7be2410f3a9c7be2410f3a9c7be2410f3a9c7be241aaaa",
    "environment_variables": {"WORKER_COUNT": "2", "LOG_LEVEL": "info"},
    "tags": {"owner": "team-a", "cost_center": "42"},
}
SECRETS = {
    "environment_variables": {"API_KEY": CANARY, "DB_PASSWORD": CANARY, "URL": f"https://user:{CANARY}@host/x"},
    "tags": {"deploy_token": CANARY},
    "properties": {"ConnectionString": f"AccountKey={CANARY}"},
    "model": {"path": SAS},
    "code_configuration": {"code": [SAS, {"deep": SAS}]},
}


def source(written: dict[str, Any]) -> DeploymentSource:
    return DeploymentSource("green", written, Path(), "d")


def test_nothing_that_looks_like_a_secret_is_kept() -> None:
    kept = json.dumps(document(source(SECRETS)))
    assert CANARY not in kept
    assert kept.count(SECRET) == 8


def test_everything_else_is_kept_as_it_was_written() -> None:
    assert document(source(PLAIN)) == PLAIN


@pytest.mark.parametrize(
    "written",
    [
        {"environment": {"conda_file": {"pip": ["--index-url https://" + CANARY + "dead@pkgs.x/simple"]}}},
        {"readiness_probe": {"headers": {"Authorization": "Bearer " + CANARY}}},
        {"readiness_probe": {"headers": {"authorization": "Basic " + CANARY}}},
        {"data_collector": {"sasToken": CANARY}},
        {"model": {"storage": [{"account_key": CANARY}]}},
        {"registry": {"password": int("7" * 8)}},
    ],
)
def test_a_secret_is_told_in_any_map_by_its_value_and_by_a_name_that_is_certain(written: dict[str, Any]) -> None:
    kept = json.dumps(document(source(written)))
    assert CANARY not in kept
    assert "7777" not in kept
    assert kept.count(SECRET) == 1


@pytest.mark.parametrize(
    "written",
    [
        {"model": {"path": "abfss://container-a@account.dfs.core.windows.net/models/1"}},
        {"code": "git+ssh://git@github.com/team/code.git", "mirror": "ssh://build-user@code.example/x"},
        {"auth_mode": "key", "token": "", "secret": "none", "description": "Bearer tokens and bearer authentication"},
        {"eos_token": "</s>", "max_tokens": 4096, "private_network_connection": True, "key": "name"},
        {"registry": {"password": "${{azureml://connections/reg/credentials/password}}"}},
    ],
)
def test_an_ordinary_value_of_any_map_is_kept(written: dict[str, Any]) -> None:
    assert document(source(written)) == written


def spec(baseline: DeploymentSource | None = None) -> Any:
    return SimpleNamespace(deployment=source(PLAIN), baseline=baseline)


def plan(*, baseline: bool = False) -> Any:
    return SimpleNamespace(baseline=baseline, stable_instances=case(FAILED).final.plan.stable_instances)


def test_the_price_is_kept_for_as_many_instances_as_the_candidate_gets() -> None:
    kept = specification_of(spec(), plan(), lambda: Price(0.1, "a list", "2026-11-25"))
    assert kept["cost"] == {"usd_per_hour": 0.1, "instances": 2, "source": "a list", "as_of": "2026-11-25"}


def test_a_price_that_cannot_be_had_holds_nothing_up() -> None:
    def refuse() -> Price | None:
        raise TransientError("no answer", hint="Wait.")

    assert "cost" not in specification_of(spec(), plan(), refuse)
    assert "cost" not in specification_of(spec(), plan(), lambda: None)


def test_the_baseline_is_kept_as_the_stable_when_this_rollout_deploys_it() -> None:
    other = source({**PLAIN, "instance_count": 1})
    assert specification_of(spec(other), plan(baseline=True), lambda: None)["stable"]["instance_count"] == 1
    assert "stable" not in specification_of(spec(other), plan(), lambda: None)
