"""Smoke and warm-up as the engine asks for them: bound to a client, an endpoint and a manifest's samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from deployer.engine.http import ScoringClient
from deployer.engine.smoke import SmokeReport, WarmUpReport, run_smoke, warm_up
from deployer.manifest.schema import Manifest, WarmUp
from deployer.ports.platform import Platform, ScoringTarget


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of asking a deployment alone."""

    passed: bool
    text: str
    """One line: what was sent, and the first thing that was wrong."""
    stopped: bool = False
    """A signal ended it early: nothing is proven."""


class Probe(Protocol):
    """Asks one deployment alone, before users do."""

    def smoke(self, name: str) -> Probed:
        """Send the smoke requests once each."""
        ...

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        """Send the warm-up requests to every instance."""
        ...


class HttpProbe:
    """The probe that really sends requests."""

    def __init__(
        self,
        platform: Platform,
        manifest: Manifest,
        payloads: Mapping[str, bytes],
        schemas: Mapping[str, dict[str, Any]],
        should_stop: Callable[[], bool],
        explain: Callable[[int], str] = lambda _: "",
    ) -> None:
        """Say what is sent.

        Args:
            platform: knows where to send it.
            manifest: its smoke and warm-up requests.
            payloads: their bodies.
            schemas: what answers are to be.
            should_stop: asked before each request.
            explain: says what a status means on this platform and what to do; empty: nothing to say.
        """
        self._explain = explain
        self._platform = platform
        self._manifest = manifest
        self._payloads = payloads
        self._schemas = schemas
        self._should_stop = should_stop
        self._client = ScoringClient()

    def smoke(self, name: str) -> Probed:
        """Send the smoke requests once each."""
        report = self._smoke(name)
        if report.failed_with in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not report.stopped:
            self._platform.invalidate()  # the key was changed since it was read
            report = self._smoke(name)
        text = report.failure or f"{len(report.lines)} answered as expected"
        if report.failed_with is not None and (meaning := self._explain(report.failed_with)):
            text = f"{text} ({meaning})"
        return Probed(report.passed, text, report.stopped)

    def _smoke(self, name: str) -> SmokeReport:
        return run_smoke(
            self._client,
            self._platform.scoring_target(),
            name,
            smokes=self._manifest.smoke,
            payloads=self._payloads,
            schemas=self._schemas,
            should_stop=self._should_stop,
        )

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        """Send the warm-up requests to every instance; passes at once when the manifest asks for none."""
        asked = self._manifest.warmup
        if asked is None:
            return Probed(passed=True, text="no warm-up asked for")
        target = self._platform.scoring_target()
        report = self._warm_up(asked, target, name, instances, workers)
        if report.failure is not None and report.first_s is None and not report.stopped:  # a changed key does that too
            self._platform.invalidate()
            if (renewed := self._platform.scoring_target()) != target:
                report = self._warm_up(asked, renewed, name, instances, workers)
        if report.failure is not None:
            return Probed(passed=False, text=report.failure, stopped=report.stopped)
        times = ""
        if report.first_s is not None and report.last_s is not None:
            times = f", first {report.first_s * 1000:.0f} ms, last {report.last_s * 1000:.0f} ms"
        failed = f", {report.failed} failed" if report.failed else ""
        return Probed(report.passed, f"{report.sent} requests{failed}{times}", report.stopped)

    def _warm_up(self, asked: WarmUp, target: ScoringTarget, name: str, instances: int, workers: int) -> WarmUpReport:
        return warm_up(
            self._client,
            target,
            name,
            self._payloads[asked.request],
            requests=asked.requests,
            instances=max(instances, 1),
            workers=max(workers, 1),
            should_stop=self._should_stop,
        )
