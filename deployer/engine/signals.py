"""SIGINT, SIGTERM and SIGHUP: the first one brings traffic back, the same one again leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from deployer.errors import ExitCode


class Signals:
    """Remembers the first signal; installed by ``install``, asked by calling it."""

    def __init__(self, wake: Callable[[], None], insisted: ExitCode = ExitCode.STUCK) -> None:
        self._wake = wake
        self._insisted = insisted
        self._first: signal.Signals | None = None

    def install(self) -> None:
        """Handle them from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and background jobs want it
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first == number:
            # The way back was under way and somebody insists: what traffic does is not verified, so this is "stuck".
            # (Where nothing has to be brought back, its maker says otherwise.)
            os._exit(self._insisted)
        self._first = self._first or signal.Signals(number)
        self._wake()

    def __call__(self) -> str | None:
        """Name of the first signal, such as ``SIGTERM``; None: none came."""
        return self._first.name if self._first else None
