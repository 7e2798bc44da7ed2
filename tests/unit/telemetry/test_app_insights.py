"""Whose row is it? What the inference server writes names no endpoint, and often no deployment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.monitor_tables import app_row
from doubles.monitor_world import T0, MonitorWorld, monitor_world
from unit.telemetry.scenario import MAX_LAG_S, Answer, Row, canary, read, verdict, write

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass
from deployer.gate.verdict import Result
from deployer.telemetry.app_insights import AppInsightsQuestion

pytestmark = pytest.mark.azure
GOOD = canary()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MonitorWorld]:
    with monitor_world(tmp_path, metrics_delay_s=60) as world:
        world.by_container = True
        world.telemetry = world.app_insights(max_lag_s=MAX_LAG_S)
        yield world


def said(**dimensions: Any) -> Any:
    """Rows with other custom dimensions; a function is given the answer."""

    def change(answer: Answer, row: Row) -> list[Row]:
        told = {key: value(answer) if callable(value) else value for key, value in dimensions.items()}
        code = 500 if answer.code >= 400 else 200
        return [(app_row(answer.ended, answer.deployment, code, answer.ms, **told), row[1])]

    return change


def column(**columns: Any) -> Any:
    return lambda _, row: [({**row[0], **columns}, row[1])]


def witnessed(world: MonitorWorld, *containers: str, service: str = "digits") -> None:
    for container in containers:
        for minute in range(8):
            world.monitor.app_request(
                T0 + timedelta(minutes=minute),
                service,
                container=container,
                asked_as=f"deployer-witness-{container.split('-')[1]}",
            )


def by_deployment(world: MonitorWorld) -> Counter[str]:
    counted: Counter[str] = Counter()
    for cell in read(world).cells:
        counted[cell.deployment] += cell.n
    return counted


ENDPOINT_S = said(**{"Service Name": "digits"})


def test_rows_that_all_carry_the_endpoints_name_are_nobodys(world: MonitorWorld) -> None:
    write(world, GOOD, ENDPOINT_S)
    found = verdict(read(world))
    assert found.result is Result.BLIND
    assert "name no deployment" in found.text


def test_containers_that_our_probes_reached_tell_deployments_apart(world: MonitorWorld) -> None:
    write(world, GOOD, ENDPOINT_S)
    witnessed(world, "pod-blue-1", "pod-green-1")
    samples = read(world)
    assert samples.problem is None
    assert verdict(samples).result is Result.PASS


def test_one_container_that_no_probe_reached_leaves_its_rows_nobodys(world: MonitorWorld) -> None:
    write(world, GOOD, ENDPOINT_S)
    witnessed(world, "pod-blue-1")
    assert "name no deployment" in (read(world).problem or "")


def test_a_container_that_two_deployments_claim_is_a_problem(world: MonitorWorld) -> None:
    write(world, GOOD, ENDPOINT_S)
    witnessed(world, "pod-blue-1", "pod-green-1")
    world.monitor.app_request(T0, "digits", container="pod-green-1", asked_as="deployer-witness-blue")
    assert "disagree about pod-green-1" in (read(world).problem or "")


def test_a_service_name_that_contradicts_the_container_is_a_problem(world: MonitorWorld) -> None:
    write(world, GOOD, said(**{"Service Name": "blue"}))
    witnessed(world, "pod-blue-1", "pod-green-1", service="blue")
    assert "disagree about pod-green-1" in (read(world).problem or "")


def test_service_names_that_are_no_deployments_do_not_hide_containers_nobody_reached(world: MonitorWorld) -> None:
    write(world, GOOD, said(**{"Service Name": "svc-7"}))
    witnessed(world, "pod-blue-1", service="svc-7")
    assert verdict(read(world)).result is Result.BLIND


def test_rows_of_another_endpoint_that_are_named_alike_are_noticed_by_the_metrics(world: MonitorWorld) -> None:
    write(world, GOOD)
    write(world, canary(errors=0.0), said(**{"Container Id": "pod-of-another-endpoint"}), counted=False)
    assert "others' are among them" in (read(world).problem or "")


def foreign(world: MonitorWorld, answers: list[Answer]) -> None:
    """Answers of another endpoint's deployments of the same names."""
    write(world, answers, said(**{"Container Id": "pod-of-another-endpoint"}), counted=False)


FAILING = [Answer(answer.ended, "green", 500, answer.ms) for answer in GOOD[::150]]


