"""A version whose deployment fails: why and what next is said, kept in the journal, and its name is free again."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure_oracle import check_all
from https_rollouts import https_world

from deployer.errors import ExitCode

pytestmark = pytest.mark.azure

CAUSES = {
    "ImageBuildFailure": ("image could not be built", "build log"),
    "OutOfQuota": ("quota", "quota"),
    "BadArgument": ("could not use what the deployment names", "image and the model exist"),
    "ResourceNotReady": ("FileNotFoundError", "log's last frame"),
    "UserScriptImportError": ("imports pandas", "Add the package of pandas"),
    "UserScriptInitFailed": ("ValueError: bad weights", "log's last frame"),
    "SecretsInjectionError": ("a secret", "right to read it"),
    "InternalServerError": ("Azure ML itself failed", "Start again"),
}


@pytest.mark.parametrize("code", CAUSES)
def test_why_a_deployment_failed_is_said_and_it_is_removed(code: str, tmp_path: Path) -> None:
    meaning, next_step = CAUSES[code]
    with https_world(tmp_path) as world:
        world.double.behave("green", fails_with=code)
        ended = world.run()
        check_all(world, ended)
        assert ended.exit_code is ExitCode.PLATFORM
        assert code in ended.text
        assert meaning in ended.text, ended.text
        assert next_step in ended.text, ended.text
        assert world.traffic() == {"blue": 100}
        assert "green" not in world.deployments
        journal = "".join(path.read_text() for path in (world.home / "journal").rglob("*.jsonl"))
        assert meaning in journal


def test_a_deployment_that_never_gets_ready_is_given_up_in_time_and_removed(tmp_path: Path) -> None:
    with https_world(tmp_path) as world:
        world.double.behave("green", never_ready=True)
        ended = world.run()
        assert ended.exit_code in (ExitCode.PLATFORM, ExitCode.INCONCLUSIVE), ended
        assert world.traffic() == {"blue": 100}
        assert "green" not in world.deployments
        assert (world.clock.now() - world.started).total_seconds() < 10_800


def test_what_a_smoke_tests_answer_means_is_said(tmp_path: Path) -> None:
    with https_world(tmp_path) as world:
        world.double.behave("green", error_rate=1.0)
        ended = world.run()
        check_all(world, ended)
        assert "424" in ended.text
        assert "the model's container answered with an error: read the deployment's log" in ended.text
