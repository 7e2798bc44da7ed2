"""The same locustfile as a run of Azure Load Testing: load from Azure's machines, for targets that they can reach.

A preview, with limits that users are told (``Figures.coarse``): the service keeps percentiles and no histogram, the
warm-up is among them, and neither the statuses of failures nor the generator's own delay are known. One engine sends:
with several each would send the whole rate.

The test and its files stay in the resource, and are used again; every run is kept there with its key left out. The key
is a secret of the run, which the service does not store, or the identifier of a Key Vault secret.

Source: learn.microsoft.com/azure/load-testing/how-to-parameterize-load-tests (FAQ: secret values are not stored; read
2026-11-25). That a Locust script finds secrets and uploaded files as variables and in its folder is *assumed*.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from deployer.errors import PlatformError, TransientError, UsageError
from deployer.loadgen.locust import find_locustfile, other_headers
from deployer.loadgen.replay import in_seconds
from deployer.loadtest.figures import SOME_FAILURE, Figures, Health, Load, Window
from deployer.ports.clock import Clock
from deployer.ports.platform import DEPLOYMENT_HEADER, ScoringTarget

BEARER = "Bearer "
KEY_VARIABLE = "DEPLOYER_LOAD_KEY"
TOTAL = "Total"
"""The service's name for all requests together. Source: testRunStatistics in the SDK's recordings [assumed]."""

POLL_S = 5.0
READY_S = 900.0
"""Engines are provisioned for each run; minutes as a rule."""
OVER_S = 600.0
"""Beyond the load's own time, until results are there."""
STOP_S = 300.0
ENDED = ("DONE", "FAILED", "CANCELLED", "VALIDATION_FAILURE")
SENDING = ("EXECUTING", "EXECUTED", "DEPROVISIONING", "DEPROVISIONED", "DONE")

LEVELS = {
    0.0: "minResTime",
    0.5: "medianResTime",
    0.75: "pct75ResTime",
    0.90: "pct1ResTime",
    0.95: "pct2ResTime",
    0.96: "pct96ResTime",
    0.97: "pct97ResTime",
    0.98: "pct98ResTime",
    0.99: "pct3ResTime",
    0.999: "pct999ResTime",
    0.9999: "pct9999ResTime",
    1.0: "maxResTime",
}
"""Source: azure.developer.loadtesting.models.TestRunStatistics, 1.2.0b1 (pct1, 2 and 3 are p90, p95 and p99)."""

RECORDING = "arrivals"
"""Name beside the script of recorded arrivals."""

COARSE = (
    "percentiles by Azure Load Testing (Locust there is a preview): no histogram, the warm-up is among them, failures "
    "without their status, and the generator's own delay is not known"
)


