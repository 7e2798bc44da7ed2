"""SIGINT, SIGTERM and SIGHUP: the first one brings traffic back, the same one again leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from deployer.errors import ExitCode

LAST_WORDS = "what traffic does is not verified; see `deployer status`, run `deployer rollback`"


class Signals:
    """Remembers the first signal; installed by ``install``, asked by calling it."""

    def __init__(
        self, wake: Callable[[], None], insisted: ExitCode = ExitCode.STUCK, last_words: str = LAST_WORDS
    ) -> None:
        self._wake = wake
        self._insisted = insisted
        self._last_words = f"\nleft at once: {last_words}\n".encode()
        self._first: signal.Signals | None = None

    def saying(self, last_words: str) -> Signals:
        """The same, not installed, with other words for who insists."""
        return Signals(self._wake, self._insisted, last_words)

    def install(self) -> None:
        """Handle them from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and background jobs want it
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first == number:
            # The way back was under way and somebody insists: what traffic does is not verified, so this is "stuck".
            # (Where nothing has to be brought back, its maker says otherwise.)
            with suppress(OSError):
                os.write(2, self._last_words)
            os._exit(self._insisted)
        self._first = self._first or signal.Signals(number)
        self._wake()

    def __call__(self) -> str | None:
        """Name of the first signal, such as ``SIGTERM``; None: none came."""
        return self._first.name if self._first else None
