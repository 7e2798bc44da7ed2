"""One load test as the engine runs it: aimed right, asked once before, ended when it is pointless, always kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from doubles.memory import MemoryPlatform
from windows import run, steady, window

from deployer.engine.loadtest import Aim, Asked, aim, first_request, pointless, run_test
from deployer.engine.site import Site
from deployer.errors import (
    DeniedError,
    DeployerError,
    NotFoundError,
    PlanError,
    PlatformError,
    TransientError,
    UsageError,
)
from deployer.loadtest.figures import Figures, Load, Window
from deployer.ports.platform import DeploymentSpec, ScoringTarget

NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
LOAD = Load("poisson", "constant", 10.0, 60.0, timeout_s=5.0)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Scene:
    """An endpoint in memory, a scoring server that answers as it is told, and a load generator that plays windows."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.signal: str | None = None
        self.platform = MemoryPlatform("digits", self.clock)
        self.site = Site("digits", self.platform, None, None, self.clock, "me", lambda: self.signal)  # type: ignore[arg-type]
        self.payload = folder / "body.json"
        self.payload.write_text("[1]")
        self.notes: list[str] = []

    def deploy(self, *, traffic: int = 100, ready: bool = True) -> None:
        self.platform.ensure_endpoint({"name": "digits"})
        self.platform.ready_after_s = 0.0 if ready else 1000.0
        self.platform.create_deployment(DeploymentSpec("blue", {}, Path(), "1" * 64))
        if traffic:
            self.platform.set_traffic({"blue": traffic}, {})

    def asked(self, deployment: str | None = None) -> Asked:
        return Asked(LOAD, self.payload, deployment)

    def first(self, url: str, key: str = "k") -> Aim:
        aimed = Aim(ScoringTarget(url, {"Authorization": f"Bearer {key}"}), {"blue": 100})
        return first_request(self.site, aimed, self.asked(), lambda status: f"meaning of {status}", self.notes.append)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# ---- the target


def test_an_endpoint_that_is_not_there_is_named_with_the_next_step(scene: Scene) -> None:
    with pytest.raises(UsageError, match="no endpoint digits") as caught:
        aim(scene.site, None, during_rollout=False)
    assert "deployer rollout" in caught.value.hint


def test_an_endpoint_without_traffic_is_refused(scene: Scene) -> None:
    scene.deploy(traffic=0)
    with pytest.raises(PlanError, match="no deployment of digits has traffic"):
        aim(scene.site, None, during_rollout=False)
    assert aim(scene.site, "blue", during_rollout=False).target.headers["azureml-model-deployment"] == "blue"


def test_only_deployments_of_the_endpoint_are_loaded(scene: Scene) -> None:
    scene.deploy()
    with pytest.raises(UsageError, match="digits has no deployment green") as caught:
        aim(scene.site, "green", during_rollout=False)
    assert caught.value.hint == "Name one of: blue."
    aimed = aim(scene.site, None, during_rollout=False)
    assert "azureml-model-deployment" not in aimed.target.headers
    assert aimed.traffic == {"blue": 100}


def test_a_deployment_that_is_not_ready_is_refused(scene: Scene) -> None:
    scene.deploy(traffic=0, ready=False)
    with pytest.raises(PlanError, match="blue is creating"):
        aim(scene.site, "blue", during_rollout=False)


def test_a_rollout_under_way_is_not_disturbed_unless_it_is_wanted(scene: Scene) -> None:
    scene.deploy()
    scene.platform.set_tags(MARKS)
    with pytest.raises(PlanError, match="rollout r1 of digits is under way") as caught:
        aim(scene.site, None, during_rollout=False)
    assert "--during-rollout" in caught.value.hint
    assert aim(scene.site, None, during_rollout=True).traffic == {"blue": 100}


MARKS = {
    "deployer.rollout": "r1",
    "deployer.phase": "shifting:1",
    "deployer.roles": "green|2|blue|1",
    "deployer.digest": "0" * 64,
}


# ---- the first request


