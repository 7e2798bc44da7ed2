"""Reaching an endpoint: by its manifest or by name, on this machine or on Azure. Nothing is asked yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from azure.identity import AzureCliCredential

from deployer.errors import PlanError, UsageError
from deployer.manifest.schema import PlatformType, TelemetrySource
from deployer.manifest.schema import Telemetry as Asked
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.ports.store import Entry
from deployer.wiring import sites
from deployer.wiring.azure import source_of

ROOT = Path(__file__).parents[3] / "manifests"
VALUES = {
    "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
    "AZUREML_RESOURCE_GROUP": "rg",
    "AZUREML_WORKSPACE_NAME": "ws",
    "LOG_ANALYTICS_WORKSPACE_ID": "11111111-2222-3333-4444-555555555555",
}


@pytest.fixture
def _azure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_azure")
@pytest.mark.parametrize(("manifest", "platform"), [("managed", ManagedPlatform), ("kubernetes", KubernetesPlatform)])
def test_a_manifest_leads_to_its_platform(manifest: str, platform: type) -> None:
    reached = sites.reach(str(ROOT / manifest / "canary.yaml"), want_manifest=True)
    assert isinstance(reached.site.platform, platform)
    assert reached.platform == manifest
    assert (reached.inspector is not None, reached.where) == (True, None)
    assert reached.site.heartbeat_s == 15.0
    assert reached.site.platform._note is reached.site.notes  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_azure")
def test_a_name_leads_to_azure_where_the_environment_names_a_workspace() -> None:
    reached = sites.reach("digits")
    assert isinstance(reached.site.platform, ManagedPlatform)
    assert (reached.inspector, reached.spec) == (None, None)
    assert isinstance(sites.reach("digits", where={"platform": "kubernetes"}).site.platform, KubernetesPlatform)


@pytest.mark.usefixtures("_azure")
@pytest.mark.parametrize("cloud", ["AzureCloud", "AzureUSGovernment"])
def test_a_manifest_without_a_cloud_and_a_name_lead_to_the_same_one(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLOUD_NAME", cloud)
    reached = (sites.reach(str(ROOT / "managed" / "canary.yaml"), want_manifest=True), sites.reach("digits"))
    assert [each.site.platform._azure[0].name for each in reached] == [cloud, cloud]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_azure")
def test_doctor_knows_the_ci_service_that_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    around = sites.reach(str(ROOT / "managed" / "canary.yaml"), want_manifest=True).inspector._around  # type: ignore[union-attr]
    around.credential.identity._successful_credential = AzureCliCredential()
    assert "cannot be renewed" in around.ends_early()[0]


def test_a_name_leads_to_this_machine_where_nothing_names_a_workspace() -> None:
    assert sites.reach("digits").type is PlatformType.LOCAL


@pytest.mark.usefixtures("_azure")
def test_local_on_request() -> None:
    assert sites.reach("digits", where={"platform": "local"}).type is PlatformType.LOCAL


@pytest.mark.usefixtures("_azure")
def test_a_name_that_could_be_both_is_asked_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "_is_local", lambda _name: True)
    with pytest.raises(UsageError, match="is a local endpoint, and the environment names the workspace ws"):
        sites.reach("digits")
    assert sites.reach("digits", where={"platform": "managed"}).type is PlatformType.MANAGED


def test_where_is_not_for_manifests() -> None:
    with pytest.raises(UsageError, match="the manifest says where"):
        sites.reach(str(ROOT / "local" / "quickstart.yaml"), where={"workspace": "ws"})


@pytest.mark.usefixtures("_azure")
def test_journals_of_workspaces_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path))
    site = sites.reach("digits").site
    assert not list(tmp_path.iterdir()), "reaching writes nothing"
    site.journal.append("r", Entry(site.clock.now(), site.actor, {"type": "started"}))
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert path.relative_to(tmp_path).parts[:4] == ("journal", "managed", "ws", "digits")


@pytest.mark.usefixtures("_azure")
def test_an_unknown_cloud_is_refused() -> None:
    with pytest.raises(PlanError, match="cloud Moon is not known"):
        sites.reach("digits", where={"cloud": "Moon"})


def test_reaching_leaves_the_environment_as_it_was() -> None:
    before = dict(os.environ)
    sites.reach("digits", where={"subscription": "s", "resource_group": "g", "workspace": "w"})
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("platform", "asked", "source"),
    [
        (PlatformType.MANAGED, {}, TelemetrySource.METRICS),
        (PlatformType.MANAGED, {"log_analytics_workspace_id": "guid"}, TelemetrySource.TRAFFIC_LOG),
        (PlatformType.MANAGED, {"app_insights": "id"}, TelemetrySource.APP_INSIGHTS),
        (PlatformType.MANAGED, {"app_insights": "id", "log_analytics_workspace_id": "g"}, TelemetrySource.TRAFFIC_LOG),
        (PlatformType.MANAGED, {"source": "metrics", "app_insights": "id"}, TelemetrySource.METRICS),
        (PlatformType.KUBERNETES, {}, TelemetrySource.APP_INSIGHTS),
        (PlatformType.KUBERNETES, {"log_analytics_workspace_id": "guid"}, TelemetrySource.APP_INSIGHTS),
    ],
)
def test_the_gate_reads_where_most_can_be_seen(
    platform: PlatformType, asked: dict[str, str], source: TelemetrySource
) -> None:
    assert source_of(platform, Asked.model_validate(asked)) is source


def test_a_local_rollout_is_reached_without_the_azure_sdk() -> None:
    script = (
        "import sys; from deployer.wiring import sites\n"
        f"sites.reach({str(ROOT / 'local' / 'quickstart.yaml')!r}, want_manifest=True).job()\n"
        "sys.exit(str(sorted(name for name in sys.modules if name.split('.')[0] == 'azure')[:3]) if 'azure.core' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
