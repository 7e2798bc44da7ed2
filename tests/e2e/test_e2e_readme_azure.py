"""The README's commands for Azure as they stand, against a double of the service; the environment alone leads to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE
from unit.cli.azure_stage import Stage

from tests.e2e.test_e2e_azure import QUICK, USUAL
from tests.e2e.test_e2e_examples import blocks

pytestmark = [pytest.mark.azure, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]


def obey(stage: Stage, line: str) -> subprocess.CompletedProcess[str]:
    """Type one line of the README in a checkout; a machine that is signed in knows its workspace."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZURE")} | stage.environment
    env |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DEPLOYER_HOME": str(stage.folder / "home"),
        "AZURE_CONFIG_DIR": str(stage.folder),
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "AZUREML_RESOURCE_GROUP": GROUP,
        "AZUREML_WORKSPACE_NAME": WORKSPACE,
    }
    command = ["bash", "-euo", "pipefail", "-c", line]
    return subprocess.run(
        command, cwd=stage.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_the_readmes_azure_commands_do_as_it_says(tmp_path: Path) -> None:
    """With shorter steps than the example's, whose hours nobody waits for."""
    (block,) = blocks("On Azure")
    lines = [line for line in block.splitlines() if line]
    assert [line.split()[1] for line in lines] == ["doctor", "plan", "rollout", "rollback"]
    with Stage(tmp_path, traffic_s=0.5, deploy_s=1.0, delete_s=0.5, endpoint_s=0.5, scale_s=0.5) as stage:
        stage.azure.behave("blue", **USUAL)
        stage.behave("managed/deployment.yml", **{f"DOUBLE_{name.upper()}": str(each) for name, each in USUAL.items()})
        stage.manifest("managed/canary.yaml", **QUICK, strategy__retire="keep")  # what the double made has no record
        stage.serve("blue")
        traffic = []
        with stage.users():
            for line in lines:
                said = obey(stage, line)
                assert said.returncode == 0, f"{line}\n{said.stdout}{said.stderr}"
                assert "Traceback" not in said.stderr
                traffic.append(stage.traffic)
    assert traffic == [{"blue": 100}, {"blue": 100}, {"green": 100}, {"blue": 100}]