def test_failures_of_another_endpoints_green_are_left_out_where_ours_are_known(world: MonitorWorld) -> None:
    write(world, GOOD)
    witnessed(world, "pod-blue-1", "pod-green-1", service="green")
    foreign(world, FAILING * 5)
    samples = read(world)
    found = verdict(samples)
    assert found.candidate.errors == 0
    assert found.result is Result.PASS, found.text
    assert "answers are left out" in (samples.doubt or "")


def test_failures_of_another_endpoints_green_are_noticed_where_ours_are_not_known(world: MonitorWorld) -> None:
    write(world, GOOD)
    foreign(world, FAILING)
    found = verdict(read(world))
    assert found.result is Result.BLIND, found.text
    assert "failures of green" in found.text


def test_rows_of_a_pod_that_no_probe_reached_are_ours_where_the_metrics_need_them(world: MonitorWorld) -> None:
    def pods(answer: Answer, row: Row) -> list[Row]:
        pod = f"pod-{answer.deployment}-{1 + answer.ended.microsecond % 2}"
        return said(**{"Container Id": pod})(answer, row)

    write(world, canary(errors=0.1), pods)
    witnessed(world, "pod-blue-1", "pod-green-1", service="green")
    assert verdict(read(world)).result is Result.FAIL


def replaced(share: float) -> Any:
    """Green's first pod was replaced after ``share`` of the time, before a probe reached it."""

    def change(answer: Answer, row: Row) -> list[Row]:
        early = answer.deployment == "green" and answer.second < share * 600
        pod = "pod-green-0" if early else f"pod-{answer.deployment}-1"
        return said(**{"Service Name": "digits", "Container Id": pod})(answer, row)

    return change


def test_a_few_rows_of_a_pod_that_no_probe_reached_blind_nobody(world: MonitorWorld) -> None:
    write(world, GOOD, replaced(0.01))
    witnessed(world, "pod-blue-1", "pod-green-1")
    samples = read(world)
    assert verdict(samples).result is Result.PASS, verdict(samples).text
    assert "name no deployment" in (samples.doubt or "")


def test_many_rows_of_a_pod_that_no_probe_reached_blind_until_they_are_few(world: MonitorWorld) -> None:
    write(world, canary(seconds=1800), replaced(0.08))
    witnessed(world, "pod-blue-1", "pod-green-1")
    assert "name no deployment" in verdict(read(world)).text
    found = verdict(read(world, second=1800), second=1800)
    assert found.result is Result.PASS, found.text


def test_rows_of_long_ago_are_told_apart_once_a_probe_reached_their_container(world: MonitorWorld) -> None:
    write(world, canary(seconds=1800), ENDPOINT_S)
    assert "name no deployment" in verdict(read(world, second=1799), second=1799).text
    for name in ("blue", "green"):
        world.monitor.app_request(
            T0 + timedelta(seconds=1790), "digits", container=f"pod-{name}-1", asked_as=f"deployer-witness-{name}"
        )
    assert verdict(read(world, second=1800), second=1800).result is Result.PASS


def test_rows_of_other_endpoints_with_other_names_are_left_alone(world: MonitorWorld) -> None:
    write(world, GOOD)
    write(world, GOOD[:2000], said(**{"Service Name": "fraud"}), counted=False)
    assert verdict(read(world)).result is Result.PASS


def test_metrics_that_know_of_no_request_are_none_whatever_our_probes_reached(world: MonitorWorld) -> None:
    write(world, GOOD, counted=False)
    witnessed(world, "pod-blue-1", "pod-green-1", service="blue")
    found = verdict(read(world))
    assert found.result is Result.BLIND
    assert "metrics count no request" in found.text


def test_what_the_front_end_refused_is_not_taken_for_success(world: MonitorWorld) -> None:
    write(world, GOOD)
    for second in range(600):
        world.monitor.count(T0 + timedelta(seconds=second), "green", code=408)
    assert verdict(read(world)).result is Result.BLIND


def lone(world: MonitorWorld, answers: list[Answer]) -> None:
    """The metrics know of blue's requests only, and a probe reached both pods."""
    write(world, answers, counted=False)
    for answer in answers:
        if answer.deployment == "blue":
            world.monitor.count(answer.ended, "blue", code=answer.code)
    witnessed(world, "pod-blue-1", "pod-green-1", service="green")


