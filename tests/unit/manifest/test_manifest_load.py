"""A manifest and all that it names become one spec, or every problem at once at its file, line and column."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_documents import DEPLOYMENT, ENDPOINT, FULL, MANIFEST, changed, load, problems, project

from deployer.manifest.load import InvalidManifestError


def test_a_whole_project_becomes_one_spec(tmp_path: Path) -> None:
    path = project(tmp_path)
    spec = load(path)
    assert spec.manifest.name == "digits"
    assert spec.path == path
    assert spec.root == tmp_path.resolve()
    assert spec.endpoint.name == "digits"
    assert spec.endpoint.path == tmp_path.resolve() / "endpoint.yml"
    assert spec.deployment.name is None
    assert spec.deployment.code_dir == tmp_path.resolve() / "src"
    assert spec.deployment.base_dir == tmp_path.resolve()
    assert spec.baseline is None
    assert spec.payloads == {"ok.json": b'{"data": [1]}'}
    assert spec.schemas == {"ok.schema.json": {"type": "object"}}
    assert len(spec.digest) == len(spec.deployment.digest) == 64


EXAMPLE = """\
# yaml-language-server: $schema=rollout.schema.json
version: 1
name: digits
platform:                        # `platform: local` is short for {type: local}
  type: managed                  # local | managed | kubernetes
  subscription_id: ${AZURE_SUBSCRIPTION_ID}
  resource_group: ml-prod
  workspace: ml-prod
  cloud: AzureCloud
env: [AZURE_SUBSCRIPTION_ID]
endpoint: endpoint.yml
deployment: deployment.yml
baseline: deployment-v1.yml
slo:
  latency: {p50: 80ms, p95: 300ms, p99: 900ms}   # any subset
  error_rate: 1%
strategy:
  canary:
    steps: [5, 25, 50]
    each: {min: 5m, max: 30m}
    bake: 30m
  on_fail: rollback
  on_inconclusive: rollback
  retire: delete
  deadline: 3h
gate:
  compare:
    latency: {tolerate: +5%, rule_out: +25%}
    error_rate: {tolerate: 1.3x, rule_out: 3x}
  min_requests: 200
  block: auto
  settle: auto
  look: 10s
  warm_up: 60s
  false_rollback: 1%
  missed_regression: 5%
  telemetry:
    source: traffic_log
    log_analytics_workspace_id: 00000000-0000-0000-0000-000000000000
    max_lag: 10m
  observe_only: [p50]
smoke:
  - {request: samples/ok.json, expect: {status: 200, json_schema: samples/ok.schema.json, within: 2s}}
