"""What the Azure SDKs and the service do to those who trust them (WIRE 2 to 4 and 7): none of it happens here.

Each test is named after what must hold, and its docstring says what the SDK does instead. Every trap and its test, those
of other files with their path below tests/ (``test_the_table_names_tests_that_exist`` reads this):

| trap | shown by |
|---|---|
| SDK 1: invoke() sends later requests where the first one went | test_a_request_for_one_deployment_leaves_no_trace_in_the_next |
| SDK 2: a round trip of a deployment loses fields | test_scaling_sends_the_number_of_instances_and_nothing_else |
| SDK 2: injected variables come back as the user's | test_a_version_that_is_made_again_is_what_was_made_first |
| SDK 3: get() puts what the service says among the properties | test_a_traffic_write_keeps_what_others_own_and_adds_nothing |
| SDK 4: properties of null are a TypeError | test_properties_that_are_null_are_read_and_written_over |
| SDK 5: traffic keys lose their case, a map of zeros is none | test_names_keep_their_case_and_shares_of_nothing_are_left_out |
| SDK 6: the prefix of a compute is kept | test_a_cluster_is_named_by_its_id_without_the_prefix |
| SDK 7: dots on stdout, bars on stderr, a changed environment | test_nothing_is_printed_while_a_version_is_uploaded_and_made |
| SDK 8: errors of many coloured lines | test_what_the_sdk_refuses_is_said_in_one_plain_line |
| SDK 9: a PUT needs the workspace's region | test_every_put_names_the_region_of_the_workspace |
| LRO: the body of the 201 lies | test_what_an_operation_says_of_itself_is_not_believed |
| LRO: it is polled every 30 s | test_under_five_seconds_are_lost_to_looking |
| LRO: its status is a 404 | test_an_operation_whose_status_is_gone_is_looked_up_at_the_endpoint |
| LRO: a GET is old after Succeeded | test_an_old_read_after_success_is_read_again |
| LRO: a new deployment is a 404 | unit/platforms/test_azure_deployments.py::test_reads_that_do_not_know_it_yet_are_waited_out |
| LRO: it never ends, and result() has no end | unit/platforms/test_azure_traffic.py::test_an_operation_that_never_ends_is_unknown_within_its_deadline |
| LRO: it failed, and the deployment keeps its quota | azure/test_failed_deployments.py::test_why_a_deployment_failed_is_said_and_it_is_removed |
| errors: a PUT that was applied and cut off is sent again | test_a_change_whose_answer_was_lost_is_not_written_again |
| errors: 409 is an error at once | test_a_busy_endpoint_is_waited_for |
| errors: any Retry-After is obeyed, 409 and a million seconds too | unit/cloud/test_cloud_arm.py::test_an_absurd_retry_after_is_cut |
| errors: a missing registration is a loop without end | test_a_subscription_without_the_provider_is_told_so_at_once |
| errors: a POST that is throttled is not repeated | unit/telemetry/test_faults_of_azure.py::test_one_refusal_is_got_over_and_the_clock_tells_how_long_it_took |
| environment: the cloud of one client is that of the next | unit/platforms/test_azureml_quiet.py::test_the_cloud_of_the_sdk_does_not_leak |
| import: azure.ai.ml takes two seconds | unit/platforms/test_azureml_quiet.py::test_importing_the_adapter_imports_no_azure_module |
| service: a PUT without traffic takes all away | test_a_live_endpoint_is_never_left_without_traffic |
| service: a PATCH of tags replaces or merges | test_tags_are_written_without_touching_traffic |
| service: a PUT of a deployment that exists replaces it | test_a_name_of_another_version_is_not_deployed_over |
| service: another tool's PUT takes the mirror away | unit/platforms/test_azure_traffic.py::test_a_put_keeps_everything_it_does_not_own |
| service: a PUT resets what autoscale did | unit/platforms/test_azure_deployments.py::test_scaling_is_a_patch_of_the_sku |
| service: requests with the header bypass the split | unit/telemetry/test_faults_of_azure.py::test_our_own_probes_are_neither_judged_nor_missed |
| telemetry: duration 0, success true, resultCode 0 | unit/telemetry/test_app_insights.py::test_what_the_servers_own_columns_say_is_not_believed |
| telemetry: rows are sampled | unit/telemetry/test_app_insights.py::test_sampled_rows_count_once_and_are_not_missed |
| telemetry: what the front end refuses is in no row | unit/telemetry/test_app_insights.py::test_what_the_front_end_refused_is_not_taken_for_success |
| telemetry: a partial result is no exception | unit/telemetry/test_faults_of_azure.py::test_a_partial_answer_is_not_believed |
| telemetry: rows are late | unit/telemetry/test_faults_of_azure.py::test_rows_that_are_late_are_waited_for |
| telemetry: no row is no pass | unit/telemetry/test_faults_of_azure.py::test_without_any_row_there_is_no_pass_and_the_missing_ones_are_counted |
| telemetry: metrics give ten series by themselves | unit/telemetry/test_metrics.py::test_more_deployments_and_codes_than_the_service_gives_by_itself_are_all_read |
| telemetry: averages of a minute are no distribution | unit/telemetry/test_metrics.py::test_as_the_only_source_they_never_pass_a_candidate_however_good |
| telemetry: a Service Name is every deployment's | unit/telemetry/test_app_insights.py::test_rows_that_all_carry_the_endpoints_name_are_nobodys |
| met 1: get() throws without resources | test_a_deployment_without_resources_is_read |
| met 2: an endpoint that reads Failed takes a PUT | test_a_failed_endpoint_is_brought_back |
| met 3: an old read looks like an edit | test_an_old_read_is_not_taken_for_somebody_elses_edit |
| met 4: columns that differ in case alone | unit/telemetry/test_traffic_log.py::test_the_engine_of_the_tests_parses_all_questions_without_complaint |
| met 5: a scoring address anywhere | test_a_key_goes_to_the_clouds_own_hosts_only |
| met 6: only a container's id tells deployments apart | unit/telemetry/test_app_insights.py::test_containers_that_our_probes_reached_tell_deployments_apart |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.azure.messages import Answer, Request
from https_rollouts import CANARY, DOCUMENT, HttpsWorld, https_world
from stateful.world import Behaviour

import deployer
from deployer.engine.http import ScoringClient
from deployer.errors import ConflictError, DeniedError, PlatformError
from deployer.ports.platform import DeploymentSpec, DeploymentState, ScoringTarget

pytestmark = pytest.mark.azure

HALF = {"blue": 50, "green": 50}
INJECTED = {"AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpsWorld]:
    """An endpoint with two ready deployments, ``blue`` with all traffic."""
    with https_world(tmp_path) as made:
        made.double.add("digits", "green", instances=3, tags={"deployer.digest": "new"})
        made.revive()
        yield made


@pytest.fixture
def on_kubernetes(tmp_path: Path) -> Iterator[HttpsWorld]:
    with https_world(tmp_path, kind="kubernetes") as made:
        made.revive()
        yield made


def bodies(world: HttpsWorld, method: str, path: str) -> list[Any]:
    return [body for each, where, body in world.sent() if each == method and re.search(path, where)]


def spec(tmp_path: Path, name: str = "red", **over: Any) -> DeploymentSpec:
    return DeploymentSpec(name, {**DOCUMENT, **over}, tmp_path, "red-digest")


def test_the_table_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| ([\w ]+): .+ \| (.+) \|$", str(__doc__), re.MULTILINE)
    here = Path(__file__)
    for _, where in rows:
        file, _, name = where.rpartition("::")
        source = (here.parents[1] / file if file else here).read_text(encoding="utf-8")
        assert f"def {name}(" in source, where
    assert {f"SDK {number}" for number in range(1, 10)} <= {trap for trap, _ in rows}
    told = {where for _, where in rows}
    ours = set(re.findall(r"^def (test_\w+)\(", here.read_text(encoding="utf-8"), re.MULTILINE))
    untold = {"test_the_table_names_tests_that_exist", "test_what_a_model_prints_leaves_no_key_behind"}
    assert ours - untold <= told


# ---- SDK traps 1 to 9


def test_a_request_for_one_deployment_leaves_no_trace_in_the_next(world: HttpsWorld) -> None:
    """1: after one invoke(deployment_name=...) every later invoke() goes there, with that endpoint's key."""
    seen: list[dict[str, str]] = []

    def listen(request: Request) -> Answer:
        seen.append(dict(request.headers))
        return Answer(200, {})

    world.double.route("POST", "/elsewhere/score", listen, auth=False)
    client = ScoringClient()
    client.score(world.platform.scoring_target(), b"{}", deployment="green")
    other = ScoringTarget(f"{world.double.address}/elsewhere/score", {"Authorization": "Bearer other"})
    client.score(other, b"{}")
    assert "azureml-model-deployment" not in seen[0]
    assert seen[0]["authorization"] == "Bearer other"
    sources = [path.read_text() for path in Path(deployer.__file__).parent.rglob("*.py")]
    assert not any(re.search(r"\.invoke\(", source) for source in sources)


