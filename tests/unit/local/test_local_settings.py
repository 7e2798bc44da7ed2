from typing import Any

import pytest

from deployer.errors import PlatformError, QuotaExceededError
from deployer.local.settings import check_instances, nothing_known, read_settings

CODE = {"code_configuration": {"code": "../src", "scoring_script": "score.py"}}


def test_what_is_not_written_is_as_on_azure():
    found = read_settings({"name": "blue", **CODE})
    assert (found.code, found.scoring_script, found.model) == ("../src", "score.py", None)
    assert (found.instances, found.workers, found.concurrency, found.timeout_ms) == (1, 1, 1, 5000)
    assert found.ready_within_s == 10 + 30 * 10
    assert found.environment == {}


def test_what_is_written_is_taken():
    found = read_settings(
        {
            **CODE,
            "model": {"path": "model.json", "name": "digits"},
            "instance_type": "Standard_DS3_v2",
            "instance_count": 3,
            "request_settings": {"request_timeout_ms": 3000, "max_concurrent_requests_per_instance": 4},
            "readiness_probe": {"initial_delay": 1, "period": 2, "failure_threshold": 5},
            "environment_variables": {"WORKER_COUNT": 2, "FLAG": True, "RATE": 0.5, "TEXT": "a=b"},
        }
    )
    assert (found.model, found.instances, found.concurrency, found.timeout_ms) == ("model.json", 3, 4, 3000)
    assert (found.workers, found.ready_within_s) == (2, 11.0)
    assert found.environment == {"WORKER_COUNT": "2", "FLAG": "true", "RATE": "0.5", "TEXT": "a=b"}


def test_a_model_may_be_written_as_a_path():
    assert read_settings({**CODE, "model": "model"}).model == "model"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code_configuration": None}, "code_configuration.code"),
        ({"code_configuration": {"code": "src"}}, "scoring_script"),
        ({"code_configuration": "src"}, "not a mapping"),
        ({"model": "azureml:digits:1"}, "azureml:digits:1"),
        ({"model": {"path": "azureml://jobs/1"}}, "azureml://jobs/1"),
        ({"model": {"name": "digits"}}, "model"),
        ({"code_configuration": {"code": "https://x", "scoring_script": "s.py"}}, "https://x"),
        ({"request_settings": {"request_timeout_ms": 0}}, "request_timeout_ms is 0"),
        ({"request_settings": {"request_timeout_ms": 180_001}}, "request_timeout_ms is 180001"),
        ({"request_settings": {"max_concurrent_requests_per_instance": True}}, "is True"),
        ({"instance_count": "2"}, "instance_count is '2'"),
        ({"instance_count": -1}, "instance_count is -1"),
        ({"environment_variables": {"WORKER_COUNT": "many"}}, "WORKER_COUNT is 'many'"),
        ({"environment_variables": {"WORKER_COUNT": "0"}}, "WORKER_COUNT is '0'"),
        ({"environment_variables": {"A": {"b": 1}}}, "'A' cannot hold"),
        ({"environment_variables": {"A=B": "1"}}, "'A=B' cannot hold"),
        ({"environment_variables": {"A": "x\0y"}}, "'A' cannot hold"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name_with_advice(change: dict[str, Any], said: str):
    with pytest.raises(PlatformError, match=said) as caught:
        read_settings({"name": "blue", **CODE, **change})
    assert "blue" in caught.value.message
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize("instances", [-1, 51])
def test_more_instances_than_azure_allows_exceed_the_quota(instances: int):
    with pytest.raises(QuotaExceededError, match=str(instances)):
        check_instances(instances, "blue")


def test_a_lost_document_still_says_how_many_instances_there_were():
    assert nothing_known(3).instances == 3
