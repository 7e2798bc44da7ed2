"""One question in KQL to Log Analytics, and what came back: whole, partial or not at all.

The SDK reports a partial answer as a success of another class and raises nothing, so every status is looked at here.
What is partial is said and its rows are thrown away: which of them are missing is not known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from deployer.cloud.arm import AgainError, within
from deployer.cloud.clouds import Cloud
from deployer.errors import TelemetryError
from deployer.ports.clock import Clock

if TYPE_CHECKING:  # azure.monitor.query takes 0.5 s to import; only rollouts on Azure pay for it
    from azure.core.credentials import TokenCredential

SERVER_TIMEOUT_S = 60
"""Sent as ``Prefer: wait=60``: Log Analytics gives up then. It would take up to 600.

Source: learn.microsoft.com/azure/azure-monitor/logs/api/timeouts; azure-monitor-query 2.0.0 (measured).
"""
READ_TIMEOUT_S = SERVER_TIMEOUT_S + 10
CALL_TIMEOUT_S = READ_TIMEOUT_S + 20.0
"""Token, connection and answer together."""
ATTEMPTS = 2
"""A look that stays blind is followed by the next look, so more would only keep the engine waiting."""
PAUSE_S, LONGEST_PAUSE_S = 2.0, 10.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NEXT = {
    400: "Check that the workspace holds the table; right after the first diagnostic setting it may not yet.",
    401: "Log in (`az login`), or check the identity of the job.",
    403: "Give the identity the role Log Analytics Reader on the workspace.",
    404: "Check gate.telemetry: no such workspace or resource.",
}
_LATER = "Wait a minute: it is asked again at the next look."


@dataclass(frozen=True, slots=True)
class Reply:
    """What Log Analytics answered."""

    columns: tuple[str, ...]
    rows: tuple[Sequence[object], ...]
    partial: str | None
    """Why this is not the whole answer, in one line; then there are no rows."""
    ahead_s: float | None
    """Azure's clock less ours, from its ``Date``; whole seconds. None: it did not say."""


class Logs(Protocol):
    """Where KQL is answered."""

    def ask(self, kql: str, since: datetime, until: datetime) -> Reply:
        """Answer ``kql``, which reads rows of [since, until) by their ``TimeGenerated`` and no others.

        Raises:
            TelemetryError: refused, too late, not understood, or not reached.
        """
        ...


