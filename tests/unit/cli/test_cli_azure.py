"""``doctor``, ``plan``, ``rollout`` and ``gc`` on Azure's double: what is wrong is said before anything is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure_stage import TRAFFIC_LOG, Stage
from commands import call
from doubles.azure.inventory import COMPONENT, LOGS
from golden.compare import check

from deployer.platforms.inspection.rights import role
from deployer.rollout.tags import GOOD

pytestmark = pytest.mark.azure
WRITES = ("PUT", "PATCH", "DELETE")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        made.endpoint_id = made.serve("blue")  # type: ignore[attr-defined]
        made.asked()
        yield made


def doctor(stage: Stage, name: str = "managed/canary.yaml", **changes: Any) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the checks by name: the worst of each."""
    done = call("doctor", stage.manifest(name, **changes), "--json")
    order = ["ok", "warn", "unknown", "fail"]
    found: dict[str, dict[str, str]] = {}
    for one in json.loads(done.stdout)["checks"]:
        if one["name"] not in found or order.index(one["state"]) > order.index(found[one["name"]]["state"]):
            found[one["name"]] = one
    assert done.exit_code == json.loads(done.stdout)["exit_code"]
    return done.exit_code, found


def writes(stage: Stage) -> list[str]:
    return [f"{each.method} {each.path}" for each in stage.azure.calls if each.method in WRITES]


@pytest.mark.parametrize("name", ["managed/canary.yaml", "kubernetes/canary.yaml"])
def test_doctor_finds_a_healthy_workspace_healthy_and_writes_nothing(stage: Stage, name: str) -> None:
    stage.asked(ago_s=240)  # by now metrics know of them too: a cluster's rows are ours once they do
    code, found = doctor(stage, name)
    assert {check["name"]: check["text"] for check in found.values() if check["state"] != "ok"} == {}
    assert code == 0
    assert writes(stage) == []


def test_doctor_for_people_is_a_line_a_check(stage: Stage) -> None:
    done = call("doctor", stage.manifest())
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(" ok")
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("lost", "code"),
    [
        ("onlineEndpoints/deployments/write", 5),
        ("onlineEndpoints/listKeys/action", 5),
        ("query/AmlOnlineEndpointTrafficLog/read", 5),
        ("locations/usages/read", 0),
    ],
)
def test_doctor_names_a_right_that_is_missing(stage: Stage, lost: str, code: int) -> None:
    """Each single right of the role: tests/unit/inspection."""
    stage.azure.inventory.grant(*(each for each in role()["Actions"] if not each.endswith(lost)))
    exit_code, found = doctor(stage)
    assert (exit_code, f"{lost} is missing" in found["rights"]["text"]) == (code, True)


def test_an_owner_needs_no_custom_role(stage: Stage) -> None:
    stage.azure.inventory.grant("*", but=("Microsoft.Authorization/*/write",))
    assert doctor(stage)[1]["rights"]["state"] == "ok"


def test_doctor_says_that_quota_is_too_small(stage: Stage) -> None:
    stage.azure.inventory.taken["standardFSv2Family"] = 88
    code, found = doctor(stage)
    assert (code, found["quota"]["state"]) == (5, "fail")
    assert "8 vCPUs are needed" in found["quota"]["text"]
    assert "Standard_" in found["quota"]["fix"]


def test_doctor_says_that_the_traffic_log_is_off(stage: Stage) -> None:
    stage.azure.inventory.diagnostics.clear()
    code, found = doctor(stage)
    assert (code, found["diagnostics"]["state"]) == (5, "fail")
    stage.azure.inventory.send_logs(stage.endpoint_id, "AmlOnlineEndpointConsoleLog")  # type: ignore[attr-defined]
    assert doctor(stage)[1]["diagnostics"]["state"] == "fail"
    stage.azure.inventory.send_logs(stage.endpoint_id, TRAFFIC_LOG)  # type: ignore[attr-defined]
    assert doctor(stage)[1]["diagnostics"]["state"] == "ok"


def test_doctor_says_that_the_log_leads_elsewhere(stage: Stage) -> None:
    stage.azure.inventory.resources[LOGS.lower()]["properties"]["customerId"] = "0" * 36
    assert doctor(stage)[1]["diagnostics"]["state"] == "fail"


def test_doctor_says_that_telemetry_is_stale(stage: Stage) -> None:
    stage.forget()
    assert doctor(stage)[1]["freshness"]["state"] == "unknown"
    stage.asked(ago_s=700)
    code, found = doctor(stage)
    assert (code, found["freshness"]["state"]) == (0, "warn")
    assert "over max_lag (10m), and none is missing" in found["freshness"]["text"]
    stage.forget()
    code, found = doctor(stage)
    assert (code, found["freshness"]["state"]) == (5, "fail")
    assert "telemetry holds none" in found["freshness"]["text"]


