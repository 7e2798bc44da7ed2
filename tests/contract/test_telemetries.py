"""The telemetry contract, on everything that must keep it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.envoy_log import log_line
from doubles.telemetry import ManualClock, MemoryTelemetry
from telemetry_contract import T0, MirroringTelemetryContract

from deployer.errors import TelemetryError, TransientError
from deployer.local.access_log import TrafficLog
from deployer.telemetry.kql import PROBES
from deployer.telemetry.local import LocalTelemetry


class MemoryWorld:
    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.telemetry = MemoryTelemetry(self.clock, lag_s=0.25)
        self.answer = self.telemetry.answer

    def make_partial(self) -> None:
        self.telemetry.problem = "partial: half of the rows"

    def cut_off(self) -> None:
        self.telemetry.error = TelemetryError("no telemetry", hint="Wait a minute.")


class TestMemoryTelemetry(MirroringTelemetryContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


class LocalWorld:
    """A real traffic log over files that are written as Envoy writes them; the platform's client is this object."""

    def __init__(self, home: Path) -> None:
        self.clock = ManualClock(T0)
        self._files = {False: home / "live.log", True: home / "shadow.log"}
        for path in self._files.values():
            path.touch()
        self._log = TrafficLog(
            home / "traffic.duckdb",
            self._files[False],
            self._files[True],
            "digits",
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )
        self._answered: Counter[str] = Counter()
        self._partial = self._cut_off = False
        self.telemetry = LocalTelemetry(self, "digits", self.clock)

    def answer(
        self,
        at: datetime,
        deployment: str | None,
        *,
        code: int = 200,
        model_code: int | None = None,
        ms: int = 10,
        n: int = 1,
        mirrored: bool = False,
        seen: bool = True,
    ) -> None:
        if deployment is not None and code:
            self._answered[deployment] += n
        line = log_line(at, deployment, code=code, ms=ms, model_code=model_code)
        self.write(line * n if seen else "", mirrored=mirrored)

    def write(self, lines: str, *, mirrored: bool = False) -> None:
        with self._files[mirrored].open("a") as file:
            file.write(lines)

    def make_partial(self) -> None:
        with self._files[False].open("a") as file:
            file.write("\0\0\0\0\n")  # what a file system may leave of a line after a power cut

    def cut_off(self) -> None:
        self._cut_off = True

    def query(self, kql: str) -> dict[str, Any]:
        if self._cut_off:
            raise TransientError("the local platform does not answer", hint="Repeat in a second.")
        return self._log.query(kql)

    def counters(self) -> dict[str, Any]:
        if self._cut_off:
            raise TransientError("the local platform does not answer", hint="Repeat in a second.")
        return {
            "epoch": "1",
            "epoch_started_at": "2025-12-31T23:00:00+00:00",
            "at": self.clock.now().isoformat(),
            "answered": {"blue": 0, "green": 0, **self._answered},
        }

    def close(self) -> None:
        self._log.close()


class TestLocalTelemetry(MirroringTelemetryContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[LocalWorld]:
        world = LocalWorld(tmp_path)
        yield world
        world.close()

    def test_our_own_probes_are_not_counted_and_everybody_elses_requests_are(self, world: LocalWorld) -> None:
        ids = ["deployer-smoke", "deployer-warm-up", "deployer-load-7", "users-own", None]
        for name in ids:
            world.write(log_line(T0 + timedelta(seconds=1), "green", client_request_id=name))
        world.clock.advance(10)
        samples = world.telemetry.fetch(T0, T0 + timedelta(seconds=5), block_s=1.0)
        assert sum(cell.n for cell in samples.cells) == len(ids) - len(PROBES)