warmup: {requests: 50, request: samples/ok.json}
load: {rps: 40, request: samples/ok.json}
tags: {owner: team-a, cost_center: "42"}
"""


def test_the_manifest_of_the_interface_loads_as_it_stands(tmp_path: Path) -> None:
    files = {"samples/ok.json": "{}", "samples/ok.schema.json": "{}", "deployment-v1.yml": json.dumps(DEPLOYMENT)}
    spec = load(project(tmp_path, rollout__yaml=EXAMPLE, **files), AZURE_SUBSCRIPTION_ID="s-1")
    assert spec.manifest.platform.subscription_id == "s-1"
    assert spec.baseline is not None
    assert spec.baseline.digest == spec.deployment.digest


def test_documents_may_stand_in_the_manifest(tmp_path: Path) -> None:
    manifest = changed(
        MANIFEST, endpoint=ENDPOINT, deployment=changed(DEPLOYMENT, name="green"), baseline={"name": "blue"}
    )
    spec = load(project(tmp_path, rollout__yaml=json.dumps(manifest)))
    assert spec.endpoint.path is None
    assert spec.endpoint.document == ENDPOINT
    assert (spec.deployment.name, spec.deployment.path, spec.deployment.base_dir) == ("green", None, tmp_path.resolve())
    assert spec.baseline is not None
    assert spec.baseline.name == "blue"


BAD = """\
version: 2
name: digits
platfrm: local
platform: {type: managed, subscription_id: "${SUB}", resource_group: "${NOPE:-x}", workspace: w}
env: [SUB]
endpoint: {name: D_ep, auth_mode: kye, traffic: {blue: 100}}
deployment: {instance_count: two, environmnt: x, code_configuration: {code: ../.., scoring_script: x.py}, app_insights_enabled: yes}
baseline: bad.yml
slo: {latency: {p95: 300}}
strategy: {canary: {steps: [5, {weigt: 25}]}}
smoke: [{request: okk.json}]
warmup: {request: pipe.json}
load: {rps: 1, request: bad.json}
"""


def test_all_problems_of_all_files_come_at_once_in_the_order_of_reading(tmp_path: Path) -> None:
    files = {"bad.yml": "name: no\ninstance_type: x\nmodel: {path: modl}\n", "bad.json": "{,}"}
    path = project(tmp_path, rollout__yaml=BAD, **files)
    assert [text.split(" (")[0] for text in problems(path)] == [
        "rollout.yaml:1:10: version: the version of this format is 1",
        "rollout.yaml:3:1: unknown key platfrm",
        "rollout.yaml:4:44: platform.subscription_id: the environment variable SUB is not set",
        "rollout.yaml:4:70: platform.resource_group: ${NOPE} is not listed under env",
        "rollout.yaml:6:18: name: 'D_ep' is not a name that Azure ML takes",
        "rollout.yaml:6:35: auth_mode: 'kye' is not one of aml_token, key, aad_token",
        "rollout.yaml:6:40: traffic is not yours to set: the rollout owns it",
        "rollout.yaml:7:1: instance_type is missing",
        "rollout.yaml:7:30: instance_count: 'two' is not a whole number",
        "rollout.yaml:7:35: unknown key environmnt",
        f"rollout.yaml:7:77: code_configuration.code: '../..' leads out of {tmp_path.name}/",
        "rollout.yaml:7:129: 'yes' without quotes is a boolean to some YAML readers and text to others",
        "rollout.yaml:9:22: slo.latency.p95: 300 is not a duration: it has no unit",
        "rollout.yaml:10:32: strategy.canary.steps[1]: a step says one of weight, mirror, pause, smoke",
        "rollout.yaml:11:19: smoke[0].request: 'okk.json' does not exist",
        "rollout.yaml:12:19: warmup.request: 'pipe.json' does not exist",
        "bad.yml:1:7: 'no' without quotes is a boolean to some YAML readers and text to others",
        "bad.yml:3:15: model.path: 'modl' does not exist",
        "bad.json:1:2: this is not JSON: Expecting property name enclosed in double quotes",
    ]


def one(tmp_path: Path, **changes: Any) -> list[str]:
    manifest = changed(changed(FULL, env=..., baseline=...), **changes)
    return problems(project(tmp_path, rollout__yaml=json.dumps(manifest)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"endpoint": "missing.yml"}, "endpoint: 'missing.yml' does not exist"),
        ({"endpoint": "/etc/hostname"}, "endpoint: '/etc/hostname' is not a relative path"),
        ({"endpoint": "src"}, "src:1:1: 'src' is not a file"),
        ({"deployment": "../deployment.yml"}, "deployment: '../deployment.yml'"),
        ({"baseline": "words.yml"}, "words.yml:1:1: there is no mapping at the top"),
        ({"load__request": "src"}, "load.request: 'src' is not a file"),
        ({"load__request": "big.json"}, "load.request: 'big.json' is larger than 1024 KiB"),
        ({"smoke": [{"request": "many.jsonl"}]}, "smoke[0].request: 'many.jsonl' holds many requests, and one is sent"),
        ({"warmup__request": "../x.json"}, "warmup.request: '../x.json'"),
        (
            {"smoke": [{"request": "ok.json", "expect": {"json_schema": "src/score.py"}}]},
            "src/score.py:1:1: this is not JSON",
        ),
        (
            {"smoke": [{"request": "ok.json", "expect": {"json_schema": "x.json"}}]},
            "smoke[0].expect.json_schema: 'x.json'",
        ),
        ({"endpoint": {"name": "digits", "compute": "azureml:a"}}, "unknown key compute"),
        (
            {"deployment": {**DEPLOYMENT, "endpoint_name": "other"}},
            "endpoint_name: 'other' is not the name of this rollout's endpoint",
        ),
        (
            {"deployment": {**DEPLOYMENT, "code_configuration": {"code": "ok.json", "scoring_script": "s"}}},
            "'ok.json' is not a directory",
        ),
        (
            {"deployment": {**DEPLOYMENT, "environment": {"conda_file": "src"}}},
            "environment.conda_file: 'src' is not a file",
        ),
        (
            {"deployment": {**DEPLOYMENT, "code_configuration": {"code": "src", "scoring_script": "scor.py"}}},
            "code_configuration.scoring_script: 'scor.py' does not exist (did you mean 'score.py'?)",
        ),
        (
            {"deployment": {**DEPLOYMENT, "code_configuration": {"code": "src", "scoring_script": "../ok.json"}}},
            "code_configuration.scoring_script: '../ok.json' leads out of src/",
        ),
        (
            {"endpoint": {"auth_mode": "key"}, "deployment": {**DEPLOYMENT, "endpoint_name": "digits"}},
            "name is missing",
        ),
        (
            {"deployment": {**DEPLOYMENT, "code_configuration": {"code": "src", "scoring_script": "."}}},
            "code_configuration.scoring_script: '.' is not a file",
        ),
        (
            {"deployment": {**DEPLOYMENT, "code_configuration": {"code": "src", "scoring_script": 5}}},
            "code_configuration.scoring_script: 5 is not text",
        ),
    ],
)
def test_one_problem_is_one_problem(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    (tmp_path / "big.json").write_text('"' + "x" * 1024 * 1024 + '"')
    (tmp_path / "many.jsonl").write_text("1\n2\n")
    (tmp_path / "words.yml").write_text("only words\n")
    (said,) = one(tmp_path, **changes)
    assert problem in said


def test_what_is_wrong_in_a_file_that_is_named_twice_is_said_once(tmp_path: Path) -> None:
    assert len(one(tmp_path, deployment="words.yml", baseline="words.yml")) == 2  # each place names nothing
    (tmp_path / "words.yml").write_text("app_insights_enabled: no\ninstance_type: x\n")
    assert len(one(tmp_path, deployment="words.yml", baseline="words.yml")) == 1


def test_the_wrong_document_is_refused_key_by_key(tmp_path: Path) -> None:
    assert one(tmp_path, deployment="endpoint.yml") == [
        "endpoint.yml:1:1: instance_type is missing (add it)",
        "endpoint.yml:1:20: unknown key auth_mode",
    ]


def test_load_may_send_many_different_requests(tmp_path: Path) -> None:
    manifest = changed(FULL, env=..., baseline=..., load__request="many.jsonl")
    path = project(tmp_path, rollout__yaml=json.dumps(manifest), **{"many.jsonl": "1\n2\n"})
    assert load(path).payloads["many.jsonl"] == b"1\n2\n"
    (tmp_path / "many.jsonl").write_text("1\n2 3\n")
    assert problems(path) == ["many.jsonl:2:3: this is not JSON: Extra data"]


def test_baseline_and_deployment_are_two(tmp_path: Path) -> None:
    green = changed(DEPLOYMENT, name="green")
    manifest = changed(FULL, env=..., deployment=green, baseline=green)
    (said,) = problems(project(tmp_path, rollout__yaml=json.dumps(manifest)))
    assert said.endswith("baseline and deployment have the same name (rename one of them)")


def test_on_kubernetes_the_endpoint_s_compute_is_the_platform_s(tmp_path: Path) -> None:
    kubernetes = {"platform__type": "kubernetes", "platform__compute": "cluster"}
    (said,) = one(tmp_path, **kubernetes, endpoint={**ENDPOINT, "compute": "azureml:other"})
    assert (
        "compute: 'azureml:other' is not the platform's compute 'cluster' (make them equal, or remove this one)" in said
    )
    manifest = changed(FULL, env=..., baseline=..., **kubernetes, endpoint={**ENDPOINT, "compute": "azureml:cluster"})
    assert load(project(tmp_path, rollout__yaml=json.dumps(manifest))).endpoint.document["compute"] == "azureml:cluster"


@pytest.mark.parametrize(("text", "said"), [("", "the file is empty"), ("a: [", "this is not YAML"), ("a\tb", "a tab")])
def test_a_file_that_is_no_yaml_ends_it(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems(project(tmp_path, rollout__yaml=text))
    assert said in problem


def test_a_manifest_that_does_not_exist_is_said_so(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yaml") == ["no.yaml:1:1: the manifest does not exist (correct the path)"]
    (said,) = problems(tmp_path)
    assert said.endswith("is not a file")


@pytest.mark.parametrize(
    "content", [{}, {"endpoint": 5}, {"platform": []}, {"platform": {"type": []}}, {"smoke": 5, "load": []}]
)
def test_ill_formed_places_do_not_stop_the_rest(tmp_path: Path, content: dict[str, Any]) -> None:
    said = problems(project(tmp_path, rollout__yaml=json.dumps({"x": 1, **content})))
    assert any("unknown key x" in each for each in said)
    assert any("slo is missing" in each for each in said)


ATOMS = st.sampled_from(
    [None, True, 5, 1.5, "x", "", "..", "${A}", "a.yml", "endpoint.yml", [], {}, ["a"], {"a": 1}, "5m", "+5%"]
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("there"))


@given(edits=st.lists(st.tuples(st.sampled_from(sorted(FULL)), ATOMS, st.booleans()), min_size=1, max_size=4))
def test_no_manifest_makes_it_crash(there: Path, edits: list[tuple[str, Any, bool]]) -> None:
    manifest: dict[str, Any] = changed(FULL, env=..., baseline=...)
    for key, shared, deep in edits:
        atom, inner = copy.deepcopy(shared), manifest.get(key)
        if deep and isinstance(inner, dict) and inner:
            inner[min(inner)] = atom
        else:
            manifest[key] = atom
    there.write_text(json.dumps(manifest))
    with suppress(InvalidManifestError):
        load(there, A="x")