def test_doctor_says_that_the_cluster_is_ill(stage: Stage) -> None:
    stage.azure.inventory.attach("aks-prod", problem="the extension is gone")
    code, found = doctor(stage, "kubernetes/canary.yaml")
    assert (code, found["compute"]["state"]) == (5, "fail")
    assert "the extension is gone" in found["compute"]["text"]


@pytest.mark.parametrize("state", ["Updating", "Deleting"])
def test_doctor_says_that_the_endpoint_is_being_changed(stage: Stage, state: str) -> None:
    stage.azure.write("digits", state=state)
    code, found = doctor(stage)
    assert (code, found["endpoint"]["state"]) == (5, "fail")


def test_doctor_says_that_the_component_samples(stage: Stage) -> None:
    stage.azure.inventory.resources[COMPONENT.lower()]["properties"]["SamplingPercentage"] = 25.0
    assert doctor(stage, "kubernetes/canary.yaml")[1]["sampling"]["state"] == "warn"


def test_doctor_of_an_unknown_workspace(stage: Stage) -> None:
    code, found = doctor(stage, platform__workspace="elsewhere")
    assert (code, found["workspace"]["state"]) == (5, "fail")
    rest = {check["text"] for name, check in found.items() if name not in ("identity", "workspace")}
    assert rest == {"not asked: there is no such workspace"}, "one story is told once"


def test_no_identity_is_one_failure_and_no_traceback(stage: Stage) -> None:
    stage.azure.identity.down = True
    code, found = doctor(stage)
    assert (code, found["identity"]["state"] in ("fail", "unknown")) == (5, True)
    assert {check["state"] for name, check in found.items() if name != "identity"} == {"unknown"}


# ---- plan and rollout


@pytest.mark.parametrize("command", ["plan", "rollout", "status"])
@pytest.mark.parametrize("why", ["no identity", "no rights"])
def test_who_may_not_is_refused_in_one_line_before_anything_is_touched(stage: Stage, command: str, why: str) -> None:
    if why == "no rights":
        stage.azure.settings.enforce_rights = True
        stage.azure.inventory.permissions[0]["actions"] = []
    else:
        stage.azure.identity.down = True
    done = call(command, stage.manifest())
    assert done.exit_code == 5
    assert why == "no rights" or "no identity for " in done.stderr
    assert len(done.stderr) < 900, done.stderr
    assert writes(stage) == []


def test_a_plan_on_azure_says_money_minutes_exposure_and_quota_and_writes_nothing(stage: Stage) -> None:
    done = call("plan", stage.manifest())
    assert (done.exit_code, done.stderr) == (0, "")
    text = re.sub(r"\s+", " ", done.stdout)
    assert "the candidate costs $0.25 an hour (3 x $0.0846; the service's estimate, 20" in text
    assert "3 x Standard_F2s_v2: 8 vCPUs needed" in text
    assert "Exposed to the candidate: 5%, 25%, 50%, 100%" in text
    assert re.search(r"It takes \S+ if all passes", text)
    assert writes(stage) == []


@pytest.mark.parametrize("name", ["managed/canary", "managed/bluegreen", "kubernetes/canary", "kubernetes/bluegreen"])
def test_the_plan_of_every_example_on_azure_is_as_agreed(stage: Stage, name: str) -> None:
    done = call("plan", stage.manifest(f"{name}.yaml"))
    assert (done.exit_code, done.stderr) == (0, "")
    plan = re.sub(r"20\d\d-\d\d-\d\d", "DAY", done.stdout.partition("\nok ")[0])
    check(f"plan/{name.replace('/', '-')}.txt", f"{plan}\n")


def test_a_plan_for_machines_holds_the_same(stage: Stage) -> None:
    found = json.loads(call("plan", stage.manifest(load={"rps": 20, "request": "samples/digit.json"}), "--json").stdout)
    assert {check["state"] for check in found["checks"]} == {"ok"}
    assert found["forecast"]["cost"]["usd_per_hour_of_candidate"] == pytest.approx(0.2538)
    assert [step["least"] for step in found["forecast"]["exposed"]] == [300, 1500, 3000, 36000]


def test_a_plan_whose_checks_fail_exits_with_5_and_shows_them(stage: Stage) -> None:
    stage.azure.inventory.taken["standardFSv2Family"] = 100
    done = call("plan", stage.manifest())
    assert done.exit_code == 5
    assert re.search(r"^fail +quota", done.stdout, re.MULTILINE)


def test_a_rollout_is_refused_before_anything_is_touched(stage: Stage) -> None:
    stage.azure.inventory.taken["standardFSv2Family"] = 100
    done = call("rollout", stage.manifest(), "--yes")
    assert done.exit_code == 5
    assert "quota: 3 x Standard_F2s_v2" in done.stderr
    assert writes(stage) == []


