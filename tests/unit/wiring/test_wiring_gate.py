"""What the gate can decide on Azure allows for telemetry that is minutes late."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock, MemoryTelemetry

from deployer.engine.operations import preview
from deployer.engine.site import Job, Site
from deployer.errors import PlanError
from deployer.manifest.load import load_manifest
from deployer.platforms.inspection.telemetry import LEAST_LAG_S
from deployer.rollout.model import Plan
from deployer.stores.file import FileJournal
from deployer.stores.files import DiskFiles
from deployer.wiring.gate import step_powers
from deployer.wiring.jobs import make_job

MANIFESTS = Path(__file__).parents[3] / "manifests"
ENV = {
    "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
    "AZUREML_RESOURCE_GROUP": "rg",
    "AZUREML_WORKSPACE_NAME": "ws",
    "LOG_ANALYTICS_WORKSPACE_ID": "11111111-2222-3333-4444-555555555555",
}


class Loaded(Job):
    """Its rate is known."""

    rps = 500.0  # type: ignore[assignment]
    observed = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("telemetry", "over", "is_refused"),
    [
        ({}, {}, True),
        ({"source": "metrics"}, {}, False),  # asked for by name: a check says what that means
        ({"log_analytics_workspace_id": ENV["LOG_ANALYTICS_WORKSPACE_ID"]}, {}, False),
        ({}, {"on_inconclusive": "pause"}, False),  # a person promotes
    ],
)
def test_a_plan_whose_telemetry_can_pass_no_step_is_refused_with_what_to_write(
    telemetry: dict[str, str], over: dict[str, str], *, is_refused: bool, tmp_path: Path
) -> None:
    path = shutil.copytree(MANIFESTS, tmp_path / "manifests") / "managed" / "canary.yaml"
    (tmp_path / ".git").mkdir()
    content = yaml.safe_load(path.read_text())
    content["gate"]["telemetry"] = telemetry
    content["strategy"] |= over
    path.write_text(yaml.safe_dump(content))
    spec, clock = load_manifest(path, files=DiskFiles(), env=ENV), ManualClock()
    platform = MemoryPlatform("digits", clock)
    site = Site("digits", platform, MemoryTelemetry(clock), FileJournal(tmp_path / "j"), clock, "me", lambda: None)
    job = make_job(spec, site)
    plan = preview(job, platform, None, rollout_id="plan", skip_gate=None)
    assert isinstance(plan, Plan)
    if is_refused:
        with pytest.raises(PlanError, match="no step could pass") as refused:
            job.check(plan)  # as a rollout does before it touches anything
        assert "gate.telemetry.log_analytics_workspace_id" in refused.value.hint
        with pytest.raises(PlanError, match="no step could pass"):
            step_powers(spec, job, plan)  # as a plan does
    else:
        job.check(plan)
    job.check(replace(plan, skip_gate="hotfix"))


@pytest.mark.parametrize(("manifest", "lag_s"), [("managed/canary.yaml", LEAST_LAG_S), ("local/quickstart.yaml", 0.0)])
def test_no_answer_comes_before_telemetry_does(manifest: str, lag_s: float, tmp_path: Path) -> None:
    spec, clock = load_manifest(MANIFESTS / manifest, files=DiskFiles(), env=ENV), ManualClock()
    platform = MemoryPlatform("digits", clock)
    site = Site("digits", platform, MemoryTelemetry(clock), FileJournal(tmp_path), clock, "me", lambda: None)
    made = make_job(spec, site)
    plan = preview(replace(made, load=None), platform, None, rollout_id="plan", skip_gate=None)
    job = Loaded(**{each.name: getattr(made, each.name) for each in fields(Job)})
    rows = [row for power in step_powers(spec, job, plan) for row in power.rows]
    assert min(row.seconds for row in rows) > lag_s
    assert {row.lag_s for row in rows if row.nats} == {lag_s}