@contextlib.contextmanager
def server(*statuses: int) -> Iterator[tuple[str, list[Any]]]:
    """Answers with these statuses in turn, the last one for ever; gives its address and what it was sent."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.headers["Authorization"], body))
            status = statuses[min(len(seen), len(statuses)) - 1]
            answer = b"it is so"
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{served.server_port}/score", seen
        finally:
            served.shutdown()


@pytest.mark.parametrize(
    ("status", "error", "next_step"),
    [
        (401, DeniedError, "key or your right"),
        (403, DeniedError, "key or your right"),
        (404, NotFoundError, "deployer status"),
        (400, UsageError, "--payload"),
        (422, UsageError, "--payload"),
        (302, UsageError, "--payload"),
    ],
)
def test_what_can_never_work_is_said_before_any_load(
    scene: Scene, status: int, error: type[DeployerError], next_step: str
) -> None:
    scene.deploy()
    with server(status) as (url, seen):
        scene.platform.scoring_target = lambda: ScoringTarget(url, {"Authorization": "Bearer k"})  # type: ignore[method-assign]
        with pytest.raises(error) as caught:
            scene.first(url)
    assert caught.value.message == f"the first request was answered with {status} (meaning of {status}): it is so"
    assert next_step in caught.value.hint
    assert "no load was sent" in caught.value.hint
    assert len(seen) == (2 if status in (401, 403) else 1)


def test_a_key_that_was_changed_is_read_anew(scene: Scene) -> None:
    scene.deploy()
    with server(401, 200) as (url, seen):
        fresh = ScoringTarget(url, {"Authorization": "Bearer new"})
        scene.platform.scoring_target = lambda: fresh  # type: ignore[method-assign]
        assert scene.first(url, key="old").target == fresh
    assert [key for key, _ in seen] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("status", [408, 424, 429, 500, 503])
def test_a_failure_of_the_model_is_what_a_load_test_is_for(scene: Scene, status: int) -> None:
    with server(status) as (url, _):
        scene.first(url)
    assert scene.notes == [f"the first request was answered with {status} (meaning of {status}): it is so"]


def test_nobody_at_the_address_is_said(scene: Scene) -> None:
    with server(200) as (url, _):
        pass
    with pytest.raises(TransientError, match="not reached"):
        scene.first(url)


def test_the_first_line_of_many_requests_is_sent_and_a_schema_is_not(scene: Scene, tmp_path: Path) -> None:
    with server(200) as (url, seen):
        scene.payload = tmp_path / "many.jsonl"
        scene.payload.write_text("\n[1]\n[2]\n")
        scene.first(url)
        scene.payload = tmp_path / "body.schema.json"
        scene.payload.write_text('{"type": "object"}')
        scene.first(url)
    assert [body for _, body in seen] == [b"[1]", b"{}"]
    with server(400) as (url, _):
        scene.first(url)  # what is drawn from the schema may well be accepted


# ---- the run


class Playing:
    """A load generator that sees one more window each second."""

    def __init__(self, scene: Scene, windows: tuple[Window, ...], signal_at: int | None = None) -> None:
        self.scene, self.windows, self.signal_at = scene, windows, signal_at
        self.second = 0
        self.why: str | None = None
        self.is_left = False
        self.renewed: list[ScoringTarget] = []
        self.refuses_renewal = False
        self.pace = 1

    @contextlib.contextmanager
    def start(self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False) -> Iterator[Any]:
        self.target = target
        try:
            yield self
        finally:
            self.is_left = True

    def wait(self, seconds: float) -> bool:
        self.scene.clock.sleep(seconds * self.pace)
        self.second += 1
        if self.second == self.signal_at:
            self.scene.signal = "SIGINT"
        return self.second >= len(self.windows)

    def progress(self) -> Figures:
        return run(self.windows[: self.second], partial="running")

    def stop(self, why: str) -> None:
        self.why = why

    def renew(self, target: ScoringTarget) -> None:
        if self.refuses_renewal:
            raise PlatformError("not here", hint="Use a key.")
        self.renewed.append(target)

    def figures(self) -> Figures:
        return run(self.windows[: self.second], partial=self.why)


TARGET = ScoringTarget("http://127.0.0.1:1/score", {"Authorization": "Bearer k"})


def play(scene: Scene, playing: Playing) -> Figures:
    shown: list[Figures] = []
    figures = run_test(scene.site, playing, TARGET, scene.asked(), shown.append)
    assert playing.is_left
    assert all(each.partial for each in shown)
    return figures


def test_a_run_goes_to_its_end(scene: Scene) -> None:
    figures = play(scene, Playing(scene, steady(30, {10.0: 10})))
    assert (figures.partial, len(figures.windows)) == (None, 30)


def test_a_signal_ends_it_and_what_was_seen_is_kept(scene: Scene) -> None:
    figures = play(scene, Playing(scene, steady(30, {10.0: 10}), signal_at=7))
    assert (figures.partial, len(figures.windows)) == ("interrupted by SIGINT", 7)


def test_an_endpoint_that_dies_ends_it(scene: Scene) -> None:
    figures = play(scene, Playing(scene, (*steady(20, {10.0: 10}), *steady(60, {}, {0: 10}, start_s=20.0))))
    assert figures.partial is not None
    assert "the endpoint stopped answering 20s after the start: no answer to the last 100 requests" in figures.partial
    assert len(figures.windows) == 30


def test_a_key_that_runs_out_ends_it(scene: Scene) -> None:
    figures = play(scene, Playing(scene, (*steady(20, {10.0: 10}), *steady(60, {}, {401: 10}, start_s=20.0))))
    assert figures.partial == "the endpoint refuses the key since 20s after the start: it ran out or was changed"


def test_one_answer_now_and_then_is_no_reason_to_end(scene: Scene) -> None:
    hardly = tuple(window({10.0: 1} if second % 9 == 0 else {}, {0: 10}, start_s=second) for second in range(60))
    assert play(scene, Playing(scene, hardly)).partial is None
    assert pointless(run(steady(9, {}, {0: 100}))) is None
    assert pointless(run(steady(15, {}, {0: 1}))) is None
    assert pointless(run(steady(25, {}, {0: 1}))) is not None
    assert pointless(run(())) is None


def test_a_token_is_renewed_before_it_runs_out(scene: Scene) -> None:
    scene.deploy()
    fresh = replace(TARGET, headers={"Authorization": "Bearer new"})
    scene.platform.scoring_target = lambda: fresh  # type: ignore[method-assign]
    playing = Playing(scene, steady(30, {10.0: 1}))
    playing.pace = 60
    play(scene, playing)
    assert playing.renewed == [fresh]
    refusing = Playing(scene, steady(20, {10.0: 1}))
    refusing.pace = 60
    refusing.refuses_renewal = True
    assert play(scene, refusing).partial is None
