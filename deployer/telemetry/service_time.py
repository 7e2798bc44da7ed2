"""Telemetry read by Azure's clock, told in ours: a runner whose clock is minutes off sees what any other one sees.

Rows, metrics and watermarks carry Azure's time; the engine's steps and windows carry this machine's, which jumps for
nobody. Between the two lies one number, taken from the ``Date`` of ARM's answers. Where it is small nothing is done;
where it is large the clock itself is wrong, and the gate is blind until somebody sets it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from deployer.cloud.service_clock import MOST_S, ServiceClock, in_words
from deployer.errors import TelemetryError
from deployer.gate.samples import Samples
from deployer.ports.telemetry import Telemetry


class InServiceTime:
    """Telemetry that is asked and answers in our time, of a source that lives in Azure's (implements the port).

    Args:
        telemetry: reads by ``clock``.
        clock: Azure's.
    """

    def __init__(self, telemetry: Telemetry, clock: ServiceClock) -> None:
        self._telemetry, self._clock = telemetry, clock

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read it; see the port.

        Whole blocks are moved, so that blocks stay blocks on both clocks: an answer may be dated up to ``block_s`` too
        early, never too late.

        Raises:
            TelemetryError: it cannot be read, or our clock is off by more than ``MOST_S``.
        """
        ahead_s = self._clock.ahead_s()
        if abs(ahead_s) > MOST_S:
            raise TelemetryError(
                f"{in_words(ahead_s)} Azure's: which answers belong to which step cannot be told",
                hint="Set the clock of this machine (NTP), then go on.",
            )
        moved = timedelta(seconds=ceil(ahead_s / block_s) * block_s)
        samples = self._telemetry.fetch(since + moved, until + moved, block_s=block_s, mirrored=mirrored)
        if not moved:
            return samples
        known = samples.complete_until
        return replace(
            samples,
            cells=tuple(replace(cell, start=cell.start - moved) for cell in samples.cells),
            complete_until=None if known is None else known - moved,
        )
