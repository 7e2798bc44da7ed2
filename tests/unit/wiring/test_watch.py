"""The witness whose key was changed since it was read."""

from __future__ import annotations

import socket

import pytest
from doubles.telemetry import ManualClock

from deployer.wiring.watch import Watch
from tests.unit.engine.scripted import Asked, reply, serving
from tests.unit.engine.test_probe import Rekeyed


@pytest.mark.parametrize(("key", "status", "asked"), [("Bearer new", 200, 2), ("Bearer third", 401, 2)])
def test_a_refused_key_is_read_anew_once(key: str, status: int, asked: int) -> None:
    platform = Rekeyed("digits", ManualClock())

    def door(sock: socket.socket, request: Asked) -> None:
        is_known = request.headers.get("authorization") == key
        sock.sendall(reply(200, {"ok": 1}, by="green") if is_known else reply(401, {"error": "key"}))

    with serving(door) as server:
        platform.url = server.url
        testimony = Watch(platform, b"{}")("green", "deployer-witness-green")
    assert (testimony.status, len(server.asked)) == (status, asked)
    assert platform.calls.count("invalidate") == 1


def test_a_key_that_is_the_same_again_is_not_tried_twice() -> None:
    platform = Rekeyed("digits", ManualClock())
    platform.newest = platform.key
    with serving(lambda sock, _: sock.sendall(reply(401, {"error": "key"}))) as server:
        platform.url = server.url
        assert Watch(platform, b"{}")("green", "deployer-witness-green").status == 401
    assert len(server.asked) == 1
