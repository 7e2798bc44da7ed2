"""Delivers messages to one webhook from a thread of its own: bounded in number, in time and in patience.

A rollout hands a message over and goes on at once. A receiver that hangs for ever costs it nothing but, at its end, the
seconds that ``close`` waits; what could not be delivered is said as a note. The address is in no text of this module.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic

from deployer.engine.http import Answer, Limits, ScoringClient
from deployer.errors import DeployerError
from deployer.manifest.notify import Webhook
from deployer.notify.formats import body_of, signature
from deployer.notify.message import Message
from deployer.ports.clock import Clock
from deployer.ports.platform import ScoringTarget

WAITING = 64
"""Messages that may wait for one receiver; a rollout tells of some ten."""
DEADLINE_S = 120.0
"""How long one message is tried."""
BACKOFF_S, LONGEST_S = 1.0, 30.0
CLOSING_S = 0.5
"""Longest pause between tries while the command waits for its end."""
LIMITS = Limits(connect_s=5.0, read_s=10.0, total_s=15.0, body_bytes=4096)
_RETRIED = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often one message is tried."""

    deadline_s: float = DEADLINE_S
    backoff_s: float = BACKOFF_S
    limits: Limits = LIMITS


class Courier:
    """Delivers to one webhook, in order."""

    def __init__(
        self,
        name: str,
        webhook: Webhook,
        clock: Clock,
        note: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            name: of the webhook in notes, such as ``notify[0] (slack)``.
            webhook: where to, how, signed by what.
            clock: tells the time that is signed.
            note: told what was not delivered; called from the courier's thread.
            patience: how long one message is tried.
        """
        self._name, self._webhook, self._clock, self._note = name, webhook, clock, note
        self._patience = patience or Patience()
        self._client = ScoringClient(self._patience.limits)
        self._parcels: deque[Message] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    def wants(self, message: Message) -> bool:
        """Whether this receiver asked to be told."""
        return message.occasion in self._webhook.events

    def hand(self, message: Message) -> None:
        """Take ``message`` over; returns at once. When too many wait, it is not taken and that is said."""
        with self._changed:
            is_full = len(self._parcels) >= WAITING
            if not is_full:
                self._parcels.append(message)
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver_all, name=f"{self._name} courier", daemon=True)
                self._thread.start()
        if is_full:
            self._note(f"{self._name}: {message.occasion.value} is not told: {WAITING} messages wait already")

    def close(self, until: float) -> None:
        """Wait until everything is delivered, at most until the monotonic time ``until``; say what was not."""
        self._closing.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._parcels and not self._busy, max(until - monotonic(), 0.0))
            left = len(self._parcels) + self._busy
            self._parcels.clear()
            self._closed = True
        if left:
            self._note(f"{self._name}: {left} message{'s' * (left > 1)} not delivered in time, left")

    def _deliver_all(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._parcels))
                message = self._parcels.popleft()
                self._busy = True
            try:
                failure = self._deliver(message)
            except Exception as exc:  # noqa: BLE001 - a thread that dies in silence would tell nothing ever again
                failure = f"internal error: {type(exc).__name__}"
            if failure and not self._closed:
                self._note(f"{self._name}: {message.occasion.value} was not delivered: {failure}")

    def _deliver(self, message: Message) -> str:
        """Deliver, and try again while that may help; return why it failed, or nothing."""
        body = body_of(message, self._webhook.format)
        until = monotonic() + self._patience.deadline_s
        wait_s = self._patience.backoff_s
        while True:
            failure, is_passing, asked_s = self._post(message, body)
            if not failure or not is_passing:
                return failure
            pause_s = min(max(wait_s, asked_s), LONGEST_S)
            if monotonic() + pause_s > until:
                return f"{failure}; given up after {self._patience.deadline_s:g}s"
            if self._closing.is_set():
                threading.Event().wait(min(pause_s, CLOSING_S))
            else:
                self._closing.wait(pause_s)  # the end of the command is no time to wait: what is due is tried at once
            wait_s *= 2

    def _post(self, message: Message, body: bytes) -> tuple[str, bool, float]:
        """Post once: why it failed (empty: it did not), whether to try again, and after how long."""
        key = self._webhook.key
        headers = signature(key, message.id, self._clock.now(), body) if key else {}
        target = ScoringTarget(self._webhook.webhook.get_secret_value(), headers)
        try:
            answer = self._client.score(target, body)
        except DeployerError as exc:  # its text quotes the address, which is a secret
            return f"no answer ({type(exc).__name__.removesuffix('Error').lower()})", True, 0.0
        if 200 <= answer.status < 300:
            return "", False, 0.0
        if 300 <= answer.status < 400:
            return f"HTTP {answer.status}: redirects are not followed", False, 0.0
        passing = answer.status >= 500 or answer.status in _RETRIED
        return f"HTTP {answer.status}", passing, _retry_after(answer)


def _retry_after(answer: Answer) -> float:
    try:
        return max(float(answer.headers.get("retry-after", "0")), 0.0)
    except ValueError:
        return 0.0
