"""What a caller sees of the endpoint: codes, headers, limits and splits, with real Envoy and real model servers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from deployer.local.processes import holder, leftovers
from tests.contract.local_world import Answer, LocalWorld, make_spec

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path_factory.mktemp("home"))
    yield world
    world.end()


@pytest.fixture
def world(endpoint: LocalWorld) -> LocalWorld:
    endpoint.reset()
    endpoint.platform.set_traffic({"blue": 100}, {})
    return endpoint


@contextmanager
def load(world: LocalWorld, threads: int = 2) -> Iterator[list[Answer | OSError]]:
    """About 60 requests a second on kept connections of their own, until the block ends."""
    answers: list[Answer | OSError] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.02):
            try:
                answers.append(world.ask())
            except OSError as exc:
                answers.append(exc)

    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(ask) for _ in range(threads)]
        try:
            yield answers
        finally:
            is_over.set()
    for each in asking:
        each.result()


def failures(answers: list[Answer | OSError]) -> list[Answer | OSError]:
    return [answer for answer in answers if not (isinstance(answer, Answer) and answer.code == 200)]


def test_every_answer_names_who_served_it_and_has_an_id(world: LocalWorld):
    answer = world.ask()
    assert (answer.code, answer.served_by) == (200, "blue")
    assert len(answer.headers["x-request-id"]) == 36


def test_the_model_lies_where_azure_puts_it(world: LocalWorld):
    assert world.ask().json["model"] == ["score.py"]


def test_requests_are_split_as_the_weights_say(world: LocalWorld):
    world.platform.set_traffic({"blue": 70, "green": 30}, {})
    served = Counter(world.ask().served_by for _ in range(300))
    assert set(served) == {"blue", "green"}
    assert 50 <= served["green"] <= 135  # 90 +- 5.7 standard deviations


def test_a_pinned_request_goes_where_it_is_pinned_whatever_the_weights(world: LocalWorld):
    assert {world.ask(pin="green").served_by for _ in range(5)} == {"green"}
    assert world.ask(pin="GREEN").served_by == "green"


def test_a_pin_to_nobody_is_404_and_says_so(world: LocalWorld):
    answer = world.ask(pin="nobody")
    assert (answer.code, answer.served_by) == (404, None)
    assert "no deployment of that name" in answer.json["error"]["message"]


def test_without_traffic_the_answer_is_404_as_on_azure(world: LocalWorld):
    world.platform.set_traffic({}, {})
    assert world.ask().code == 404
    assert world.ask(pin="green").code == 200


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer ", "Basic abc"])
def test_without_the_key_the_answer_is_401(world: LocalWorld, header: str):
    answer = world.ask(pin="green", headers={"Authorization": header})
    assert (answer.code, answer.served_by) == (401, None)


def test_a_model_that_raises_is_424_with_its_own_code(world: LocalWorld):
    answer = world.ask({"raise": "bad input"})
    assert (answer.code, answer.served_by) == (424, "blue")
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert b"bad input" not in answer.body


def test_a_model_that_is_too_slow_is_408_after_its_own_limit(world: LocalWorld):
    world.platform.create_deployment(make_spec("red", settings={"request_timeout_ms": 300}))
    world.await_ready("red")
    world.platform.set_traffic({"blue": 50, "red": 50}, {})
    slow: set[tuple[str | None, int]] = set()
    for _ in range(60):  # who answers is a matter of chance
        answer = world.ask({"sleep": 0.6})
        slow.add((answer.served_by, answer.code))
        if len(slow) == 2:
            break
    assert slow == {("blue", 200), ("red", 408)}


def test_a_worker_that_hangs_is_free_again_after_the_limit(world: LocalWorld):
    assert world.ask({"sleep": 60}).code == 408
    time.sleep(0.6)
    assert world.ask().code == 200


def test_more_than_a_deployment_may_hold_is_429(world: LocalWorld):
    with ThreadPoolExecutor(12) as pool:
        codes = Counter(answer.code for answer in pool.map(lambda _: world.ask({"sleep": 0.2}), range(12)))
    assert codes[429] >= 1
    assert codes[200] >= 2
    assert set(codes) == {200, 429}


def test_two_requests_at_once_are_never_429(world: LocalWorld):
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            assert [answer.code for answer in pool.map(lambda _: world.ask(), range(2))] == [200, 200]


def test_a_worker_that_dies_is_replaced(world: LocalWorld):
    assert world.ask({"exit": True}).code == 503
    deadline = time.monotonic() + 10
    while (code := world.ask().code) != 200 and time.monotonic() < deadline:
        assert code in {408, 503}  # the next worker loads the model first
    assert code == 200


def test_a_client_cannot_change_limits_retries_or_request_ids(world: LocalWorld):
    answer = world.ask(
        {"sleep": 0.3},
        headers={
            "x-envoy-upstream-rq-timeout-ms": "50",
            "x-envoy-retry-on": "5xx",
            "x-envoy-max-retries": "5",
            "x-request-id": "mine",
            "x-forwarded-for": "10.0.0.1",  # to Envoy, whoever comes from there may set limits
        },
    )
    assert answer.code == 200
    assert answer.headers["x-request-id"] != "mine"
    world.ask({"exit": True}, headers={"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "5"})
    assert world.log()[-1]["code"] == 503


def test_the_key_of_the_caller_does_not_reach_others_and_secrets_do_not_reach_the_model(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLANTED_SECRET", "s3cret")
    world.platform.create_deployment(make_spec("red"))
    world.await_ready("red")
    environment = world.ask({"environment": True}, pin="red").json["environment"]
    assert "PLANTED_SECRET" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["VERSION"] == "1"
    key = world.platform.scoring_target().headers["Authorization"].removeprefix("Bearer ")
    layout = world.platform.client.layout
    told = [path.read_bytes() for path in [*layout.logs.iterdir(), *layout.telemetry.glob("*.log")]]
    assert not any(key.encode() in text for text in told)


def test_the_log_tells_how_each_request_ended(world: LocalWorld):
    seen = len(world.log())
    world.ask(headers={"x-ms-client-request-id": "c" * 99, "User-Agent": "u" * 80})
    world.ask({"raise": "x"})
    world.ask({"sleep": 3})
    world.ask(pin="nobody")
    good, bad, slow, lost = world.log()[seen:]
    assert (good["code"], good["deployment"], good["model_code"], good["auth"]) == (200, "blue", None, "Key")
    assert (good["client_request_id"], good["user_agent"], good["path"]) == ("c" * 99, "u" * 70, "/score")
    assert good["instance"].startswith("blue-")
    assert good["duration_ms"] == good["duration_us"] // 1000
    assert (bad["code"], bad["model_code"], bad["details"]) == (424, "500", "via_upstream")
    assert (slow["code"], slow["flags"], slow["deployment"]) == (408, "UT", "blue")
    assert 950 <= slow["duration_ms"] < 3000  # not as long as the model; Envoy's clock for limits is coarse
    assert (lost["code"], lost["deployment"], lost["pinned"]) == (404, None, "nobody")


def test_a_client_that_hangs_up_is_not_an_error_of_the_model(world: LocalWorld):
    seen = len(world.log())
    target = world.platform.scoring_target()
    process = psutil.Popen(
        ["curl", "--silent", "--max-time", "0.2", "--json", '{"sleep": 0.8}', target.url]
        + [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    )
    process.wait(5)
    (line,) = world.log()[seen:]
    assert (line["code"], line["flags"], line["deployment"]) == (0, "DC", "blue")


def test_mirrored_requests_are_copies_that_users_never_see(world: LocalWorld):
    world.platform.set_traffic({"blue": 100}, {"green": 50})
    seen, shadows = len(world.log()), len(world.log("shadow"))
    answers = [world.ask({"sleep": 0}) for _ in range(60)]
    assert {answer.served_by for answer in answers} == {"blue"}
    lines, copies = world.log()[seen:], world.log("shadow")[shadows:]
    assert 10 <= len(copies) <= 50
    assert {(line["deployment"], line["code"]) for line in copies} == {("green", 200)}
    assert {line["request_id"] for line in copies} <= {line["request_id"] for line in lines}


def test_pinned_requests_are_not_mirrored(world: LocalWorld):
    world.platform.set_traffic({"blue": 100}, {"green": 50})
    shadows = len(world.log("shadow"))
    for _ in range(20):
        world.ask(pin="blue")
    assert len(world.log("shadow")) == shadows


def test_a_mirror_that_fails_or_is_slow_does_not_touch_users(world: LocalWorld):
    world.platform.create_deployment(make_spec("red", settings={"request_timeout_ms": 200}, EXTRA_S="0.3"))
    world.await_ready("red")
    world.platform.set_traffic({"blue": 100}, {"red": 50})
    seen, shadows = len(world.log()), len(world.log("shadow"))
    assert {world.ask().code for _ in range(20)} == {200}
    ended = {line["request_id"]: line["end"] for line in world.log()[seen:]}
    copies = world.log("shadow")[shadows:]
    assert {line["code"] for line in copies} <= {408, 429}
    assert any(line["end"] > ended[line["request_id"]] for line in copies), "no user waits for a copy"


def test_no_request_fails_while_weights_move(world: LocalWorld):
    with load(world) as answers:
        for move in range(20):
            share = move * 37 % 101
            world.platform.set_traffic({"blue": 100 - share, "green": share}, {})
            time.sleep(0.03)
    assert len(answers) > 20
    assert failures(answers) == []


def test_after_a_write_nobody_is_served_by_what_has_no_weight(world: LocalWorld):
    for _ in range(10):
        world.platform.set_traffic({"green": 100}, {})
        assert world.ask().served_by == "green"
        world.platform.set_traffic({"blue": 100}, {})
        assert world.ask().served_by == "blue"


def test_no_request_fails_while_deployments_come_go_and_scale(world: LocalWorld):
    with load(world) as answers:
        world.platform.scale_deployment("blue", 2)
        world.platform.create_deployment(make_spec("red"))
        world.await_ready("red")
        world.await_ready("blue", 2)
        world.platform.set_traffic({"blue": 50, "red": 50}, {})
        time.sleep(0.2)
        world.platform.scale_deployment("blue", 1)
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.delete_deployment("red")
    assert len(answers) > 50
    assert failures(answers) == []


def test_a_deployment_answers_what_it_was_sent_before_it_is_deleted(world: LocalWorld):
    world.platform.set_traffic({"green": 100}, {})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(world.ask, {"sleep": 0.6})
        time.sleep(0.2)
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.delete_deployment("green")
        assert (asked.result().code, asked.result().served_by) == (200, "green")


def test_instances_share_the_requests(world: LocalWorld):
    world.platform.scale_deployment("blue", 2)
    world.await_ready("blue", 2)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world.ask({"sleep": 0.1}), range(8)))
    assert {answer.code for answer in answers} == {200}
    assert len({answer.json["pid"] for answer in answers}) == 2


def test_an_instance_never_gets_the_socket_of_one_that_is_drained(world: LocalWorld):
    world.platform.scale_deployment("blue", 2)
    world.await_ready("blue", 2)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(world.ask, {"sleep": 0.8}) for _ in range(2)]
        time.sleep(0.2)
        drained = pool.submit(world.platform.scale_deployment, "blue", 1)
        time.sleep(0.2)
        world.platform.scale_deployment("blue", 2)
        assert [each.result().code for each in asked] == [200, 200]
        drained.result()
    world.await_ready("blue", 2)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world.ask({"sleep": 0.2}), range(4)))
    assert {answer.code for answer in answers} == {200}
    assert len({answer.json["pid"] for answer in answers}) == 2


def test_a_deployment_is_ready_when_every_worker_has_loaded_the_model(world: LocalWorld):
    settings = {"max_concurrent_requests_per_instance": 2, "request_timeout_ms": 10_000}
    world.platform.create_deployment(make_spec("red", "apart.py", settings=settings, WORKER_COUNT="2"))
    world.await_ready("red")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world.ask({"sleep": 0.5}, pin="red"), range(2)))
    assert {answer.code for answer in answers} == {200}
    assert len({answer.json["pid"] for answer in answers}) == 2


def test_the_telemetry_has_every_answer_that_envoy_counted(world: LocalWorld):
    before = world.platform.client.counters()
    for _ in range(20):
        world.ask(pin="green")
    after = world.platform.client.counters()
    assert after["epoch"] == before["epoch"]
    assert after["answered"]["green"] - before["answered"].get("green", 0) == 20
    assert set(after["answered"]) <= {"blue", "green", "red"}
    time.sleep(0.2)
    found = world.platform.client.query(
        "AmlOnlineEndpointTrafficLog | where ResponseCode == 200 and DeploymentName == 'green' | count"
    )
    assert found["rows"][0][0] >= 20


def test_everything_that_listens_listens_on_the_loopback_only(world: LocalWorld):
    layout = world.platform.client.layout
    pids = [*leftovers(layout.root), *filter(None, [holder(layout.keeper_lock), holder(layout.daemon_lock)])]
    assert len(pids) >= 6
    listening = {
        connection.laddr
        for pid in pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {f"http://127.0.0.1:{address.port}/score" for address in listening} == {world.observe().scoring_url}


def test_files_and_sockets_of_a_running_endpoint_are_private(world: LocalWorld):
    layout = world.platform.client.layout
    found = [layout.root, *layout.root.rglob("*"), layout.run, *layout.run.iterdir()]
    open_to_others = [path for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert open_to_others == []
