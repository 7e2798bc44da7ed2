"""Azure Load Testing's data plane through its SDK, ``azure-developer-loadtesting`` (extra ``azure-load-testing``).

Locust tests are a preview there: the SDK knows ``kind: Locust`` in 1.1.0b1 and 1.2.0b1 alone (1.0.1 runs JMeter only),
and the subscription may have to be let in first.

Source: azure-developer-loadtesting 1.2.0b1, api-version 2025-11-01-preview;
learn.microsoft.com/azure/load-testing/quickstart-create-run-load-test-with-locust (read 2026-11-25).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from deployer.cloud.answers import refused, unanswered, without_identity
from deployer.cloud.arm import within
from deployer.errors import PlatformError, UsageError, how_to_install

CALL_TIMEOUT_S = 60.0
"""Token, connection, answer and the SDK's own repetitions together."""
VALIDATION_S = 300.0
"""How long the service may take to look at a test script."""
NEVER_S = 86400
"""Between two polls by the SDK, which polls without end: we poll ourselves, with deadlines."""

_T = TypeVar("_T")


class LoadTesting:
    """One Load Testing resource, as one identity."""

    def __init__(self, endpoint: str, credential: Any, *, transport: Any = None, retries: int = 3) -> None:
        """Name the resource by its data plane's host; nothing is asked yet.

        Raises:
            UsageError: the SDK is not installed or knows no Locust tests, or this is no host.
        """
        self._sdk = _sdk()
        host = endpoint.removeprefix("https://").rstrip("/")
        if not re.fullmatch(r"[A-Za-z0-9.-]+", host):  # the SDK takes nothing else, not even a port
            raise UsageError(f"--load-testing {endpoint} is no host", hint="Give its name alone, as in the portal.")
        options: dict[str, Any] = {"retry_total": retries}
        if transport is not None:
            options["transport"] = transport
        self._tests = self._sdk.LoadTestAdministrationClient(host, credential, **options)
        self._runs = self._sdk.LoadTestRunClient(host, credential, **options)

    def put_test(self, test_id: str, document: Mapping[str, Any]) -> None:
        """Create the test, or change it (a merge patch: what is not named stays).

        Raises:
            PlatformError: it was refused.
        """
        self._call(f"load test {test_id}", lambda: self._tests.create_or_update_test(test_id, dict(document)))

    def upload(self, test_id: str, name: str, content: bytes, kind: str) -> None:
        """Put a file (``TEST_SCRIPT`` or ``ADDITIONAL_ARTIFACTS``) beside the test; return once it is accepted.

        Raises:
            PlatformError: it was refused, or found to be wrong.
        """
        what = f"file {name} of load test {test_id}"

        def send() -> Any:
            poller = self._tests.begin_upload_test_file(test_id, name, content, file_type=kind)
            poller.wait(VALIDATION_S)
            return self._tests.get_test_file(test_id, name).as_dict()

        found: dict[str, Any] = self._call(what, send, VALIDATION_S + CALL_TIMEOUT_S)
        if found.get("validationStatus") in ("VALIDATION_FAILURE", "VALIDATION_INITIATED"):
            why = found.get("validationFailureDetails") or "it is still being validated"
            raise PlatformError(f"{what}: {why}", hint="Read the file's state in the portal; then run it again.")

    def start(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Start a run; return as soon as the service knows it.

        Raises:
            PlatformError: it was refused.
        """
        self._call(
            f"load test run {run_id}",
            lambda: self._runs.begin_test_run(run_id, dict(document), _polling_interval=NEVER_S),
        )

    def run(self, run_id: str) -> dict[str, Any]:
        """Read a run, by the names of the wire.

        Raises:
            PlatformError: it could not be read.
        """
        return self._call(f"load test run {run_id}", lambda: self._runs.get_test_run(run_id).as_dict())

    def stop(self, run_id: str) -> None:
        """Ask for the end of a run; it takes a while.

        Raises:
            PlatformError: it was refused.
        """
        self._call(f"end of load test run {run_id}", lambda: self._runs.stop_test_run(run_id))

    def _call(self, what: str, work: Callable[[], _T], seconds: float = CALL_TIMEOUT_S) -> _T:
        core = self._sdk.core
        try:
            return within(seconds, work)
        except core.ClientAuthenticationError as exc:
            raise without_identity(exc, what) from exc
        except core.HttpResponseError as exc:
            body = exc.response.text() if exc.response is not None else ""
            raise refused(exc.status_code or 0, body, what) from exc
        except (core.AzureError, TimeoutError) as exc:
            raise unanswered(exc, what) from exc


class _Sdk:
    def __init__(self) -> None:
        self._package: Any = importlib.import_module("azure.developer.loadtesting")
        self.core: Any = importlib.import_module("azure.core.exceptions")
        self.LoadTestAdministrationClient = self._package.LoadTestAdministrationClient
        self.LoadTestRunClient = self._package.LoadTestRunClient
        models: Any = importlib.import_module("azure.developer.loadtesting.models")
        self.knows_locust = "Locust" in {str(kind.value) for kind in cast("Any", getattr(models, "TestKind", ()))}


def _sdk() -> _Sdk:
    hint = how_to_install("azure-load-testing")
    try:
        sdk = _Sdk()
    except ImportError as exc:
        raise UsageError("azure-developer-loadtesting is not installed", hint=hint) from exc
    if not sdk.knows_locust:
        raise UsageError("this azure-developer-loadtesting runs JMeter tests only", hint=hint)
    return sdk
