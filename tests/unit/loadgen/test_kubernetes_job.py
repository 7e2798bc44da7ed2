"""The shipped Kubernetes Job: its commands really run, and no secret is in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.engine.scripted import reply, saying, serving

ROOT = Path(__file__).parents[3]
JOB = ROOT / "manifests" / "kubernetes" / "loadtest-job.yaml"


def jobs() -> dict[str, dict[str, Any]]:
    documents = [each for each in yaml.safe_load_all(JOB.read_text()) if each["kind"] == "Job"]
    return {each["spec"]["template"]["metadata"]["labels"]["role"]: each["spec"] for each in documents}


def container(role: str) -> dict[str, Any]:
    (found,) = jobs()[role]["template"]["spec"]["containers"]
    return found


def test_the_key_is_a_reference_that_workers_alone_have() -> None:
    assert container("worker")["env"] == [
        {
            "name": "DEPLOYER_LOAD_KEY",
            "valueFrom": {"secretKeyRef": {"name": "deployer-loadtest", "key": "key"}},
        }
    ]
    assert "env" not in container("master")
    assert not [each for each in yaml.safe_load_all(JOB.read_text()) if each["kind"] == "Secret"]


def test_the_master_waits_for_as_many_workers_as_there_are() -> None:
    spec = jobs()["worker"]
    assert f"--expect-workers={spec['parallelism']}" in container("master")["args"]
    assert spec["parallelism"] == spec["completions"]


@pytest.mark.parametrize("role", ["master", "worker"])
def test_pods_end_have_no_rights_and_are_not_started_again(role: str) -> None:
    spec, pod = jobs()[role], jobs()[role]["template"]["spec"]
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] <= 3600
    assert pod["automountServiceAccountToken"] is False
    assert container(role)["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.slow
@pytest.mark.local
def test_the_commands_of_the_job_send_the_load(tmp_path: Path) -> None:
    for file in (ROOT / "loadtests").glob("*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "payload.json").write_text('{"data": [1]}')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(saying(reply(200, {}))) as server:

        def command(role: str, *more: str) -> list[str]:
            swapped = {"--host": server.url, "--master-host": "127.0.0.1", "--expect-workers": "2", "--seconds": "3"}
            arguments = dict(each.partition("=")[::2] for each in container(role)["args"])
            arguments |= {name: value for name, value in swapped.items() if name in arguments}
            said = [f"{name}={value}" if value else name for name, value in arguments.items()]
            words = [word.replace("/load/", f"{tmp_path}/") for word in said]
            return [sys.executable, "-m", "locust", *words, *more]

        def start(*words: str, **variables: str) -> subprocess.Popen[str]:
            environment = {**os.environ, **variables}
            return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

        master = start(
            *command("master", f"--master-bind-port={port}", "--rps=30", "--warm-up=1", "--deployment=green")
        )
        workers = [
            start(*command("worker", f"--master-port={port}"), DEPLOYER_LOAD_KEY=f"key-of-{n}") for n in range(2)
        ]
        said = [process.communicate(timeout=60)[0] for process in (master, *workers)]
    assert [process.returncode for process in (master, *workers)] == [0, 0, 0], "a pod that fails fails its job"
    summary = json.loads(said[0].splitlines()[-1])
    assert summary["sent"] == summary["answered"] == len(server.asked)
    assert sum(summary["histogram_ms"].values()) == len(server.asked)
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer key-of-0", "Bearer key-of-1"}
    assert {asked.headers.get("azureml-model-deployment") for asked in server.asked} == {"green"}, "by the master"
    assert {asked.body for asked in server.asked} == {b'{"data": [1]}'}
