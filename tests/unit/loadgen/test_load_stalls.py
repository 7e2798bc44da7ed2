"""What an endpoint still owes when a load test is ended is in its figures, with how long it was waited for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from deployer.loadgen.local import LocalLoad
from deployer.loadgen.tally import ENTRY, UNFINISHED, Tally
from deployer.loadtest.figures import Health, Load
from deployer.ports.platform import ScoringTarget
from tests.unit.engine.scripted import reply, serving


def test_what_had_no_answer_is_counted_by_how_long_it_had_waited() -> None:
    tally = Tally(Load("poisson", "constant", 10.0, 60.0), keep_requests=True)
    tally.add(np.array([(0.1, 12.0, 200), (0.2, 1800.04, UNFINISHED), (1.5, 500.0, UNFINISHED)], ENTRY).tobytes())
    figures = tally.figures(datetime(2026, 11, 26, tzinfo=UTC), Health(1.0, 10.0), "interrupted")
    assert [(each.sent, dict(each.statuses), dict(each.waiting_ms)) for each in figures.windows] == [
        (2, {200: 1}, {1800.0: 1}),
        (1, {}, {500.0: 1}),
    ]
    assert figures.requests is not None
    assert figures.requests.status.tolist() == [200]


@pytest.mark.slow
def test_a_server_that_stalls_until_somebody_ends_the_test_is_caught(tmp_path: Path) -> None:
    payload = tmp_path / "one.json"
    payload.write_bytes(b"{}")
    turn, over = iter(range(10**6)), threading.Event()

    def answer(sock: object, _: object) -> None:
        if next(turn) >= 40:
            over.wait(30)
        sock.sendall(reply(200, {}))  # type: ignore[attr-defined]

    asked = Load("poisson", "constant", 20.0, 60.0)
    with (
        serving(answer) as server,
        LocalLoad().start(ScoringTarget(server.url, {}), asked, payload) as running,
    ):
        while sum(window.sent for window in running.progress().windows) < 80:
            time.sleep(0.1)
        running.stop("interrupted by SIGINT")
        figures = running.figures()
        over.set()
    waited = [ms for window in figures.windows for ms in window.waiting_ms]
    assert len(waited) >= 30
    assert max(waited) > 1500.0
