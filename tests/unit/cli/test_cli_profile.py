"""deployer profile on Azure, against the double: what is looked up, made, asked and removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from azure_stage import Stage
from commands import call

import deployer.loadgen.local
from deployer.loadtest.figures import Figures, Health, Load, Requests, Window
from deployer.ports.platform import ScoringTarget
from deployer.profile.marks import MADE, PROFILE

PROFILE_FILE = "managed/profile.yaml"


class Instant:
    """A load generator without load: 20 rps a worker in 20 ms, at once; ``meanwhile`` is called in every trial."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)
    asked: list[str] = []  # noqa: RUF012 - the command makes its own

    @contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Iterator[Instant]:
        Instant.asked.append(target.headers["azureml-model-deployment"])
        Instant.meanwhile()
        self._load = load
        yield self

    def wait(self, seconds: float) -> bool:
        return True

    def figures(self) -> Figures:
        load = self._load
        n = int(load.seconds * (load.rps or 50.0 * load.concurrency))
        arrival = np.sort(np.random.default_rng(load.seed).random(n)) * load.seconds
        requests = Requests(arrival, np.full(n, 20.0), np.full(n, 200, dtype=np.int16))
        window = Window(0.0, load.seconds, False, n, {200: n}, {20.0: n}, {20.0: n})
        return Figures(load, datetime.now(UTC), (window,), Health(1.0, 5.0), None, requests)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    Instant.asked, Instant.meanwhile = [], staticmethod(lambda: None)
    monkeypatch.setattr(deployer.loadgen.local, "LocalLoad", Instant)
    with Stage(tmp_path) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def small(stage: Stage, **changes: Any) -> str:
    given = {
        "candidates": {"instance_type": ["Standard_F2s_v2"], "instance_count": [1], "workers": [2]},
        "peak_rps": 5,
        **changes,
    }
    return stage.manifest(PROFILE_FILE, **given)


@pytest.mark.slow
def test_a_test_endpoint_is_made_measured_and_removed(stage: Stage) -> None:
    tags: list[dict[str, str]] = []
    Instant.meanwhile = staticmethod(lambda: tags.append(dict(stage.azure.endpoint("digits-profile").document["tags"])))
    done = call("profile", small(stage), "--yes", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["recommended"]["instance_type"] == "Standard_F2s_v2"
    assert answer["candidates"][0]["usd_per_hour"] > 0
    assert tags[0][PROFILE] == "digits-size"
    assert tags[0][MADE] == Instant.asked[0]
    assert "digits-profile" not in stage.azure.endpoints.all
    record = json.loads(Path(answer["report"]).with_suffix(".json").read_text())
    assert "an hour (" in record["candidates"][0]["price_source"]
    assert record["recommended"]["autoscale"]["properties"]["profiles"][0]["capacity"]["minimum"] == "2"
    lock = json.loads((stage.folder / "manifests" / "managed" / "profile.lock.json").read_text())
    assert (lock["platform"], lock["configuration"]["workers"]) == ("managed", 2)


def test_a_budget_that_pays_for_no_deployment_is_refused_before_anything_is_made(stage: Stage) -> None:
    for budget in ({"time": "10s", "usd": 5}, {"time": "1h", "usd": 0.0001}):
        done = call("profile", small(stage, budget=budget), "--yes")
        assert done.exit_code == 5, done.output
        assert "Give it at least {time: 10m5s, usd: 0.0" in done.output
    assert Instant.asked == []
    assert "digits-profile" not in stage.azure.endpoints.all


def test_an_endpoint_with_users_is_refused(stage: Stage) -> None:
    stage.serve("blue")
    done = call("profile", small(stage, endpoint="endpoint.yml"), "--yes")
    assert done.exit_code == 5, done.output
    assert "deployer profile did not make it" in done.output
    assert stage.deployments == {"blue"}


def test_an_instance_type_that_nobody_prices_needs_a_price(stage: Stage) -> None:
    unknown = {"instance_type": ["Standard_Unheard_v9"], "instance_count": [1], "workers": [1]}
    done = call("profile", small(stage, candidates=unknown), "--yes")
    assert done.exit_code == 5, done.output
    assert "nobody says what Standard_Unheard_v9 costs" in done.output
    assert "prices:" in done.output
