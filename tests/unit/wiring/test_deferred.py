"""Telemetry whose place is read from Azure when it is first asked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from doubles.telemetry import ManualClock, MemoryTelemetry

from deployer.errors import TelemetryError, TransientError
from deployer.ports.telemetry import Telemetry
from deployer.wiring.azure import Deferred

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_momentary_failure_to_find_its_place_blinds_for_that_moment_only() -> None:
    places: list[Telemetry | None] = [None, MemoryTelemetry(ManualClock(NOW))]

    def make() -> Telemetry:
        place = places.pop(0)
        if place is None:
            raise TransientError("GET workspaces/w: 503", hint="Wait.")
        return place

    deferred = Deferred(make)
    with pytest.raises(TelemetryError, match="503"):
        deferred.fetch(NOW, NOW, block_s=10)
    assert deferred.fetch(NOW, NOW, block_s=10).problem is None
    assert deferred.fetch(NOW, NOW, block_s=10).problem is None
    assert places == []