class LogAnalytics:
    """Log Analytics through ``azure.monitor.query`` (implements ``Logs``). Thread-safe as that client is.

    Args:
        cloud: names the endpoint, which is also the audience of the token (as the SDK has it).
        credential: asked for a token when one is needed.
        clock: waits between attempts.
        workspace_id: asks this workspace (a GUID); None: asks ``resource_id``.
        resource_id: ARM id of the resource whose logs are asked.

    Raises:
        TelemetryError: the cloud does not say where logs are asked, or neither id is given.
    """

    def __init__(
        self, cloud: Cloud, credential: TokenCredential, clock: Clock, *, workspace_id: str | None, resource_id: str
    ) -> None:
        if not cloud.logs_endpoint:
            raise TelemetryError(
                f"cloud {cloud.name} does not say where logs are asked",
                hint="Let its metadata name logAnalyticsResourceId.",
            )
        self._endpoint, self._credential, self._clock = cloud.logs_endpoint, credential, clock
        self._workspace_id, self._resource_id = workspace_id, resource_id
        self._client: Any = None

    def ask(self, kql: str, since: datetime, until: datetime) -> Reply:
        """Ask once, and once more when that may help; see ``Logs``."""
        for attempt in range(ATTEMPTS):
            try:
                return self._ask_once(kql, since, until)
            except AgainError as again:
                if attempt == ATTEMPTS - 1:
                    raise again.error from again.__cause__
                self._clock.sleep(min(max(again.after_s, PAUSE_S), LONGEST_PAUSE_S))
        raise AssertionError  # the last attempt returned or raised

    def _ask_once(self, kql: str, since: datetime, until: datetime) -> Reply:
        from azure.core.exceptions import (  # noqa: PLC0415
            AzureError,
            ClientAuthenticationError,
            HttpResponseError,
        )

        try:
            return within(CALL_TIMEOUT_S, lambda: self._send(kql, since, until))
        except ClientAuthenticationError as exc:
            raise TelemetryError(f"Log Analytics wants to know who asks: {_said(exc)}", hint=_NEXT[401]) from exc
        except HttpResponseError as exc:
            raise self._refused(exc) from exc
        except (AzureError, OSError) as exc:  # TimeoutError is one: no answer, or none that was whole
            raise AgainError(TelemetryError(f"Log Analytics cannot be reached: {_said(exc)}", hint=_LATER)) from exc
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:  # the SDK, of a strange body
            raise TelemetryError(f"the answer of Log Analytics is not understood: {_said(exc)}", hint=_LATER) from exc

    def _send(self, kql: str, since: datetime, until: datetime) -> Reply:
        from azure.monitor.query import LogsQueryStatus  # noqa: PLC0415

        dates: list[str] = []

        def note(response: Any) -> None:
            dates.append(str(response.http_response.headers.get("date", "")))

        client = self._connect()
        ask, whom = (
            (client.query_workspace, self._workspace_id)
            if self._workspace_id
            else (client.query_resource, self._resource_id)
        )
        # The service cuts by timespan *and* by the query's own filter; this one holds the other, so the filter decides.
        around = since.astimezone(UTC).replace(microsecond=0), until.astimezone(UTC) + timedelta(seconds=1)
        around = around[0], around[1].replace(microsecond=0)
        result = ask(whom, kql, timespan=around, server_timeout=SERVER_TIMEOUT_S, raw_response_hook=note)
        ahead_s = self._ahead_s(dates[-1] if dates else "")
        if result.status != LogsQueryStatus.SUCCESS:
            error = getattr(result, "partial_error", None)
            what = f"{getattr(error, 'code', '')}: {getattr(error, 'message', '')}"
            return Reply((), (), f"Log Analytics gave a partial answer ({_line(what)})", ahead_s)
        table = result.tables[0]
        rows = tuple(list(row) for row in table.rows)
        return Reply(tuple(str(column) for column in table.columns), rows, None, ahead_s)

    def _connect(self) -> Any:
        if self._client is None:
            from azure.monitor.query import LogsQueryClient  # noqa: PLC0415

            make = cast("Callable[..., Any]", LogsQueryClient)
            self._client = make(
                self._credential,
                endpoint=self._endpoint,
                retry_total=0,  # its retries sleep on the wall clock; ``ask`` repeats
                connection_timeout=10,
                read_timeout=READ_TIMEOUT_S,
            )
        return self._client

    def _ahead_s(self, date: str) -> float | None:
        with suppress(ValueError):
            return (parsedate_to_datetime(date).astimezone(UTC) - self._clock.now()).total_seconds()
        return None

    def _refused(self, exc: Any) -> Exception:
        status = int(exc.status_code or 0)
        code, message = _reason(exc)
        error = TelemetryError(
            f"Log Analytics answered {status} {code}: {message}".rstrip(": "), hint=_NEXT.get(status, _LATER)
        )
        if status in _AGAIN:
            after = str(exc.response.headers.get("retry-after", "")) if exc.response is not None else ""
            return AgainError(error, float(after) if after.isdigit() else 0.0)
        return error


def _reason(exc: Any) -> tuple[str, str]:
    """The service's code, and its innermost message: that one says what is wrong with a query."""
    found: Any = None
    with suppress(ValueError, AttributeError, TypeError):
        found = json.loads(exc.response.text())["error"]
    if not isinstance(found, dict):
        return "", _said(exc)
    error = cast("dict[str, Any]", found)
    code = str(error.get("code", ""))
    while isinstance(inner := error.get("innererror"), dict):
        error = cast("dict[str, Any]", inner)
    return _line(code), _line(str(error.get("message", "")))


def _said(exc: BaseException) -> str:
    return _line(f"{type(exc).__name__}: {exc}")


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
