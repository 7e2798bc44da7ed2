"""deployer profile on the real local platform: configurations really start, and nothing of them is left."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.local import lifecycle
from tests.e2e.stage import Stage, deployment

pytestmark = pytest.mark.e2e


def profile(stage: Stage, **changes: Any) -> Path:
    """A model that answers in 20 ms, for a rate that one worker carries."""
    (stage.folder / "deployment.yml").write_text(
        "# the template\n" + yaml.safe_dump(deployment({"VERSION": "1", "ANSWER_S": "0.02"}), sort_keys=False)
    )
    content: dict[str, Any] = {
        "version": 1,
        "name": "tiny-size",
        "platform": "local",
        "endpoint": {"name": "tiny-profile", "auth_mode": "key"},
        "deployment": "deployment.yml",
        "candidates": {"workers": [1, 2]},
        "slo": {"latency": {"p95": "400ms"}, "error_rate": "5%"},
        "peak_rps": 6,
        "request": "sample.json",
        "budget": {"time": "10m"},
    }
    path = stage.folder / "profile.yaml"
    path.write_text(json.dumps(content | changes))
    return path


def assert_nothing_is_left(stage: Stage) -> None:
    assert lifecycle.status(stage.home) == []
    assert stage.at_work() == {}


def test_a_budget_that_is_used_up_is_inconclusive_and_leaves_nothing(stage: Stage) -> None:
    said = stage.run("profile", profile(stage, budget={"time": "10s"}), "--json")
    assert said.code == 11, said.text
    answer = json.loads(said.out)
    assert set(answer) == {"recommended", "candidates", "load_seconds", "report"}
    assert [each["config"]["workers"] for each in answer["candidates"]] == [1, 2]
    assert "budget" in Path(answer["report"]).read_text()
    assert not (stage.folder / "profile.lock.json").exists()
    assert_nothing_is_left(stage)


@pytest.mark.slow
@pytest.mark.timeout(900)  # minutes of load, more where the machine is busy and the search starts over
def test_the_cheapest_is_found_written_locked_and_departures_are_warned_of(stage: Stage) -> None:
    path = profile(stage)
    said = stage.run("profile", path, "--json", "--write", "--junit", "junit.xml", timeout_s=800)
    assert said.code == 0, said.text
    answer = json.loads(said.out)
    assert answer["recommended"] == {"instance_count": 1, "workers": 1, "max_concurrent_requests_per_instance": 4}
    best = answer["candidates"][0]
    assert best["lower"] <= best["sustainable_rps"] * 1.1
    assert 7.2 <= best["sustainable_rps"] <= 60
    assert (best["usd_per_hour"], best["infeasible"]) == (0.05, False)
    assert answer["load_seconds"] > 30
    assert_nothing_is_left(stage)
    written = (stage.folder / "deployment.yml").read_text()
    assert written.startswith("# the template\n")
    assert yaml.safe_load(written)["environment_variables"]["WORKER_COUNT"] == "1"
    assert "<testsuite" in (stage.folder / "junit.xml").read_text()

    slow = {"canary": {"steps": [20], "each": {"min": "5s", "max": "5m"}, "bake": "5m"}, "deadline": "1h"}
    slo = {"latency": {"p95": "400ms"}, "error_rate": "5%"}
    manifest = stage.manifest(deployment="deployment.yml", strategy=slow, slo=slo)
    plan = stage.json("plan", manifest)
    assert (plan["exit_code"], plan.get("warnings")) == (0, None), plan
    (stage.folder / "deployment.yml").write_text(written.replace('WORKER_COUNT: "1"', 'WORKER_COUNT: "2"'))
    assert "workers is 2, measured was 1" in str(stage.json("plan", manifest)["warnings"])


@pytest.mark.slow
def test_a_killed_profile_leaves_what_the_next_one_and_gc_find(stage: Stage) -> None:
    path = profile(stage)
    first = stage.start("profile", path)
    first.wait_for(r"trial 1\)")
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    said = stage.run("gc", "tiny-profile", "--platform", "local")
    assert "made by deployer profile (tiny-size)" in said.out
    second = stage.start("profile", path)
    second.wait_for("removing what an earlier profile left: p-")
    second.wait_for(r"trial 1\)")
    third = stage.run("profile", path)
    assert third.code == 5, third.text
    assert "in use" in third.err
    second.send(signal.SIGTERM)
    assert second.wait() == 12, second.text
    assert_nothing_is_left(stage)


@pytest.mark.slow
def test_a_candidate_that_does_not_start_is_left_out(stage: Stage) -> None:
    path = profile(stage, budget={"time": "90s"})
    text = (stage.folder / "model" / "score.py").read_text()
    (stage.folder / "model" / "score.py").write_text("raise MemoryError('too large')\n" + text)
    said = stage.run("profile", path)
    assert said.code == 10, said.text
    assert len(re.findall(r"not tried: does not start: p-\w+-0: MemoryError: too large", said.out)) == 2
    assert_nothing_is_left(stage)


@pytest.mark.slow
def test_an_endpoint_that_users_have_is_refused(stage: Stage) -> None:
    stage.seed()
    said = stage.run("profile", profile(stage, endpoint={"name": stage.endpoint, "auth_mode": "key"}))
    assert said.code == 5, said.text
    assert "deployer profile did not make it" in said.err
    assert stage.observe().traffic == {"blue": 100}