def test_a_candidate_that_metrics_do_not_know_is_not_passed_for_nobody_counts_what_it_lost(world: MonitorWorld) -> None:
    lone(world, [answer for n, answer in enumerate(GOOD) if answer.deployment == "blue" or n % 2])
    found = verdict(read(world))
    assert found.result is Result.BLIND, found.text
    assert "metrics do not know green" in found.text


def test_a_candidate_that_metrics_do_not_know_and_that_breaks_fails(world: MonitorWorld) -> None:
    lone(world, canary(errors=0.9))
    assert verdict(read(world)).result is Result.FAIL


def test_a_candidate_whose_first_minutes_are_not_counted_yet_is_no_stranger(world: MonitorWorld) -> None:
    write(world, [answer for answer in GOOD if answer.deployment == "blue" or answer.second > 500])
    witnessed(world, "pod-blue-1", "pod-green-1", service="green")
    world.monitor.metric_edits.append(
        lambda answer: answer["value"][0].update(
            timeseries=[
                each
                for each in answer["value"][0]["timeseries"]
                if all(one["value"] != "green" for one in each["metadatavalues"])
            ]
        )
    )
    assert "metrics do not know" not in verdict(read(world, second=560), second=560).text


@pytest.mark.parametrize(
    ("change", "server"),
    [
        (said(duration="nan"), "inference server 1.5"),
        (said(resultCode="NaN"), "inference server 1.5"),
        (column(ResultCode="503"), "neither version 1.4 nor 1.5"),
    ],
)
def test_rows_that_cannot_be_believed_are_told_with_the_server_that_wrote_them(
    world: MonitorWorld, change: Any, server: str
) -> None:
    write(world, GOOD, change)
    assert server in verdict(read(world)).text


@pytest.mark.parametrize("version", ["1.4.1", "1.5.1"])
def test_what_the_servers_own_columns_say_is_not_believed(tmp_path: Path, version: str) -> None:
    with monitor_world(tmp_path) as world:
        world.clock.advance(60)
        world.monitor.app_request(T0 + timedelta(seconds=9), "green", code=500, ms=1234, version=version)
        world.monitor.count(T0 + timedelta(seconds=9), "green", code=424)
        (cell,) = world.app_insights().fetch(T0, world.clock.now(), block_s=10).cells
    assert (cell.answer, cell.duration_ms) == (AnswerClass.ERROR, 1234)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (said(duration="nan"), "no start or no duration"),
        (said(duration=None), "no start or no duration"),
        (said(start_time="yesterday"), "no start"),
        (said(resultCode="NaN"), "no code"),
        (column(ResultCode="503"), "no code"),
        (said(resultCode=None), "telemetry holds 0"),
        (column(Properties=None), "telemetry holds 0"),
        (column(Name="GET /"), "telemetry holds 0"),
    ],
    ids=["nan", "no duration", "no start", "code nan", "codes contradict", "no code", "custom container", "not scored"],
)
def test_rows_without_the_truth_in_their_dimensions_prove_nothing(world: MonitorWorld, change: Any, words: str) -> None:
    write(world, GOOD, change)
    found = verdict(read(world))
    assert found.result is Result.BLIND
    assert words in found.text


def test_sampled_rows_count_once_and_are_not_missed(world: MonitorWorld) -> None:
    kept = [answer for number, answer in enumerate(GOOD) if number % 4 == 0]
    write(world, kept, column(ItemCount=4), counted=False)
    write(world, GOOD, lambda _, _row: [])
    samples = read(world)
    assert samples.problem is None
    assert sum(cell.n for cell in samples.cells) <= len(kept)
    assert verdict(samples).result is not Result.BLIND
    assert 0.8 * len(kept) / 2 < samples.expected["green"] < 1.2 * len(kept) / 2


def test_sampled_rows_that_are_lost_as_well_are_missed(world: MonitorWorld) -> None:
    kept = [answer for number, answer in enumerate(GOOD) if number % 8 == 0]
    write(world, kept, column(ItemCount=4), counted=False)
    write(world, GOOD, lambda _, _row: [])
    assert verdict(read(world)).result is not Result.PASS


@pytest.mark.parametrize("name", ["x' | union *", "x\n| take 1", "", "a--b", "é"])
def test_a_hostile_name_never_gets_into_a_query(name: str) -> None:
    with pytest.raises(TelemetryError):
        AppInsightsQuestion(name, "/subscriptions/s/x/y", across=True)
    with pytest.raises(TelemetryError):
        AppInsightsQuestion("digits", f"/subscriptions/s/{name}'", across=True)