def test_scaling_sends_the_number_of_instances_and_nothing_else(world: HttpsWorld) -> None:
    """2: get() and PUT of a deployment drop modelMountPath and send injected variables back as the user's."""
    world.platform.scale_deployment("green", 5)
    world.clock.advance(60.0)
    world.platform.set_traffic(HALF, {})
    assert bodies(world, "PUT", "/deployments/") == []
    assert bodies(world, "PATCH", "/deployments/green$") == [{"sku": {"name": "Default", "capacity": 5}}]


def test_a_version_that_is_made_again_is_what_was_made_first(world: HttpsWorld, tmp_path: Path) -> None:
    """2: the same, for a version that is deployed again after it was deleted."""
    world.platform.create_deployment(spec(tmp_path, model_mount_path="/models"))
    world.clock.advance(60.0)
    assert world.deployments["red"]["properties"]["environmentVariables"].keys() > {"WORKER_COUNT"}
    world.double.delete("digits", "red")
    world.platform.recreate_deployment("red", "red-digest")
    first, again = bodies(world, "PUT", "/deployments/red$")
    assert again == first
    assert again["properties"]["modelMountPath"] == "/models"
    assert not INJECTED & set(again["properties"]["environmentVariables"])


def test_a_traffic_write_keeps_what_others_own_and_adds_nothing(world: HttpsWorld) -> None:
    """3: get() puts createdBy, createdAt and lastModifiedAt among the properties, and PUT sends them."""
    before = world.double.endpoint("digits").document
    before["properties"] |= {"description": "ours", "publicNetworkAccess": "Disabled"}
    injected = ("createdBy", "createdAt", "lastModifiedAt", "AzureAsyncOperationUri")
    before["properties"]["properties"] |= {"owner": "ann", **dict.fromkeys(injected, "the SDK, earlier")}
    world.platform.set_traffic(HALF, {})
    (sent,) = bodies(world, "PUT", "/digits$")
    own = sent["properties"]["properties"]
    assert own["owner"] == "ann"
    assert not set(injected) & set(own)
    assert (sent["tags"], sent["location"]) == ({"team": "ml"}, "westeurope")
    assert sent["identity"]["type"] == "SystemAssigned"
    assert sent["properties"]["description"] == "ours"
    assert sent["properties"]["publicNetworkAccess"] == "Disabled"


