from pathlib import Path

import pytest

from deployer.local.processes import MARK
from deployer.local.revisions import Revision
from deployer.local.router import choose_port, is_free
from deployer.local.servers import command, environment
from deployer.local.settings import Settings, read_settings

DOCUMENT = {
    "code_configuration": {"code": "src", "scoring_script": "score.py"},
    "request_settings": {"request_timeout_ms": 3000},
}


def settings(**environment: str) -> Settings:
    return read_settings({**DOCUMENT, "environment_variables": environment})


def given(**own: str) -> dict[str, str]:
    return environment("blue-0", Revision(Path("/rev"), settings(**own)), Path("/state"))


def test_the_server_finds_script_and_model_where_azure_puts_them():
    found = given()
    assert found["AML_APP_ROOT"] == "/rev/code"
    assert found["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert found["AZUREML_MODEL_DIR"] == "/rev/model/1"


def test_the_deployments_own_variables_win_over_defaults():
    assert given()["OMP_NUM_THREADS"] == "1"
    assert given(OMP_NUM_THREADS="2")["OMP_NUM_THREADS"] == "2"
    assert given()["SCORING_TIMEOUT_MS"] == "3500"


def test_the_deployment_cannot_turn_on_telemetry_or_hide_from_its_daemon():
    own = {"AML_APP_INSIGHTS_ENABLED": "true", MARK: "elsewhere", "AML_APP_ROOT": "/"}
    found = given(**own)
    assert found["AML_APP_INSIGHTS_ENABLED"] == "false"
    assert found[MARK] == "/state"
    assert found["AML_APP_ROOT"] == "/rev/code"


def test_the_server_listens_on_a_private_socket_and_has_no_control_socket():
    found = command(settings(WORKER_COUNT="3"), Path("/run/blue-0.sock"))
    assert found[found.index("--bind") + 1] == "unix:/run/blue-0.sock"
    assert found[found.index("--umask") + 1] == "63"
    assert found[found.index("--workers") + 1] == "3"
    assert "--no-control-socket" in found


@pytest.mark.parametrize(("own", "silence"), [({}, "310"), ({"WORKER_TIMEOUT": "20"}, "20")])
def test_a_model_that_loads_slowly_is_not_taken_for_dead(own: dict[str, str], silence: str):
    found = command(settings(**own), Path("/run/blue-0.sock"))
    assert found[found.index("--timeout") + 1] == silence


def test_a_port_is_chosen_that_no_client_can_be_given():
    port = choose_port()
    assert port < 32768
    assert is_free(port)