class Service(Protocol):
    """What is needed of Azure Load Testing (``cloud.load_testing.LoadTesting``)."""

    def put_test(self, test_id: str, document: Mapping[str, Any]) -> None:
        """Create or change a test."""
        ...

    def upload(self, test_id: str, name: str, content: bytes, kind: str) -> None:
        """Put a file beside it."""
        ...

    def start(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Start a run."""
        ...

    def run(self, run_id: str) -> dict[str, Any]:
        """Read a run."""
        ...

    def stop(self, run_id: str) -> None:
        """Ask for its end."""
        ...


@dataclass(frozen=True, slots=True)
class AzureLoadTesting:
    """Runs load tests by a Load Testing resource."""

    service: Service
    clock: Clock
    key_vault_secret: str | None = None
    """Identifier of the secret that holds the endpoint's key, which the resource's own identity may read."""

    @contextlib.contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Generator[AzureTest]:
        """Start ``load``; see ``ports.loadgen.LoadTester``.

        Blocks while files are validated. The run is ended with the context, whatever ends it.

        Raises:
            UsageError: Azure's machines cannot reach the target, or this engine cannot send such a load.
        """
        _check(target, load, keep_requests=keep_requests)
        test_id = _test_id(target.url)
        files = [(file.name, file.read_bytes()) for file in [payload, *find_locustfile().parent.glob("*.py")]]
        files += [(RECORDING, in_seconds(Path(load.replay)).encode())] if load.replay else []
        self.service.put_test(test_id, _test(target, load, payload, by_vault=self.key_vault_secret is not None))
        for name, content in sorted(files, key=lambda file: file[0] == "scoring.py"):  # the script last: it needs them
            kind = "TEST_SCRIPT" if name == "scoring.py" else "ADDITIONAL_ARTIFACTS"
            self.service.upload(test_id, name, content, kind)
        run_id = f"{test_id[:37]}-{secrets.token_hex(6)}"
        running = AzureTest(self.service, self.clock, load, run_id)
        try:
            self.service.start(run_id, self._run(test_id, target))
        except (
            TransientError
        ):  # its answer may be lost, and the run begun: of what was refused there is nothing to stop
            with contextlib.suppress(PlatformError):
                self.service.stop(run_id)
            raise
        try:
            yield running
        finally:
            running.stop("the load test was left")

    def _run(self, test_id: str, target: ScoringTarget) -> dict[str, Any]:
        secret = {"type": "SECRET_VALUE", "value": target.headers.get("Authorization", "").removeprefix(BEARER)}
        if self.key_vault_secret is not None:
            secret = {"type": "AKV_SECRET_URI", "value": self.key_vault_secret}
        return {"testId": test_id, "displayName": "deployer loadtest", "secrets": {KEY_VARIABLE: secret}}


class AzureTest:
    """A run, and what the service has said of it."""

    def __init__(self, service: Service, clock: Clock, load: Load, run_id: str) -> None:
        self._service = service
        self._clock = clock
        self._load = load
        self.run_id = run_id
        self._started_at = clock.now()
        self._deadline = self._started_at + timedelta(seconds=READY_S)
        self._next_look = self._started_at + timedelta(seconds=POLL_S)
        self._idle_until = self._started_at
        """Last look at which it had not begun to send."""
        self._sent_until: datetime | None = None
        """When it was told to stop, or seen to have ended; None: neither yet."""
        self._is_sending = False
        self._why: str | None = None
        self._seen: dict[str, Any] = {"status": "ACCEPTED"}

    def progress(self) -> Figures:
        """What the service has said last."""
        state = self._seen.get("status")
        phase = None if state == "EXECUTING" else f"Azure Load Testing: run {self.run_id} is {state}"
        return replace(self._figures("running"), phase=phase)

    def wait(self, seconds: float) -> bool:
        """Block for up to ``seconds``; True: the run has ended, or took too long (and was ended)."""
        end = self._clock.now() + timedelta(seconds=seconds)
        while not self._has_ended():
            now = self._clock.now()
            if now >= self._next_look:
                self._look()
                self._end_if_late()
            elif now >= end:
                return False
            else:
                self._clock.sleep((min(end, self._next_look) - now).total_seconds())
        return True

    def _end_if_late(self) -> None:
        if self._clock.now() > self._deadline and not self._has_ended():
            what = "did not end" if self._is_sending else "did not begin to send"
            self.stop(f"the run {what} in time (it is {self._seen.get('status')})")

    def renew(self, target: ScoringTarget) -> None:
        """Refuse: a run's secrets are fixed.

        Raises:
            PlatformError: always.
        """
        raise PlatformError(
            "Azure Load Testing cannot be given a new token while it sends", hint="Use the endpoint's key."
        )

    def stop(self, why: str) -> None:
        """End the run early, and keep what the service has."""
        if self._has_ended():
            return
        self._why = self._why or why
        self._sent_until = self._sent_until or self._clock.now()
        with contextlib.suppress(PlatformError):  # it may just have ended, or never begun: what it says below counts
            self._service.stop(self.run_id)
        end = self._clock.now() + timedelta(seconds=STOP_S)
        while not self._has_ended():
            if self._clock.now() > end:
                raise PlatformError(
                    f"load test run {self.run_id} was told to stop and is {self._seen.get('status')} still",
                    hint="Stop it in the portal: it may be sending.",
                )
            self._look()
            if not self._has_ended():
                self._clock.sleep(POLL_S)

    def figures(self) -> Figures:
        """Block until the run has ended; return what the service says.

        Raises:
            PlatformError: it ended by itself without a single figure.
        """
        while not self.wait(POLL_S):
            pass
        partial = self._why
        if partial is None and self._seen.get("status") != "DONE":
            errors: list[dict[str, Any]] = self._seen.get("errorDetails") or []
            said = "; ".join(str(each.get("message")) for each in errors) or "no reason given"
            partial = f"the run is {self._seen.get('status')}: {said}"
        figures = self._figures(partial)
        if not figures.windows and self._why is None:
            raise PlatformError(
                f"load test run {self.run_id} has no figures ({partial or 'DONE'})",
                hint="Look at the run in the portal: its engine's log says why.",
            )
        return figures

    def _has_ended(self) -> bool:
        return self._seen.get("status") in ENDED

    def _look(self) -> None:
        with contextlib.suppress(TransientError):  # the deadline ends what stays silent
            self._seen = self._service.run(self.run_id)
        now = self._clock.now()
        self._next_look = now + timedelta(seconds=POLL_S)
        if self._has_ended():
            self._sent_until = self._sent_until or now
        elif not self._is_sending and self._seen.get("status") not in SENDING:
            self._idle_until = now
        if not self._is_sending and self._seen.get("status") in SENDING:
            self._is_sending = True
            load = self._load
            seconds = load.warm_up_s + load.seconds + load.timeout_s + OVER_S
            self._deadline = now + timedelta(seconds=seconds)

    def _figures(self, partial: str | None) -> Figures:
        known: dict[str, dict[str, Any]] = self._seen.get("testRunStatistics") or {}
        statistics = known.get(TOTAL, {})
        sent = round(statistics.get("sampleCount") or 0)
        windows = (_window(statistics, self._seconds(partial), sent),) if sent else ()
        return Figures(self._load, self._started_at, windows, Health(0.0, 0.0), partial, coarse=COARSE)

    def _seconds(self, partial: str | None) -> float:
        """How long it sent: as long as was asked for, or what passed of it (up to two looks more than that)."""
        asked = self._load.warm_up_s + self._load.seconds
        if partial is None:
            return asked
        passed = (self._sent_until or self._clock.now()) - self._idle_until
        return min(asked, max(passed.total_seconds(), 1.0))


def _check(target: ScoringTarget, load: Load, *, keep_requests: bool) -> None:
    parts = urlsplit(target.url)
    if parts.scheme != "https":
        raise UsageError(
            f"Azure Load Testing does not send a key to {parts.scheme}://{parts.hostname}", hint="Use --engine local."
        )
    if other_headers(target):
        raise UsageError("Azure Load Testing sends no other headers than the key", hint="Use --engine local.")
    if keep_requests or load.processes != 1 or not math.isfinite(load.seconds):
        raise UsageError(
            "Azure Load Testing sends from one engine, for a time, and keeps no single requests",
            hint="Give --for, leave --processes out, or use --engine local.",
        )


def _test_id(url: str) -> str:
    """Name the test after its target, so that runs of one endpoint stand together."""
    host = (urlsplit(url).hostname or "").split(".")[0].lower()
    kept = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in host)[:30]
    return f"deployer-{kept}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _test(target: ScoringTarget, load: Load, payload: Path, *, by_vault: bool) -> dict[str, Any]:
    """Say the load in variables; each is always named, because what a merge patch does not name stays."""
    given = replace(load, rps=load.rps or 1.0)
    variables = {
        "LOCUST_HOST": target.url,
        "LOCUST_USERS": "1",
        "LOCUST_SPAWN_RATE": "1",
        "LOCUST_RUN_TIME": f"{math.ceil(load.warm_up_s + load.seconds + load.timeout_s)}s",
        "DEPLOYER_LOAD_PAYLOAD": payload.name,
        "DEPLOYER_LOAD_ARRIVALS": load.arrivals,
        "DEPLOYER_LOAD_SHAPE": "constant" if load.arrivals == "closed" else load.shape,
        "DEPLOYER_LOAD_RPS": f"{given.rps:g}",
        "DEPLOYER_LOAD_CONCURRENCY": str(load.concurrency),
        "DEPLOYER_LOAD_SECONDS": f"{load.seconds:g}",
        "DEPLOYER_LOAD_WARM_UP": f"{load.warm_up_s:g}",
        "DEPLOYER_LOAD_IN_FLIGHT": str(max(load.in_flight, load.concurrency)),
        "DEPLOYER_LOAD_TIMEOUT": f"{load.timeout_s:g}",
        "DEPLOYER_LOAD_DRAIN": f"{load.timeout_s:g}",
        "DEPLOYER_LOAD_SEED": str(load.seed) if load.seed is not None else str(secrets.randbelow(2**31)),
        "DEPLOYER_LOAD_REPLAY": RECORDING if load.replay else "",
        "DEPLOYER_LOAD_DEPLOYMENT": target.headers.get(DEPLOYMENT_HEADER, ""),
    }
    return {
        "displayName": f"deployer loadtest of {urlsplit(target.url).hostname}"[:50],
        "description": "Made by deployer; used again by its next load test of this endpoint.",
        "kind": "Locust",
        "loadTestConfiguration": {"engineInstances": 1, "splitAllCSVs": False},
        "environmentVariables": variables,
        **({"keyvaultReferenceIdentityType": "SystemAssigned"} if by_vault else {}),
    }


def _window(statistics: Mapping[str, Any], seconds: float, sent: int) -> Window:
    """Put every request at the next higher percentile that is known: no latency is said to be better than it was."""
    failed = min(round(statistics.get("errorCount") or 0), sent)
    latencies: dict[float, int] = {}
    placed = 0
    for level, name in LEVELS.items():
        value = statistics.get(name)
        upto = math.ceil(level * sent)
        if value is not None and upto > placed:
            latencies[round(float(value), 1)] = latencies.get(round(float(value), 1), 0) + upto - placed
            placed = upto
    good: dict[float, int] = {}
    left = sent - failed
    for value, n in sorted(latencies.items(), reverse=True):  # failures are taken for the fastest ones
        good[value] = min(n, left)
        left -= good[value]
    return Window(
        start_s=0.0,
        seconds=seconds,
        is_warm_up=False,
        sent=sent,
        statuses={status: n for status, n in ((200, sent - failed), (SOME_FAILURE, failed)) if n},
        latencies_ms=latencies,
        good_latencies_ms={value: n for value, n in sorted(good.items()) if n},
    )