def test_properties_that_are_null_are_read_and_written_over(world: HttpsWorld) -> None:
    """4: get() raises TypeError."""

    def without(body: Any) -> Any:
        return {**body, "properties": {**body["properties"], "properties": None}} if "properties" in body else body

    world.double.fault("GET .*/onlineEndpoints/digits(/deployments)?$", "edited", times=None, edit=without)
    assert world.platform.observe().traffic == {"blue": 100}
    world.platform.set_traffic(HALF, {})
    assert world.traffic() == HALF


def test_names_keep_their_case_and_shares_of_nothing_are_left_out(world: HttpsWorld) -> None:
    """5: keys of the traffic map are lower-cased and zeros stripped, and an all-zero map takes all traffic away."""
    world.double.add("digits", "Crimson", tags={"deployer.digest": "c"})
    world.double.write("digits", traffic={"crimson": 100})
    assert world.platform.observe().traffic == {"Crimson": 100}
    world.platform.set_traffic({"blue": 100, "green": 0}, {})
    assert [body["properties"]["traffic"] for body in bodies(world, "PUT", "/digits$")] == [{"blue": 100}]


def test_a_cluster_is_named_by_its_id_without_the_prefix(on_kubernetes: HttpsWorld) -> None:
    """6: KubernetesOnlineEndpoint(compute="azureml:aks1") becomes .../computes/azureml:aks1."""
    on_kubernetes.double.delete("digits")
    on_kubernetes.revive()
    on_kubernetes.platform.ensure_endpoint({"name": "digits", "compute": "azureml:aks1"})
    (sent,) = bodies(on_kubernetes, "PUT", "/digits$")
    assert sent["properties"]["compute"].endswith("/workspaces/ws/computes/aks1")


