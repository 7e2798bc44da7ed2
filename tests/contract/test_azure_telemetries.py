"""The telemetry contract on Azure's sources: the unpatched SDK over HTTPS against the double of the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from doubles.arm import AzureDouble
from doubles.monitor import WORKSPACE_ID, Monitor
from doubles.monitor_tables import COMPONENT, ML_WORKSPACE
from doubles.monitor_world import MonitorWorld, monitor_world
from doubles.telemetry import ManualClock
from telemetry_contract import T0, TelemetryContract, at, bars, total

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import find_cloud
from deployer.cloud.credentials import credential
from deployer.gate.samples import AnswerClass
from deployer.telemetry.app_insights import app_insights
from deployer.telemetry.metrics import metrics
from deployer.telemetry.traffic_log import traffic_log

pytestmark = pytest.mark.azure


class TestTrafficLog(TelemetryContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[MonitorWorld]:
        with monitor_world(tmp_path) as world:
            yield world

    def test_mirrored_answers_that_are_logged_are_read_whether_asked_for_or_not(self, world: MonitorWorld) -> None:
        world.clock.advance(60)
        world.answer(at(5), "green", mirrored=True)
        for mirrored in (False, True):
            assert total(world.telemetry.fetch(T0, at(60), block_s=10, mirrored=mirrored)) == 1


class TestAppInsights(TelemetryContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[MonitorWorld]:
        with monitor_world(tmp_path) as world:
            world.by_container = True
            world.telemetry = world.app_insights()
            yield world

    @pytest.mark.parametrize(
        ("code", "model_code", "answer"),
        [
            (200, 200, AnswerClass.OK),
            (424, 500, AnswerClass.ERROR),
            (424, 400, AnswerClass.ERROR),
            (424, 504, AnswerClass.TIMEOUT),
            (424, 429, AnswerClass.THROTTLED),
        ],
    )
    def test_the_code_says_who_is_to_blame(  # of what a container sees
        self, world: MonitorWorld, code: int, model_code: int | None, answer: AnswerClass
    ) -> None:
        super().test_the_code_says_who_is_to_blame(world, code, model_code, answer)


def test_the_traffic_log_can_be_asked_of_the_endpoint_without_knowing_a_workspace(tmp_path: Path) -> None:
    with monitor_world(tmp_path) as world:
        world.clock.advance(60)
        world.answer(at(5), "blue", n=7)
        assert total(world.traffic_log(across=False).fetch(T0, at(60), block_s=10)) == 7
        assert world.monitor.asked[-1].path == f"/v1{world.monitor.endpoint_id}/query"


@pytest.mark.parametrize("owner", ["", "/onlineEndpoints/digits"])
def test_an_endpoint_of_the_same_name_in_another_workspace_is_not_ours(tmp_path: Path, owner: str) -> None:
    with monitor_world(tmp_path) as world:
        world.clock.advance(60)
        world.monitor.traffic(at(5), "blue", n=7, _ResourceId=f"{ML_WORKSPACE}{owner}".upper())
        world.monitor.traffic(at(5), "blue", n=5, _ResourceId=f"{ML_WORKSPACE}2{owner}")
        world.monitor.traffic(at(5), "blue", n=5, EndpointName="digits2")
        assert total(world.telemetry.fetch(T0, at(60), block_s=10)) == 7


def test_app_insights_can_be_asked_in_its_workspace_where_columns_have_other_names(tmp_path: Path) -> None:
    with monitor_world(tmp_path) as world:
        world.clock.advance(60)
        world.monitor.app_request(at(5), "blue", n=7, ms=12, code=500)
        world.monitor.count(at(5), "blue", n=7, code=424)
        world.monitor.app_request(at(5), "blue", _ResourceId=f"{COMPONENT}2".lower())
        inside = world.app_insights(across=True).fetch(T0, at(60), block_s=10)
        assert bars(inside) == bars(world.app_insights().fetch(T0, at(60), block_s=10))
        assert total(inside) == 7


def test_the_same_rows_are_read_from_old_and_new_servers(tmp_path: Path) -> None:
    cells = []
    for version in ("1.4.1", "1.5.1"):
        (tmp_path / version).mkdir()
        with monitor_world(tmp_path / version) as world:
            world.clock.advance(60)
            for ms, code in ((50, 200), (0, 200), (61_500, 500)):
                world.monitor.app_request(T0 + timedelta(seconds=30), "blue", ms=ms, code=code, version=version)
                world.monitor.count(T0 + timedelta(seconds=30), "blue", code=code)
            cells.append(world.app_insights().fetch(T0 - timedelta(minutes=1), at(60), block_s=10).cells)
    assert sorted(map(str, cells[0])) == sorted(map(str, cells[1]))
    assert {(cell.duration_ms, cell.answer) for cell in cells[0]} == {
        (50, AnswerClass.OK),
        (0, AnswerClass.OK),
        (61_500, AnswerClass.ERROR),
    }


def test_what_users_got_of_an_endpoint_is_what_each_source_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(T0)
    with AzureDouble(now=clock.now) as azure:
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        monitor = Monitor(clock)
        azure.mount(monitor.handle)
        azure.listeners.append(monitor.hear)
        azure.create("digits", "blue", "green", traffic={"blue": 80, "green": 20})
        azure.behave("green", error_rate=0.2)
        clock.advance(300)
        sent = azure.send("digits", 3000, seconds=300)
        clock.advance(300)
        cloud = find_cloud("", dict(os.environ))
        identity = credential(cloud)
        count = metrics(Arm(cloud, identity, clock), resource_id=monitor.endpoint_id, clock=clock)
        ours = {"endpoint": "digits", "clock": clock, "counter": count}
        log = traffic_log(cloud, identity, workspace_id=WORKSPACE_ID, resource_id=monitor.endpoint_id, **ours)
        rows = app_insights(cloud, identity, resource_id=COMPONENT, **ours)
        for source in (log, rows):
            samples = source.fetch(T0, clock.now(), block_s=10)
            assert samples.problem is None
            for answer in (AnswerClass.OK, AnswerClass.ERROR):
                for name in ("blue", "green"):
                    told = sum(c.n for c in samples.cells if (c.deployment, c.answer) == (name, answer))
                    got = [row for row in sent if row.deployment == name and (row.code == 200) == (answer == "ok")]
                    assert told == sum(row.ended < clock.now() for row in got)
        monitor.close()
