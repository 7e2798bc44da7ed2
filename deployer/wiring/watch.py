"""The witness beside Azure's telemetry: a request of the manifest's own, sent to each arm alone at every look."""

from __future__ import annotations

from http import HTTPStatus

from deployer.engine.http import Answer, ScoringClient
from deployer.manifest.spec import RolloutSpec
from deployer.ports.platform import Platform, ScoringTarget
from deployer.rollout.model import Plan
from deployer.telemetry.witness import Arms, Testimony

LONGEST_S = 10.0
"""A look of the gate waits for both arms."""


class Watch:
    """Knows who is compared, and asks them (a ``telemetry.witness.Probe``)."""

    def __init__(self, platform: Platform, payload: bytes) -> None:
        self._platform = platform
        self._payload = payload
        self._client = ScoringClient()
        self._arms: Arms | None = None

    def see(self, plan: Plan) -> None:
        """Take note of a plan that is about to be carried out."""
        self._arms = Arms(plan.candidate, plan.stable)

    def arms(self) -> Arms | None:
        """Who is compared now; None: no rollout was begun here."""
        return self._arms

    def __call__(self, deployment: str, request_id: str) -> Testimony:
        """Ask ``deployment`` alone, once; again with a new key when the one at hand is refused.

        Raises:
            PlatformError: no answer.
        """
        target = self._platform.scoring_target()
        answer = self._ask(target, deployment, request_id)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            self._platform.invalidate()
            if (renewed := self._platform.scoring_target()) != target:  # the key was changed since it was read
                answer = self._ask(renewed, deployment, request_id)
        return Testimony(answer.status, answer.served_by)

    def _ask(self, target: ScoringTarget, deployment: str, request_id: str) -> Answer:
        return self._client.score(
            target, self._payload, deployment=deployment, request_id=request_id, total_s=LONGEST_S
        )


def watch_for(spec: RolloutSpec, platform: Platform) -> Watch | None:
    """Make a watch that sends what the manifest sends anyway and expects to be answered; None: it sends nothing."""
    manifest = spec.manifest
    sent = [manifest.warmup.request] if manifest.warmup else []
    sent += [smoke.request for smoke in manifest.smoke if smoke.expect.status == 200]
    sent += [manifest.load.request] if manifest.load else []
    return Watch(platform, spec.payloads[sent[0]]) if sent else None
