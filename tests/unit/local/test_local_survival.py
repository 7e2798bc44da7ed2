"""Whatever part is killed: the endpoint comes back as it was, and nothing is left that belongs to nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from deployer.errors import DeployerError, PlatformError, TransientError, UsageError
from deployer.local import lifecycle
from deployer.local.keeper import start_keeper
from deployer.local.layout import Layout
from deployer.local.processes import holder, is_alive, leftovers
from tests.contract.local_world import LocalWorld, make_spec

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path_factory.mktemp("home"))
    yield world
    world.end()


@pytest.fixture
def world(endpoint: LocalWorld) -> LocalWorld:
    endpoint.reset()
    endpoint.platform.set_traffic({"blue": 80, "green": 20}, {})
    endpoint.platform.set_tags({"stable": "blue"})
    return endpoint


def layout_of(world: LocalWorld) -> Layout:
    return world.platform.client.layout


def status(world: LocalWorld) -> dict[str, Any]:
    (found,) = lifecycle.status(world.home)
    return found


def instance_of(world: LocalWorld, name: str) -> int:
    return status(world)["deployments"][name]["instances"][0]["pid"]


def until(is_so: Callable[[], object], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.02)


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def assert_as_before(world: LocalWorld, before: Any) -> None:
    for name in ("blue", "green"):
        world.await_ready(name)
    after = world.observe()
    assert (after.uid, after.scoring_url, after.traffic, after.tags) == (
        before.uid,
        before.scoring_url,
        before.traffic,
        before.tags,
    )
    assert world.ask(pin="green").code == 200
    # keeper, daemon, and for each of them: Envoy, two masters, two workers
    until(lambda: len(leftovers(layout_of(world).root)) == 5)
    assert holder(layout_of(world).keeper_lock) is not None


def test_a_killed_envoy_is_started_again_on_the_same_port(world: LocalWorld):
    before = world.observe()
    kill(status(world)["router_pid"])
    assert_as_before(world, before)


def test_a_killed_model_server_is_started_again_and_its_worker_does_not_stay(world: LocalWorld):
    before = world.observe()
    master = instance_of(world, "blue")
    (worker,) = psutil.Process(master).children()
    kill(master)
    until(lambda: not is_alive(worker.pid))
    assert_as_before(world, before)
    assert instance_of(world, "blue") != master


def test_while_a_model_server_is_down_it_is_said_to_be_down(world: LocalWorld):
    kill(instance_of(world, "blue"))
    found = world.await_state("blue", lambda found: found.state == "creating")
    assert "SIGKILL" in found.message
    assert world.ask(pin="blue").code == 503
    world.await_ready("blue")


def test_one_of_two_instances_down_is_degraded_and_users_do_not_notice(world: LocalWorld):
    world.platform.scale_deployment("blue", 2)
    world.await_ready("blue", 2)
    kill(instance_of(world, "blue"))
    assert world.await_state("blue", lambda found: found.state == "degraded").instances_ready == 1
    assert {world.ask(pin="blue").code for _ in range(5)} == {200}
    world.await_ready("blue", 2)


def test_a_killed_daemon_takes_everything_along_and_all_of_it_comes_back(world: LocalWorld):
    before = world.observe()
    there, found = leftovers(layout_of(world).root), status(world)
    kill(found["daemon_pid"])
    until(lambda: not any(map(is_alive, there)))
    until(lambda: holder(layout_of(world).daemon_lock))  # by the keeper, not by a call of ours
    assert holder(layout_of(world).keeper_lock) == found["keeper_pid"]
    assert_as_before(world, before)


def test_a_killed_keeper_is_replaced_and_no_request_fails(world: LocalWorld):
    before, keeper = world.observe(), holder(layout_of(world).keeper_lock)
    assert keeper is not None
    daemon = status(world)["daemon_pid"]
    kill(keeper)
    assert world.ask(pin="blue").code == 200
    until(lambda: holder(layout_of(world).keeper_lock) not in {None, keeper})
    assert status(world)["daemon_pid"] == daemon
    kill(daemon)
    assert_as_before(world, before)


def test_when_keeper_and_daemon_are_killed_at_once_nothing_is_left_and_the_next_call_starts_all(world: LocalWorld):
    before = world.observe()
    found = status(world)
    kill(found["keeper_pid"], found["daemon_pid"])
    until(lambda: not leftovers(layout_of(world).root) and not world.platform.client.is_running())
    assert_as_before(world, before)


def test_what_a_model_started_dies_with_its_server(world: LocalWorld):
    child = world.ask({"child": True}, pin="blue").json["child"]
    assert is_alive(child)
    kill(instance_of(world, "blue"))
    until(lambda: not is_alive(child))
    world.await_ready("blue")


def test_what_a_model_started_is_ended_after_the_daemon_was_killed(world: LocalWorld):
    child = world.ask({"child": True}, pin="blue").json["child"]
    kill(status(world)["daemon_pid"])
    until(lambda: not is_alive(child))
    world.await_ready("blue")


def test_a_terminated_keeper_ends_everything_in_order(world: LocalWorld):
    before = world.observe()
    keeper = holder(layout_of(world).keeper_lock)
    assert keeper is not None
    os.kill(keeper, signal.SIGTERM)
    until(lambda: not leftovers(layout_of(world).root) and not is_alive(keeper))
    assert_as_before(world, before)


def test_a_port_that_somebody_took_is_named_and_taken_back_when_free(world: LocalWorld):
    before = world.observe()
    port = status(world)["port"]
    lifecycle.down(world.home)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        with pytest.raises(TransientError, match=f"port {port} of 127.0.0.1 is taken"):
            world.observe()
    assert_as_before(world, before)


def test_a_second_daemon_for_the_same_endpoint_ends_at_once(world: LocalWorld):
    daemon = status(world)["daemon_pid"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        second = subprocess.run(
            [sys.executable, "-m", "deployer.local.daemon", str(layout_of(world).root), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ours.recv(1) == b"q"  # so that its keeper would not try again
    assert second.returncode == 1
    assert "another daemon" in second.stderr
    assert status(world)["daemon_pid"] == daemon


def test_a_second_keeper_for_the_same_endpoint_ends_at_once(world: LocalWorld):
    keeper = holder(layout_of(world).keeper_lock)
    start_keeper(layout_of(world))
    assert holder(layout_of(world).keeper_lock) == keeper
    assert status(world)["keeper_pid"] == keeper


def test_a_crash_loop_is_a_failure(world: LocalWorld):
    world.platform.create_deployment(make_spec("red"))
    world.await_ready("red")
    for _ in range(5):
        world.await_ready("red")
        kill(instance_of(world, "red"))
        world.await_state("red", lambda found: found.state != "ready")
    found = world.await_state("red", lambda found: found.state == "failed")
    assert "crashed 5 times" in found.message


def test_a_model_that_is_not_loaded_in_time_has_failed(world: LocalWorld):
    spec = make_spec("red", "slow.py", INIT_S="60")
    spec.document["readiness_probe"] = {"initial_delay": 1, "period": 1, "failure_threshold": 1}  # type: ignore[index]
    world.platform.create_deployment(spec)
    found = world.await_state("red", lambda found: found.state == "failed")
    assert found.message == "red-0: not ready within 2 s"
    until(lambda: len(leftovers(layout_of(world).root)) == 5)


def test_a_model_that_takes_its_time_becomes_ready(world: LocalWorld):
    world.platform.create_deployment(make_spec("red", "slow.py", INIT_S="3"))
    assert world.await_state("red", lambda found: True).state == "creating"
    time.sleep(2)
    assert world.observe().deployments["red"].state == "creating"
    world.await_ready("red")
    assert world.ask(pin="red").code == 200


def test_the_way_back_does_not_wait_for_a_deployment_that_is_drained(world: LocalWorld):
    world.platform.create_deployment(make_spec("red", settings={"request_timeout_ms": 20_000}))
    world.await_ready("red")
    asking = subprocess.Popen(
        ["curl", "--silent", "--json", '{"sleep": 5}', world.platform.scoring_target().url]
        + ["-H", "azureml-model-deployment: red"]
        + [
            part
            for name, value in world.platform.scoring_target().headers.items()
            for part in ("-H", f"{name}: {value}")
        ],
        stdout=subprocess.PIPE,
    )
    time.sleep(0.3)
    code = "import sys, pathlib; from deployer.platforms.local import LocalPlatform as P; "
    code += "P(sys.argv[1], pathlib.Path(sys.argv[2])).delete_deployment('red')"
    deleting = subprocess.Popen([sys.executable, "-c", code, "digits", str(world.home)])
    world.await_state("red", lambda found: found.state == "deleting")
    world.platform.set_traffic({"blue": 100}, {})
    assert deleting.poll() is None, "it still drains"
    assert deleting.wait(20) == 0
    assert b'"pid"' in asking.communicate(timeout=5)[0]
    assert "red" not in world.observe().deployments


def test_a_lost_snapshot_fails_its_deployment_only(world: LocalWorld):
    spec = make_spec("red")
    world.platform.create_deployment(spec)
    lifecycle.down(world.home)
    snapshot = layout_of(world).revisions / spec.digest
    snapshot.rename(snapshot.with_name("gone"))
    found = world.await_state("red", lambda found: found.state == "failed")
    assert spec.digest[:12] in found.message
    world.await_ready("blue")
    world.platform.delete_deployment("red")


def test_down_ends_every_process_and_up_starts_the_endpoint_as_it_was(world: LocalWorld):
    before, found = world.observe(), status(world)
    there = [*leftovers(layout_of(world).root), found["daemon_pid"], found["keeper_pid"]]
    assert lifecycle.down(world.home) == ["digits"]
    assert not any(map(is_alive, there))
    assert status(world)["running"] is False
    assert lifecycle.down(world.home, "digits") == ["digits"]
    assert lifecycle.up(world.home, "digits")["port"] == found["port"]
    assert_as_before(world, before)


def test_down_ends_even_a_daemon_that_is_frozen(world: LocalWorld):
    found = status(world)
    there = [*leftovers(layout_of(world).root), found["daemon_pid"], found["keeper_pid"]]
    os.kill(found["daemon_pid"], signal.SIGSTOP)
    os.kill(found["keeper_pid"], signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "_POLITE_S", 0.5)
        patch.setattr("deployer.local.client._ANSWER_S", 0.5)
        lifecycle.down(world.home)
    assert not any(map(is_alive, there))


def test_a_frozen_daemon_is_a_passing_failure_and_not_a_hang(world: LocalWorld):
    daemon = status(world)["daemon_pid"]
    os.kill(daemon, signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("deployer.local.client._ANSWER_S", 0.3)
            with pytest.raises(TransientError, match="no answer to observe"):
                world.observe()
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert world.observe().traffic == {"blue": 80, "green": 20}


def test_a_damaged_record_is_named_and_not_overwritten(world: LocalWorld):
    lifecycle.down(world.home)
    record = layout_of(world).record
    text = record.read_text()
    record.write_text(text[: len(text) // 2])
    try:
        with pytest.raises(PlatformError, match=r"endpoint\.json"):
            world.observe()
        assert record.read_text() == text[: len(text) // 2]
    finally:
        record.write_text(text)
    world.await_ready("blue")


def test_a_forgotten_endpoint_is_another_one_when_it_is_made_again(world: LocalWorld):
    before = world.observe()
    run = layout_of(world).run
    lifecycle.down(world.home, "digits", forget=True)
    assert world.platform.observe() is None
    assert not layout_of(world).root.exists()
    assert not run.exists()
    world.reset()
    assert world.observe().uid != before.uid


def test_two_commands_at_once_start_one_endpoint(world: LocalWorld):
    lifecycle.down(world.home)
    code = "import sys, pathlib; from deployer.platforms.local import LocalPlatform as P; "
    code += "print(P(sys.argv[1], pathlib.Path(sys.argv[2])).observe().uid)"
    both = [
        subprocess.Popen([sys.executable, "-c", code, "digits", str(world.home)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert len({each.communicate(timeout=30)[0] for each in both}) == 1
    assert [each.returncode for each in both] == [0, 0, 0]


def test_compare_and_set_lets_one_of_many_win(world: LocalWorld):
    code = "import sys, pathlib; from deployer.platforms.local import LocalPlatform as P; "
    code += "P(sys.argv[1], pathlib.Path(sys.argv[2])).set_tags({'lease': sys.argv[3]}, expect={'lease': None})"
    many = [
        subprocess.Popen([sys.executable, "-c", code, "digits", str(world.home), str(number)], stderr=subprocess.PIPE)
        for number in range(4)
    ]
    errors = [each.communicate(timeout=30)[1] for each in many]
    assert [each.returncode for each in many].count(0) == 1
    assert sum(b"ConflictError" in error for error in errors) == 3


def test_an_operation_that_nobody_knows_is_refused(world: LocalWorld):
    with pytest.raises(DeployerError, match="does not know 'rm'"):
        world.platform.client.call("rm")


def test_arguments_that_are_wrong_do_not_harm_the_daemon(world: LocalWorld):
    with pytest.raises(PlatformError, match="failed"):
        world.platform.client.call("set_traffic", nonsense=1)
    assert world.observe().traffic == {"blue": 80, "green": 20}


def test_what_is_no_request_does_not_harm_the_daemon(world: LocalWorld):
    for noise in (b"\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * (2 << 20), b""):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(layout_of(world).control))
            try:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1 << 16)
            except OSError:
                pass
    assert world.observe().traffic == {"blue": 80, "green": 20}


def test_status_and_logs_tell_people_what_runs(world: LocalWorld):
    found = status(world)
    assert found["running"] is True
    assert found["router"] == "running"
    assert found["deployments"]["blue"]["state"] == "ready"
    assert "tiny model 1" in lifecycle.logs(world.home, "digits")
    with pytest.raises(UsageError, match="no log of 'nobody'"):
        lifecycle.logs(world.home, "digits", part="nobody")
    key = world.platform.scoring_target().headers["Authorization"].removeprefix("Bearer ")
    assert key not in str(found)