def test_who_may_only_read_may_plan_and_is_told_that_a_rollout_takes_more(stage: Stage) -> None:
    """The built-in role Reader, as pull requests get it."""
    stage.azure.settings.enforce_rights = True
    stage.azure.inventory.grant("*/read")
    done = call("plan", stage.manifest())
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.search(r"^warn +rights +this identity may only read", done.stdout, re.MULTILINE)
    assert "to this identity" not in re.sub(r"\s+", " ", done.stdout), "nobody is told to let a pull request write"
    assert doctor(stage)[0] == 5
    refused = call("rollout", stage.manifest(), "--yes")
    assert refused.exit_code == 5
    assert "onlineEndpoints/write is missing on the workspace" in refused.stderr
    assert writes(stage) == []


def test_a_plan_names_each_right_that_is_missing_and_fails_for_those_it_reads_with(stage: Stage) -> None:
    lost = ("onlineEndpoints/write", "metrics/read")
    stage.azure.inventory.grant(*(each for each in role()["Actions"] if not each.endswith(lost)))
    done = call("plan", stage.manifest(), "--json")
    found = {one["text"].partition(" ")[0]: one for one in json.loads(done.stdout)["checks"] if one["name"] == "rights"}
    assert {name.rpartition("/")[2]: one["state"] for name, one in found.items()} == {"write": "warn", "read": "fail"}
    assert done.exit_code == 5


def test_a_plan_on_metrics_says_that_they_never_pass(stage: Stage) -> None:
    done = call("plan", stage.manifest(gate__telemetry={"source": "metrics"}))
    assert "can never pass" in done.stdout


@pytest.mark.parametrize("command", [("plan",), ("rollout", "--yes")])
def test_a_manifest_that_names_no_telemetry_is_refused_before_anything_is_touched(
    stage: Stage, command: tuple[str, ...]
) -> None:
    stage.serve("blue")
    before = dict(stage.azure.endpoint("digits").document)
    done = call(command[0], stage.manifest(gate__telemetry={}), *command[1:])
    assert done.exit_code == 5, done.output
    assert "no step could pass" in done.output
    assert "gate.telemetry.log_analytics_workspace_id" in done.output
    assert dict(stage.azure.endpoint("digits").document) == before


# ---- gc


def left_over(stage: Stage) -> None:
    """A failed candidate of ours, a foreign deployment, and the good one."""
    stage.azure.add("digits", "green", instances=2, tags={"deployer.digest": "1" * 64}, instanceType="Standard_F2s_v2")
    stage.azure.add("digits", "theirs", instances=1, instanceType="Standard_F2s_v2")
    stage.azure.add("digits", "good", instances=1, tags={"deployer.digest": "2" * 64}, instanceType="Standard_F2s_v2")
    stage.azure.write("digits", tags={GOOD: f"3|good|{'2' * 64}|1767225600"})


def test_gc_lists_with_cost_and_changes_nothing(stage: Stage) -> None:
    left_over(stage)
    done = call("gc", "digits", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [(each["kind"], each["name"], each["instances"]) for each in found["leftovers"]] == [
        ("deployment", "green", 2)
    ]
    assert found["usd_per_day"] == pytest.approx(2 * 0.0846 * 24)
    assert writes(stage) == []


@pytest.mark.slow  # half a minute: the lease is read back twice, before and after
def test_gc_deletes_only_ours_and_only_on_yes(stage: Stage) -> None:
    left_over(stage)
    done = call("gc", "digits", "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "green" in done.stdout
    assert "removed" in done.stdout
    assert stage.deployments == {"blue", "theirs", "good"}
    assert stage.traffic == {"blue": 100}
    assert [each for each in writes(stage) if "deployments" in each] == [
        f"DELETE {stage.endpoint_id}/deployments/green"
    ]  # type: ignore[attr-defined]


def test_gc_leaves_alone_what_has_traffic(stage: Stage) -> None:
    left_over(stage)
    stage.azure.write("digits", traffic={"blue": 90, "green": 10})
    done = call("gc", "digits", "--yes", "--json")
    assert (json.loads(done.stdout)["leftovers"], writes(stage)) == ([], [])


# ---- names


@pytest.mark.parametrize("command", ["status", "pause", "resume", "promote", "abort", "rollback", "history", "gc"])
def test_an_endpoint_on_azure_is_named_like_a_local_one(stage: Stage, command: str) -> None:
    done = call(command, "digits", "--platform", "managed")
    assert done.exit_code == 0, done.stderr
    assert call(command, "nowhere").exit_code == (0 if command == "history" else 2)
