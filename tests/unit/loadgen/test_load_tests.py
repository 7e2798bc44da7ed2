"""Load tests as ``deployer`` runs them: real Locust processes against a server that counts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deployer.errors import PlatformError, UsageError
from deployer.loadgen import process
from deployer.loadgen.distributed import DistributedLoad
from deployer.loadgen.local import LocalLoad, arguments_of
from deployer.loadgen.locust import SecretFile
from deployer.loadgen.process import LocustTest
from deployer.loadtest.figures import Figures, Load
from deployer.loadtest.ranks import Ranked
from deployer.ports.loadgen import LoadTester
from deployer.ports.platform import ScoringTarget
from loadtests.shapes import parse_shape
from tests.unit.engine.scripted import Asked, reply, saying, serving

KEY = "canary-secret-" + "7f3a"
OK = saying(reply(200, {"predictions": [3]}))
NOBODY = "http://127.0.0.1:9/score"

pytestmark = pytest.mark.local


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    file = tmp_path / "one.json"
    file.write_bytes(b'{"data": [[1]]}')
    return file


def target(url: str, key: str = KEY) -> ScoringTarget:
    return ScoringTarget(url, {"Authorization": f"Bearer {key}"})


def poisson(seconds: float, *, rps: float = 40, warm_up_s: float = 0, processes: int = 1) -> Load:
    return Load("poisson", "constant", rps, seconds, warm_up_s=warm_up_s, processes=processes, seed=1, timeout_s=5)


def statuses(figures: Figures) -> Counter[int]:
    return sum((Counter(dict(window.statuses)) for window in figures.windows), Counter[int]())


def begun(running: LocustTest) -> list[psutil.Process]:
    parents = [psutil.Process(each.pid) for each in (running._process, *running._workers)]
    return [each for parent in parents for each in (parent, *parent.children(True))]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_the_engines_are_load_testers() -> None:
    testers: list[LoadTester] = [LocalLoad(), DistributedLoad()]
    assert testers


@pytest.mark.parametrize("shape", ["constant", "soak", "spike:5x,at=30s,for=10s", "stages:30s@10,60s@40"])
def test_every_shape_is_said_in_words_that_the_locustfile_takes(payload: Path, tmp_path: Path, shape: str) -> None:
    load = Load("poisson", shape, 0.0 if shape.startswith("stages") else 7.0, 90)
    said = arguments_of(load, target(NOBODY), payload, tmp_path, users=1)
    given = dict(zip(said[::2], said[1::2], strict=True))
    assert parse_shape(given["--shape"], float(given["--rps"]))[0].rps == (10 if shape.startswith("stages") else 7)


@pytest.mark.parametrize("headers", [{}, {"azureml-model-deployment": "green"}])
def test_the_deployment_is_an_option_for_workers_that_see_no_headers(
    payload: Path, tmp_path: Path, headers: dict[str, str]
) -> None:
    aimed = replace(target(NOBODY), headers={**target(NOBODY).headers, **headers})
    said = arguments_of(poisson(5), aimed, payload, tmp_path, users=1)
    given = dict(zip(said[::2], said[1::2], strict=True))
    assert given.get("--deployment") == headers.get("azureml-model-deployment")
    assert KEY not in " ".join(said)


def test_workers_of_other_hosts_load_the_deployment_alone_that_was_asked_for(payload: Path) -> None:
    with serving(OK) as server:
        aimed = replace(target(server.url), headers={"azureml-model-deployment": "green"})
        with DistributedLoad(workers=1, local_workers=0).start(aimed, poisson(2), payload) as running:
            invited = (running.progress().phase or "").partition("start each with DEPLOYER_LOAD_KEY=... locust ")[2]
            worker = subprocess.Popen(
                [sys.executable, "-m", "locust", *invited.split()],
                cwd=Path(__file__).parents[3],
                env={**os.environ, "DEPLOYER_LOAD_KEY": KEY},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert running.figures().partial is None
            finally:
                worker.kill()
                worker.wait()
    assert server.asked
    assert {asked.headers.get("azureml-model-deployment") for asked in server.asked} == {"green"}
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("in_clear", [False, True])
def test_workers_of_other_hosts_send_a_key_over_plain_http_where_that_was_allowed(
    payload: Path, tmp_path: Path, *, in_clear: bool
) -> None:
    aimed = replace(target("http://aks.internal/score"), in_clear=in_clear)
    assert ("--in-clear" in arguments_of(poisson(5), aimed, payload, tmp_path, users=1)) == in_clear


def test_headers_that_workers_of_other_hosts_are_not_given_are_refused(payload: Path) -> None:
    aimed = replace(target(NOBODY), headers={**target(NOBODY).headers, "x-tenant": "a"})
    with (
        pytest.raises(UsageError, match="no other headers than the key and the deployment"),
        DistributedLoad(workers=1, local_workers=0).start(aimed, poisson(5), payload),
    ):
        pytest.fail("it started")


def test_two_processes_are_merged_request_by_request_and_the_warm_up_is_kept_apart(payload: Path) -> None:
    with serving(OK) as server:
        load = poisson(2, rps=60, warm_up_s=1, processes=2)
        with LocalLoad().start(target(server.url), load, payload, keep_requests=True) as running:
            processes = begun(running)
            assert len(processes) == 3
            assert not any(KEY in f"{each.cmdline()} {each.environ()}" for each in processes)
            figures = running.figures()
        assert are_gone(processes)
    assert figures.partial is None
    assert sum(window.sent for window in figures.windows) == len(server.asked)
    assert statuses(figures) == {200: len(server.asked)}
    assert [(window.start_s, window.is_warm_up) for window in figures.windows] == [(0, True), (1, False), (2, False)]
    assert figures.requests is not None
    measured = [window for window in figures.windows if not window.is_warm_up]
    assert len(figures.requests.status) == sum(window.sent for window in measured)
    exact = Counter(round(float(each), 1) for each in figures.requests.latency_ms)
    assert exact == sum((Counter(dict(window.latencies_ms)) for window in measured), Counter[float]())
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.slow
def test_a_lost_worker_makes_the_test_partial_and_the_others_go_on(payload: Path) -> None:
    with serving(OK) as server:
        load = Load("constant", "constant", 40, 6, seed=1)
        with DistributedLoad(workers=2).start(target(server.url), load, payload) as running:
            processes = begun(running)
            running.wait(1.5)
            os.kill(running._workers[0].pid, signal.SIGKILL)
            figures = running.figures()
        assert are_gone(processes)
    assert figures.partial == "1 of the load generator's workers were lost"
    assert 19 <= figures.windows[-1].sent <= 21, "half the rate is left"


@pytest.mark.slow
def test_the_master_listens_where_it_is_told_to_alone(payload: Path) -> None:
    with serving(OK) as server, DistributedLoad(workers=1).start(target(server.url), poisson(30), payload) as running:
        listening = [
            connection.laddr
            for each in begun(running)
            for connection in each.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        running.stop("enough")
        assert running.figures().partial == "enough"


@pytest.mark.slow
def test_workers_that_do_not_join_are_not_waited_for_without_end(payload: Path) -> None:
    children = set(psutil.Process().children())
    engine = DistributedLoad(workers=2, local_workers=1, join_s=4)
    with engine.start(target(NOBODY), poisson(5), payload) as running:
        assert (running.progress().phase or "").startswith(
            "waiting up to 4s for 1 worker; start each with DEPLOYER_LOAD_KEY="
        )
        with pytest.raises(PlatformError, match="Gave up waiting for workers"):
            running.figures()
    assert set(psutil.Process().children()) <= children


@pytest.mark.slow
def test_who_waits_for_workers_may_stop_it(payload: Path) -> None:
    engine = DistributedLoad(workers=1, local_workers=0, join_s=60)
    with engine.start(target(NOBODY), poisson(5), payload) as running:
        processes = begun(running)
        assert not running.wait(0.1)
        running.stop("interrupted")
        figures = running.figures()
    assert are_gone(processes)
    assert (figures.partial, figures.windows) == ("interrupted", ())


@pytest.mark.slow
def test_every_kind_of_failure_has_its_number(payload: Path) -> None:
    answers = [
        reply(200, {}),
        reply(401, {}),
        reply(429, {"error": "Too many pending requests"}),
        reply(429, {"error": "Rate-limiting: too many requests a second"}),
        reply(503, {}),
        b"",
    ]
    turn = iter(range(10**6))
    with serving(lambda sock, _: sock.sendall(answers[next(turn) % 6])) as server:
        with LocalLoad().start(target(server.url), poisson(3), payload) as running:
            figures = running.figures()
        found = statuses(figures)
    assert figures.partial is None
    assert set(found) == {200, 401, 429, 1429, 503, 0}
    assert max(found.values()) - min(found.values()) <= 1
    assert sum(found.values()) == len(server.asked)


@pytest.mark.slow
def test_nobody_answers(payload: Path) -> None:
    with LocalLoad().start(target(NOBODY), poisson(2), payload) as running:
        figures = running.figures()
    assert set(statuses(figures)) == {0}
    assert not any(window.latencies_ms for window in figures.windows)


@pytest.mark.slow
def test_a_target_that_dies_in_the_middle_leaves_its_answers_and_then_none(payload: Path) -> None:
    turn = iter(range(10**6))
    with (
        serving(lambda sock, _: sock.sendall(reply(200, {}) if next(turn) < 40 else b"")) as server,
        LocalLoad().start(target(server.url), poisson(5, rps=20), payload) as running,
    ):
        figures = running.figures()
    assert figures.partial is None
    assert statuses(figures)[200] == 40
    assert set(figures.windows[0].statuses) == {200}
    assert set(figures.windows[-1].statuses) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_test_that_is_stopped_keeps_what_was_seen(payload: Path, processes: int) -> None:
    with serving(OK) as server:
        with LocalLoad().start(target(server.url), poisson(60, processes=processes), payload) as running:
            started = begun(running)
            until(lambda: sum(window.sent for window in running.progress().windows) > 50)
            assert running.progress().partial == "running"
            running.stop("interrupted by SIGINT")
            running.stop("again")
            figures = running.figures()
        assert are_gone(started)
    assert figures.partial == "interrupted by SIGINT"
    assert len(server.asked) - 5 <= sum(window.sent for window in figures.windows) <= len(server.asked)


@pytest.mark.slow
def test_a_generator_that_is_killed_or_hangs_leaves_what_it_recorded(
    payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SILENT_S", 2.0)
    monkeypatch.setattr(process, "STOP_S", 0.5)
    for number, said in ((signal.SIGKILL, "ended by itself (exit code -9)"), (signal.SIGSTOP, "generator hung")):
        with serving(OK) as server, LocalLoad().start(target(server.url), poisson(60), payload) as running:
            until(lambda: sum(window.sent for window in running.progress().windows) > 20)
            os.kill(running._process.pid, number)
            figures = running.figures()
        assert said in (figures.partial or "")
        assert statuses(figures)[200] > 20


@pytest.mark.slow
def test_a_rate_that_no_machine_sends_is_given_up_soon(payload: Path) -> None:
    asked = Load("poisson", "constant", 1e6, 60, warm_up_s=60, in_flight=8)
    with serving(OK) as server, LocalLoad().start(target(server.url), asked, payload) as running:
        until(lambda: running.wait(1.0), 60)
        figures = running.figures()
    assert (figures.health.problem or "").startswith("requests were sent up to 10")
    assert 0 < sum(window.sent for window in figures.windows) < 20e6


@pytest.mark.slow
def test_workers_die_with_a_parent_that_is_killed(payload: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from deployer.loadgen.local import LocalLoad, arguments_of\n"
        "from deployer.loadtest.figures import Load; from deployer.ports.platform import ScoringTarget\n"
        "load = Load('poisson', 'constant', 40, 60, processes=2)\n"
        "with LocalLoad().start(ScoringTarget(sys.argv[1], {}), load, Path(sys.argv[2])) as running:\n"
        "    print(running._process.pid, flush=True); running.wait(60)"
    )
    command = [sys.executable, "-c", program]
    with serving(OK) as server:
        with subprocess.Popen([*command, server.url, str(payload)], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            master = psutil.Process(int(parent.stdout.readline()))
            processes = [master, *master.children(True)]
            parent.kill()
        assert len(processes) == 3
        until(lambda: are_gone(processes), within_s=10)


def test_a_rate_that_was_not_reached_is_a_problem() -> None:
    asked = Load("poisson", "constant", 40, 9, warm_up_s=1)
    assert process._missing(asked, 400 - 6 * 20) is None
    assert process._missing(asked, 270) == "270 requests were sent, about 400 were asked for"
    assert process._missing(replace(asked, shape="stages:5s@1"), 0) is None
    assert process._missing(replace(asked, arrivals="closed"), 0) is None


def test_health_is_the_generators_lag_and_its_busy_seconds() -> None:
    assert process._problem(50, 90, 3) is None
    assert "up to 51 ms late, and 3 found no free slot for it" in (process._problem(51, 0, 3) or "")
    assert "used 91 % of a core" in (process._problem(1, 91, 0) or "")
    assert Ranked(Counter([100, *[10] * 9])).at(process.BUSY_SHARE) == 10


@pytest.mark.slow
def test_a_generator_that_is_too_slow_says_so(payload: Path) -> None:
    with serving(OK) as server, LocalLoad().start(target(server.url), poisson(4), payload) as running:
        until(lambda: len(server.asked) > 20)
        os.kill(running._process.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(running._process.pid, signal.SIGCONT)
        figures = running.figures()
    assert "this machine is too busy" in (figures.health.problem or "")
    assert figures.health.lag_p99_ms > 500


@pytest.mark.slow
def test_a_new_token_is_sent_from_about_the_next_second_on(payload: Path) -> None:
    with serving(OK) as server, LocalLoad().start(target(server.url), poisson(30), payload) as running:
        until(lambda: len(server.asked) > 10)
        running.renew(target(server.url, "renewed"))
        until(lambda: server.asked[-1].headers["authorization"] == "Bearer renewed")
        running.stop("enough")


@pytest.mark.slow
def test_a_closed_loop_keeps_as_many_in_flight_as_asked(payload: Path) -> None:
    busy, most = 0, 0

    def slowly(sock: socket.socket, _asked: Asked) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        time.sleep(0.05)
        busy -= 1
        sock.sendall(reply(200, {}))

    with serving(slowly) as server:
        load = Load("closed", "closed", 0, 2, concurrency=3)
        with LocalLoad().start(target(server.url), load, payload) as running:
            figures = running.figures()
    assert most == 3
    assert figures.partial is None
    assert statuses(figures)[200] > 30


@pytest.mark.slow
def test_arrivals_are_repeated_from_a_parquet_recording(payload: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = [1.0, 1.1, 1.5, 2.6, 30.0]
    micros = pa.array([round(t * 1e6) for t in times], pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"timestamp": micros}), tmp_path / "trace.parquet")
    load = Load("replay", "constant", 0, 2, replay=str(tmp_path / "trace.parquet"))
    with serving(OK) as server, LocalLoad().start(target(server.url), load, payload, keep_requests=True) as running:
        figures = running.figures()
    assert figures.requests is not None
    assert figures.requests.arrival_s.tolist() == pytest.approx([0, 0.1, 0.5, 1.6])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("none.json", None, "No such file", marks=pytest.mark.slow),
        pytest.param("empty.json", "", "holds no request", marks=pytest.mark.slow),
        ("odd.schema.json", '{"type": "string", "pattern": "a"}', "give samples instead"),
    ],
)
def test_a_payload_that_cannot_be_sent_is_said_before_anything_is(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with (
        pytest.raises(PlatformError, match=said),
        LocalLoad().start(target(NOBODY), poisson(5), tmp_path / name),
    ):
        pytest.fail("it started")
    assert not [child for child in psutil.Process().children() if "locust" in " ".join(child.cmdline())]


def test_a_generator_that_gave_up_is_not_believed_whatever_its_lag_was_until_then(tmp_path: Path) -> None:
    line = '{"sent": 6000, "run_lag_p99_ms": 1.0, "cpu_pct": 5.0, "in_flight": 0, "gave_up": 1}'
    said = subprocess.Popen(
        [sys.executable, "-c", f"print({line!r})"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with contextlib.closing(SecretFile(target(NOBODY))) as secret:
        spike = replace(poisson(10.0), shape="spike:5x,at=3s,for=2s")
        running = LocustTest(said, spike, tmp_path, secret, target(NOBODY), keep_requests=False)
        figures = running.figures()
        running.stop("over")
    assert figures.health.problem is not None
    assert "gave up" in figures.health.problem
