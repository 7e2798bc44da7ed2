"""What is worth telling of a rollout, in words that fit every receiver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from deployer.errors import ExitCode
from deployer.gate.verdict import Verdict
from deployer.manifest.notify import Occasion
from deployer.report.harmless import plain
from deployer.report.words import event_words, step_name
from deployer.rollout.ending import ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import Advanced, Event, GaveUp, Paused, Resumed, Started
from deployer.rollout.model import Phase, Rollout

LINE, TEXT = 120, 1500
"""Characters of a name or a line, and of a reason: what a chat shows. The journal has all of it."""
FINAL = {
    Phase.PROMOTED: Occasion.PROMOTED,
    Phase.ROLLED_BACK: Occasion.ROLLED_BACK,
    Phase.STUCK: Occasion.STUCK,
}
HEADLINES = {
    Occasion.STARTED: "rollout started",
    Occasion.ADVANCED: "rollout went on",
    Occasion.PAUSED: "rollout paused",
    Occasion.RESUMED: "rollout resumed",
    Occasion.PROMOTED: "promoted",
    Occasion.ROLLING_BACK: "rolling back",
    Occasion.ROLLED_BACK: "rolled back",
    Occasion.STUCK: "STUCK: a human must act now",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell. Texts are harmless in a terminal; each format makes them harmless for its receiver."""

    id: str
    """The same for the same event of the same rollout, however often it is sent."""
    occasion: Occasion
    at: datetime
    endpoint: str
    platform: str
    actor: str
    reason: str
    rollout_id: str | None = None
    candidate: str | None = None
    stable: str | None = None
    traffic: str = ""
    step: str = ""
    exit_code: int | None = None

    @property
    def headline(self) -> str:
        """The whole in one line."""
        return f"{self.endpoint}: {HEADLINES[self.occasion]}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and value of what is known besides."""
        version = f"{self.stable or 'nothing'} → {self.candidate}" if self.candidate else ""
        said = (
            ("Version", version),
            ("Traffic", self.traffic),
            ("Step", self.step),
            ("Rollout", self.rollout_id or ""),
            ("Platform", self.platform),
            ("By", self.actor),
        )
        return [(name, value) for name, value in said if value]


def occasion_of(state: Rollout, event: Event) -> Occasion | None:
    """What ``event`` is for those who are told; None: nothing."""
    if state.phase in FINAL:
        return FINAL[state.phase]
    match event:
        case Started():
            return Occasion.STARTED
        case Advanced():
            return Occasion.ADVANCED
        case Paused():
            return Occasion.PAUSED
        case Resumed():
            return Occasion.RESUMED
        case GaveUp():
            return Occasion.ROLLING_BACK
        case _:
            return None


def message_of(
    state: Rollout, event: Event, at: datetime, *, platform: str, actor: str, verdict: Verdict | None = None
) -> Message | None:
    """Make the message about ``event``; None: it is not worth one.

    Args:
        state: after the event.
        event: what happened.
        at: when it was journalled.
        platform: the endpoint's.
        actor: who runs it.
        verdict: the gate's latest, so that what repeats it is told shortly.
    """
    occasion = occasion_of(state, event)
    if occasion is None:
        return None
    plan, done = state.plan, ended(state) if state.phase in FINAL or state.phase is Phase.PAUSED else None
    reason = done.text if done is not None else event_words(state, event, verdict)[1]
    return Message(
        id=_id(plan.rollout_id, occasion, at),
        occasion=occasion,
        at=at,
        endpoint=line(plan.endpoint),
        platform=line(platform),
        actor=line(actor),
        reason=cut(plain(reason), TEXT),
        rollout_id=line(plan.rollout_id),
        candidate=line(plan.candidate),
        stable=line(plan.stable) if plan.stable else None,
        traffic=line(in_words(state.traffic)),
        step=line(step_name(plan, state.step)),
        exit_code=int(done.exit_code) if done is not None else None,
    )


def trouble(
    text: str, at: datetime, *, endpoint: str, platform: str, actor: str, code: ExitCode, state: Rollout | None
) -> Message:
    """Make the message of a run that ended without knowing where traffic stands."""
    rollout_id = line(state.plan.rollout_id) if state is not None else None
    return Message(
        id=_id(rollout_id or endpoint, Occasion.STUCK, at),
        occasion=Occasion.STUCK,
        at=at,
        endpoint=line(endpoint),
        platform=line(platform),
        actor=line(actor),
        reason=cut(plain(text), TEXT),
        rollout_id=rollout_id,
        candidate=line(state.plan.candidate) if state is not None else None,
        stable=line(state.plan.stable) if state is not None and state.plan.stable else None,
        traffic=f"last verified as {line(in_words(state.traffic))}" if state is not None else "",
        exit_code=int(code),
    )


def by_hand(text: str, at: datetime, *, endpoint: str, platform: str, actor: str) -> Message:
    """Make the message of a rollback by hand."""
    return Message(
        id=_id(endpoint, Occasion.ROLLED_BACK, at),
        occasion=Occasion.ROLLED_BACK,
        at=at,
        endpoint=line(endpoint),
        platform=line(platform),
        actor=line(actor),
        reason=cut(plain(text), TEXT),
        exit_code=int(ExitCode.OK),
    )


def _id(of: str, occasion: Occasion, at: datetime) -> str:
    """Name a message by what it is about; it is sent as a header, too, so that nothing else may stand in it."""
    return f"{re.sub('[^A-Za-z0-9._-]', '-', of[:LINE])}.{occasion.value}.{at:%Y%m%dT%H%M%S.%f}"


def line(text: str) -> str:
    """Make ``text`` one short harmless line."""
    return cut(" ".join(plain(text[: 4 * LINE]).split()), LINE)


def cut(text: str, most: int) -> str:
    """Shorten ``text`` visibly."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
