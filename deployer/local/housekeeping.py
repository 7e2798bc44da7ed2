"""What is due now and then: bounded logs, a ballast, and writes that a full disk refused."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from deployer.errors import TransientError
from deployer.local.endpoint import Endpoint
from deployer.local.layout import Layout, keep_ballast
from deployer.local.logs import cap_logs
from deployer.local.traffic import Traffic

_EVERY_S = 1.0
_log = logging.getLogger(__name__)


async def keep_house(layout: Layout, endpoint: Endpoint, traffic: Traffic) -> None:
    """Do it every second until cancelled."""
    while True:
        try:
            endpoint.plane.flush()
            cap_logs(layout.logs)
            keep_ballast(layout)
            with suppress(TransientError):  # no Envoy, no new lines
                await traffic.rotate(endpoint.plane.router)
        except OSError as exc:
            _log.warning("housekeeping: %s", exc)
        await asyncio.sleep(_EVERY_S)
