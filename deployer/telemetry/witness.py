"""A witness without delay: requests of our own to each deployment alone, at every look.

Azure's telemetry is minutes late. A candidate that stopped answering is seen here at once: then nothing the log still
says of better times may pass it. Nothing here fails a candidate; that is for the evidence of users' requests.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from deployer.errors import PlatformError
from deployer.gate.samples import AnswerClass, Samples
from deployer.ports.telemetry import Telemetry
from deployer.telemetry.kql import WITNESS
from deployer.telemetry.watermark import named

IN_A_ROW = 3
"""So many failed probes of the candidate, one after the other, are a problem: one alone may be a hiccup."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a probe brought."""

    status: int
    """HTTP status."""
    served_by: str | None
    """What the answer says of who gave it: header ``azureml-model-deployment``."""


class Probe(Protocol):
    """Sends one request to one deployment alone."""

    def __call__(self, deployment: str, request_id: str) -> Testimony:
        """Ask ``deployment``, whatever the weights, with ``request_id`` as ``x-ms-client-request-id``. Repeats nothing.

        Raises:
            PlatformError: no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Arms:
    """Who is compared now."""

    candidate: str
    stable: str | None


def witness(telemetry: Telemetry, probe: Probe, arms: Callable[[], Arms | None]) -> Telemetry:
    """Let ``probe`` watch beside ``telemetry``: every fetch asks each arm once, before telemetry is read.

    Args:
        telemetry: what the gate judges by. It leaves these requests out (``kql.WITNESS``).
        probe: sends a request.
        arms: who is compared now; None: nobody yet. May raise ``PlatformError``: then nobody is asked.
    """
    return WitnessedTelemetry(telemetry, probe, arms)


class WitnessedTelemetry:
    """Telemetry beside which a witness stands (implements ``ports.telemetry.Telemetry``).

    While the candidate's last probes all failed and the stable's did not, nothing passes: when telemetry knows of no
    failure of the candidate, it cannot be trusted; when it does, its completeness is withdrawn, so that the gate may
    still fail the candidate by it. Throttled probes (429) testify nothing.
    """

    def __init__(self, telemetry: Telemetry, probe: Probe, arms: Callable[[], Arms | None]) -> None:
        self._telemetry, self._probe, self._arms = telemetry, probe, arms
        self._failed: defaultdict[str, deque[str | None]] = defaultdict(lambda: deque(maxlen=IN_A_ROW))

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Ask each arm once, then read telemetry; see the port. Blocks as long as both probes take.

        Raises:
            TelemetryError: telemetry could not be read.
        """
        against = self._testify()
        samples = self._telemetry.fetch(since, until, block_s=block_s, mirrored=mirrored)
        if against is None:
            return samples
        candidate, what = against
        bad = (AnswerClass.ERROR, AnswerClass.TIMEOUT)
        seen = any(cell.deployment == candidate and cell.answer in bad for cell in samples.cells)
        if seen:
            return replace(samples, complete_until=None)
        return replace(samples, problem="; ".join(filter(None, (samples.problem, what))))

    def _testify(self) -> tuple[str, str] | None:
        """The candidate and what is wrong with it; None: nothing that the stable does not share."""
        try:
            arms = self._arms()
        except PlatformError:
            return None
        if arms is None:
            return None
        for name in (arms.candidate, arms.stable):
            if name is not None:
                self._ask(name)
        candidate = self._failed[arms.candidate]
        if len(candidate) < IN_A_ROW or None in candidate:
            return None
        if arms.stable is not None and not _answers(self._failed[arms.stable]):
            return None
        beside = "" if arms.stable is None else f", {named([arms.stable])} answered"
        what = f"the last {IN_A_ROW} probes of {named([arms.candidate])} failed ({candidate[-1]}){beside}"
        return arms.candidate, what

    def _ask(self, deployment: str) -> None:
        try:
            testimony = self._probe(deployment, f"{WITNESS}{deployment}")
        except PlatformError as exc:
            self._failed[deployment].append(exc.message)
            return
        if testimony.status == 429:
            return
        if testimony.served_by not in (deployment, None):
            self._failed[deployment].append(f"answered by {named([str(testimony.served_by)])}")
        else:
            self._failed[deployment].append(None if 200 <= testimony.status < 300 else f"status {testimony.status}")


def _answers(failed: deque[str | None]) -> bool:
    return not failed or None in failed
