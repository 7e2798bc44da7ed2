"""Listens to a rollout and has its webhooks told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from types import TracebackType

from deployer.errors import DeployerError, ExitCode
from deployer.gate.verdict import Verdict
from deployer.manifest.notify import Webhook
from deployer.notify.aside import Aside
from deployer.notify.courier import Courier, Patience
from deployer.notify.message import Message, by_hand, message_of, trouble
from deployer.ports.clock import Clock
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.events import Event, Judged
from deployer.rollout.model import Rollout

FLUSH_S = 3.0
"""How long the end of a command may wait for its messages."""


class Notifier(Quiet):
    """Tells every webhook that asked for it. Leaving it waits up to FLUSH_S for what is not delivered yet."""

    def __init__(
        self,
        webhooks: Callable[[], Sequence[Webhook]],
        *,
        endpoint: str,
        platform: str,
        actor: str,
        clock: Clock,
        note: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        """Say who is told.

        Args:
            webhooks: finds them as the manifest lists them, when there is something to tell and no sooner, in a thread:
                a rollback waits for nothing. Those without an address are left out.
            endpoint: that is rolled out to.
            platform: its platform's word.
            actor: who runs the command.
            clock: tells the time.
            note: told what could not be delivered; called from any thread.
            patience: how long a message is tried.
        """
        self._endpoint, self._platform, self._actor, self._clock = endpoint, platform, actor, clock
        self._webhooks, self._note, self._patience = webhooks, note, patience
        self._couriers = Aside(self._find, self._failed, "webhooks")
        self._found: Sequence[Courier] = ()
        self._state: Rollout | None = None
        self._verdict: Verdict | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Tell of an error that leaves traffic unknown, and wait a little for what is under way."""
        if isinstance(error, Exception):
            self._tell_error(error)
        until = monotonic() + FLUSH_S
        if not self._couriers.finish(until):
            self._note("nobody else is told: the webhooks could not be found in time, left")
        for courier in self._found:
            courier.close(until)

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Have the event told, if it is worth it."""
        self._state = state
        message = message_of(state, event, at, platform=self._platform, actor=self._actor, verdict=self._verdict)
        if isinstance(event, Judged):
            self._verdict = event.verdict
        if message is not None:
            self.tell(message)

    def on_done(self, done: Ended) -> None:
        """Tell of a rollback by hand: it has no events."""
        if done.state is None and done.exit_code is ExitCode.OK and done.text.startswith("rolled back"):
            now = self._clock.now()
            self.tell(by_hand(done.text, now, endpoint=self._endpoint, platform=self._platform, actor=self._actor))

    def tell(self, message: Message) -> None:
        """Have ``message`` handed over to every courier whose receiver wants it; returns at once."""
        if not self._couriers.hand(lambda couriers: _hand(couriers, message)):
            self._note(f"{message.occasion.value} is not told: the webhooks are not found yet")

    def _find(self) -> Sequence[Courier]:
        named = [(f"notify[{place}] ({each.format.value})", each) for place, each in enumerate(self._webhooks())]
        self._found = [
            Courier(name, each, self._clock, self._note, self._patience) for name, each in named if each.is_on
        ]
        return self._found

    def _failed(self, kind: str) -> None:
        self._note(f"nobody else is told: internal error: {kind}")

    def _tell_error(self, error: Exception) -> None:
        is_known = isinstance(error, DeployerError)
        code = error.exit_code if isinstance(error, DeployerError) else ExitCode.BUG
        if code not in (ExitCode.STUCK, ExitCode.BUG):
            return
        text = f"{error.message} {error.hint}" if is_known else f"internal error: {type(error).__name__}"
        self.tell(
            trouble(
                text,
                self._clock.now(),
                endpoint=self._endpoint,
                platform=self._platform,
                actor=self._actor,
                code=code,
                state=self._state,
            )
        )


def _hand(couriers: Sequence[Courier], message: Message) -> None:
    for courier in couriers:
        if courier.wants(message):
            courier.hand(message)
