"""Where the gate sees: exact histograms of answers by block of time, deployment and code."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from deployer.gate.samples import Samples


class Telemetry(Protocol):
    """Telemetry of one endpoint."""

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read every answer whose request ended in [since, until), counted by block, deployment, class and millisecond.

        Idempotent: reading twice counts nothing twice. Partial, late or missing data is said in the result
        (``complete_until``, ``expected``, ``problem``), never filled in.

        Args:
            since: start, aware UTC; blocks are counted from the epoch, so the first one may be cut.
            until: end, aware UTC.
            block_s: length of a block of event time, in seconds.
            mirrored: also read mirrored requests, which users never saw the answers of.

        Raises:
            TelemetryError: nothing could be read. The gate is blind.
        """
        ...