def test_nothing_is_printed_while_a_version_is_uploaded_and_made(
    world: HttpsWorld, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """7: the SDK prints dots to stdout, progress bars and "Check: endpoint exists" to stderr."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    code = {"code": "code", "scoring_script": "score.py"}
    world.platform.create_deployment(spec(tmp_path, code_configuration=code))
    world.clock.advance(60.0)
    assert world.platform.observe().deployments["red"].state is DeploymentState.READY
    assert capfd.readouterr() == ("", "")
    assert "AZUREML_CURRENT_CLOUD" not in os.environ


def test_what_the_sdk_refuses_is_said_in_one_plain_line(world: HttpsWorld, tmp_path: Path) -> None:
    """8: MlException with terminal colours and a page of text."""
    with pytest.raises(PlatformError) as caught:
        world.platform.create_deployment(spec(tmp_path, instance_count="many"))
    assert caught.value.message.isprintable()
    assert "instance_count" in caught.value.message
    assert caught.value.hint.endswith(".")
    assert bodies(world, "PUT", "/deployments/") == []


def test_every_put_names_the_region_of_the_workspace(world: HttpsWorld, tmp_path: Path) -> None:
    """9: the service requires it; a body without it is refused."""
    world.platform.create_deployment(spec(tmp_path))
    world.platform.set_traffic(HALF, {})
    assert {body["location"] for body in bodies(world, "PUT", "/onlineEndpoints/")} == {"westeurope"}


# ---- long-running operations


@pytest.mark.parametrize("lying", [True, False])
def test_what_an_operation_says_of_itself_is_not_believed(world: HttpsWorld, *, lying: bool) -> None:
    """The 201 says Creating with the new traffic (2025) or Updating with the old one (2022), long before it is so."""
    world.double.settings.lying = lying
    started = world.clock.now()
    world.platform.set_traffic(HALF, {})
    assert world.traffic() == HALF
    assert (world.clock.now() - started).total_seconds() >= world.double.settings.traffic_s


@pytest.mark.parametrize("takes_s", [0.3, 20.4, 70.1])
def test_under_five_seconds_are_lost_to_looking(world: HttpsWorld, takes_s: float) -> None:
    """The SDK polls every 30 s: a change of 0.3 s takes it 30.5 s, one of 70.1 s takes it 92 s (recording 02)."""
    world.double.settings.traffic_s = takes_s
    started = world.clock.now()
    world.platform.set_traffic(HALF, {})
    lost_s = (world.clock.now() - started).total_seconds() - takes_s
    assert lost_s < 5.5, f"{lost_s:.1f} s"  # two of them are the pause between the two reads that prove it


def test_a_change_whose_answer_was_lost_is_not_written_again(world: HttpsWorld) -> None:
    """The SDK sends the PUT again, gets 409 and reports ResourceExistsError, although the change went through."""
    world.double.fault("PUT .*/digits$", "lost")
    world.platform.set_traffic(HALF, {})
    assert world.traffic() == HALF
    assert len(bodies(world, "PUT", "/digits$")) == 1


def test_an_operation_whose_status_is_gone_is_looked_up_at_the_endpoint(world: HttpsWorld) -> None:
    """A 404 of the status address is an HttpResponseError at once."""
    world.double.fault("PUT .*/digits$", "lro_gone")
    world.platform.set_traffic(HALF, {})
    assert world.traffic() == HALF


def test_an_old_read_after_success_is_read_again(world: HttpsWorld) -> None:
    """azd had to wait: the endpoint shows the old traffic after the operation succeeded (azure-dev#3881)."""
    world.double.fault("GET .*/digits$", "stale", nth=8, times=2)
    world.platform.set_traffic(HALF, {})
    assert world.platform.observe().traffic == HALF


def test_a_subscription_without_the_provider_is_told_so_at_once(world: HttpsWorld) -> None:
    """azure-core registers the provider by itself and loops every 10 s without limit."""
    world.double.fault("PUT .*/digits$", 409, code="MissingSubscriptionRegistration", times=None)
    with pytest.raises(PlatformError, match="MissingSubscriptionRegistration") as caught:
        world.platform.set_traffic(HALF, {})
    assert "az provider register" in caught.value.hint
    assert len(world.double.calls) < 60
    assert not any("/register" in path.lower() for _, path, _ in world.sent())


def test_a_busy_endpoint_is_waited_for(world: HttpsWorld) -> None:
    """409 without Retry-After is ResourceExistsError at once."""
    world.double.fault("PUT .*/digits$", 409, times=2)
    world.platform.set_traffic(HALF, {})
    assert world.traffic() == HALF


# ---- met while building a double (WIRE 7)


def test_a_deployment_without_resources_is_read(on_kubernetes: HttpsWorld) -> None:
    """get() of the SDK throws when a Kubernetes deployment lacks containerResourceRequirements."""
    on_kubernetes.deployments["blue"]["properties"].pop("containerResourceRequirements")
    assert on_kubernetes.platform.observe().deployments["blue"].state is DeploymentState.READY


def test_a_failed_endpoint_is_brought_back(world: HttpsWorld) -> None:
    """After a failed change it may read Failed and still take a PUT: who waits for Succeeded waits for ever."""
    world.double.write("digits", traffic=HALF, state="Failed")
    world.platform.set_traffic({"blue": 100}, {})
    assert world.traffic() == {"blue": 100}


def test_an_old_read_is_not_taken_for_somebody_elses_edit(world: HttpsWorld) -> None:
    """A stale GET within the read-back of an own write looks exactly like a person in the portal."""
    world.platform.set_traffic(HALF, {})
    for number in range(1, 6):
        world.double.fault("GET .*/digits$", "stale", nth=number)
    world.platform.set_traffic({"blue": 100}, {})
    assert world.traffic() == {"blue": 100}


def test_a_key_goes_to_the_clouds_own_hosts_only(world: HttpsWorld) -> None:
    """The address in the endpoint decides where a key is sent; on a custom cloud it may be the cloud's own host."""
    assert world.platform.scoring_target().headers["Authorization"] == f"Bearer {CANARY}"
    world.platform.invalidate()
    for host in ("evil.example", "localhost.evil.example", "inference.ml.azure.com.evil.example"):
        world.double.endpoint("digits").properties["scoringUri"] = f"https://{host}/score"
        asked = world.double.count("POST", "/listKeys$")
        with pytest.raises(DeniedError, match=re.escape(host)):
            world.platform.scoring_target()
        assert world.double.count("POST", "/listKeys$") == asked


def test_a_live_endpoint_is_never_left_without_traffic(world: HttpsWorld) -> None:
    """ManagedOnlineEndpoint(...) without traffic PUTs an empty map: the live colour drops to 0 % for minutes."""
    world.platform.ensure_endpoint({"name": "digits"})
    assert world.traffic() == {"blue": 100}
    assert bodies(world, "PUT", "/digits$") == []


def test_tags_are_written_without_touching_traffic(world: HttpsWorld) -> None:
    """A PATCH replaces all tags (or merges them): either way nobody's are lost, and one that is removed stays away."""
    for patch in ("replace", "merge"):
        world.double.settings.tag_patch = patch
        world.platform.set_tags({"deployer.phase": "x"})
        world.platform.set_tags({"deployer.phase": None})
        assert "deployer.phase" not in world.platform.observe().tags
        assert world.platform.observe().tags["team"] == "ml"
    assert bodies(world, "PUT", "/digits$") == []


def test_a_name_of_another_version_is_not_deployed_over(world: HttpsWorld, tmp_path: Path) -> None:
    """A PUT of an existing deployment replaces it, live traffic or not."""
    with pytest.raises(ConflictError):
        world.platform.create_deployment(spec(tmp_path, "blue"))
    assert bodies(world, "PUT", "/deployments/") == []


def test_what_a_model_prints_leaves_no_key_behind(tmp_path: Path) -> None:
    """Logs of a failed version end in the journal and the report, with whatever it printed."""
    with https_world(tmp_path, bad=True) as world:
        world.candidate = Behaviour(error_share=0.5)
        world.run()
        world.revive()
        assert CANARY not in "".join(world.told())
        assert CANARY not in world.platform.logs("blue")
