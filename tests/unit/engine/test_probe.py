"""A probe whose key was changed since it was read."""

from __future__ import annotations

import socket

from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock

from deployer.engine.probe import HttpProbe
from deployer.manifest.schema import Manifest, Smoke, WarmUp
from deployer.ports.platform import ScoringTarget
from tests.unit.engine.scripted import Asked, reply, serving


class Rekeyed(MemoryPlatform):
    """Its key was changed; the old one is known until somebody says that it was refused."""

    url = ""
    key = "old"
    newest = "new"

    def scoring_target(self) -> ScoringTarget:
        return ScoringTarget(self.url, {"Authorization": f"Bearer {self.key}"})

    def invalidate(self) -> None:
        super().invalidate()
        self.key = self.newest


def door(sock: socket.socket, asked: Asked) -> None:
    is_known = asked.headers.get("authorization") == "Bearer new"
    sock.sendall(reply(200, {"ok": 1}, by="green") if is_known else reply(401, {"error": "key"}))


MANIFEST = Manifest.model_construct(
    smoke=[Smoke.model_validate({"request": "a.json"})],
    warmup=WarmUp.model_validate({"requests": 3, "request": "a.json"}),
)


def probe(platform: Rekeyed) -> HttpProbe:
    return HttpProbe(platform, MANIFEST, {"a.json": b"{}"}, {}, lambda: False)


def test_a_smoke_test_whose_key_is_refused_reads_the_key_anew() -> None:
    platform = Rekeyed("digits", ManualClock())
    with serving(door) as server:
        platform.url = server.url
        assert probe(platform).smoke("green").passed
    assert (platform.calls.count("invalidate"), len(server.asked)) == (1, 2)


def test_a_warm_up_whose_key_is_refused_reads_the_key_anew() -> None:
    platform = Rekeyed("digits", ManualClock())
    with serving(door) as server:
        platform.url = server.url
        assert probe(platform).warm_up("green", instances=1, workers=1).passed
    assert platform.calls.count("invalidate") == 1


def test_a_key_that_stays_refused_fails_the_test_at_the_second_try() -> None:
    platform = Rekeyed("digits", ManualClock())
    platform.newest = "old"
    with serving(door) as server:
        platform.url = server.url
        assert not probe(platform).smoke("green").passed
        asked = len(server.asked)
        assert not probe(platform).warm_up("green", instances=1, workers=1).passed
    assert (asked, len(server.asked)) == (2, 5)
