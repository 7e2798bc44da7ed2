"""One careful way to call Azure Resource Manager.

The pipeline is azure-core's, with ARM's authentication policy and nothing that acts by itself: no retries that repeat
a write whose answer was lost, no registration of resource providers in a loop, no redirects that carry a token
elsewhere. Reads are repeated here, writes only when they certainly did not arrive; everything else is an error that
says so, and whoever wrote reads before writing again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

from deployer.cloud.answers import read_refusal, refused, unanswered, without_identity
from deployer.cloud.clouds import Cloud
from deployer.cloud.credentials import Renewable
from deployer.errors import DeniedError, DeployerError, ExitCode, NotFoundError, PlatformError, TransientError
from deployer.ports.clock import Clock

if TYPE_CHECKING:  # azure.core takes 0.3 s to import; only commands that reach Azure pay for it
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse

ATTEMPTS = 3
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30
"""Between two packets."""
CALL_TIMEOUT_S = 75.0
"""One attempt in all: name resolution, token, connection and a body that drips."""
BACKOFF_S = (1.0, 3.0)
RETRY_AFTER_MAX_S = 20.0
"""A longer Retry-After is cut to this, and then the caller learns that Azure is busy."""
PAGES_MAX = 200
HTTPS = 443
_QUESTIONS = frozenset({"GET", "POST"})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a write. The body is no state (WIRE 2: it lies): GET what you wrote."""

    status: int
    body: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """May hold a key."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    operation_url: str = field(default="", repr=False)
    """Where the operation's progress is told; signed, so it is not for logs."""


class Arm:
    """ARM of one cloud, as one identity.

    Attributes:
        calls: attempts sent so far, for whoever counts.

    Args:
        cloud: whose ARM.
        credential: asked for a token when one is needed.
        clock: waits between attempts.
        transport: azure-core transport; None: ``requests`` with our time-outs.
    """

    def __init__(self, cloud: Cloud, credential: TokenCredential, clock: Clock, *, transport: Any = None) -> None:
        self.calls = 0
        self._cloud = cloud
        self._credential = credential
        self._clock = clock
        self._transport = transport
        self._client: Any = None
        self._building = threading.Lock()
        self._skew: timedelta | None = None
        self._has_written = False

    @property
    def server_time(self) -> datetime | None:
        """What ARM's clock says now, from its last ``Date``; whole seconds. None: it was never asked."""
        return None if self._skew is None else self._clock.now() + self._skew

    def get(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Read a resource; None when it does not exist.

        Raises:
            PlatformError: by class as ``answers.refused`` sorts them.
        """
        status, body, _ = self._ask("GET", self._url(path, api_version, query))
        return None if status == HTTPStatus.NOT_FOUND else body

    def list(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Read every page of a list; empty when what it belongs to does not exist.

        Raises:
            PlatformError: by class; one page that cannot be had is an error, never a shorter list.
        """
        url, found = self._url(path, api_version, query), list[dict[str, Any]]()
        for _ in range(PAGES_MAX):
            status, body, _headers = self._ask("GET", url)
            if status == HTTPStatus.NOT_FOUND:
                return found
            found += cast("list[dict[str, Any]]", body.get("value") or [])
            if not (url := str(body.get("nextLink") or "")):
                return found
            self._require_ours(url)
        raise PlatformError(f"{path} has more than {PAGES_MAX} pages", hint="Delete what is no longer needed.")

    def operation(self, url: str) -> dict[str, Any] | None:
        """Read the status of an operation at the address that ARM gave; None when it is gone."""
        self._require_ours(url)
        status, body, _ = self._ask("GET", url)
        return None if status == HTTPStatus.NOT_FOUND else body

    def post(self, path: str, api_version: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Ask a question that ARM wants as a POST (keys, tokens, logs); repeated like a GET."""
        return self._reply(self._ask("POST", self._url(path, api_version), body))

    def put(self, path: str, api_version: str, body: Mapping[str, Any]) -> Reply:
        """Replace a resource; returns once ARM accepted it. See ``Reply``.

        Raises:
            TransientError: the answer was lost or ARM failed: it may have happened or not. Read.
            ConflictError: another operation is under way, or this one was sent twice. Read.
        """
        return self._reply(self._ask("PUT", self._url(path, api_version), body))

    def patch(self, path: str, api_version: str, body: Mapping[str, Any]) -> Reply:
        """Change parts of a resource; as ``put``."""
        return self._reply(self._ask("PATCH", self._url(path, api_version), body))

    def delete(self, path: str, api_version: str) -> Reply:
        """Start deleting a resource; one that is not there is fine (status 204 or 404). As ``put``."""
        return self._reply(self._ask("DELETE", self._url(path, api_version)))

    def _url(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> str:
        asked = urlencode({"api-version": api_version, **(query or {})}, quote_via=quote)
        return f"{self._cloud.resource_manager}{quote(path, safe='/:@!$&()*+,;=~')}?{asked}"

    def _require_ours(self, url: str) -> None:
        """A token goes to the cloud's own ARM, whatever an answer says."""
        ours, theirs = self._cloud.resource_manager, _place(url)
        if theirs != _place(ours):
            raise PlatformError(
                f"ARM's answer leads to {theirs or 'nowhere'}, which is not {urlsplit(ours).netloc}",
                hint="Check the proxy between here and Azure.",
            )

    def _reply(self, answer: tuple[int, dict[str, Any], Mapping[str, str]]) -> Reply:
        status, body, headers = answer
        return Reply(status, body, headers, headers.get("azure-asyncoperation", ""))

    def _ask(
        self, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Send a request, and say whether a refusal comes before anything was touched."""
        try:
            answer = self._ask_repeatedly(method, url, body)
        except DeniedError as exc:
            if not self._has_written:
                exc.exit_code = ExitCode.REFUSED
            raise
        except PlatformError:
            self._has_written |= method not in _QUESTIONS  # for all that is known
            raise
        self._has_written |= method not in _QUESTIONS
        return answer

    def _ask_repeatedly(
        self, method: str, url: str, body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Send it up to ``ATTEMPTS`` times: questions whenever it may help, writes when they did not arrive."""
        what = f"{method} {_short(url)}"
        for attempt in range(ATTEMPTS):
            try:
                return self._ask_once(method, url, body, what, is_first=attempt == 0)
            except AgainError as again:
                if attempt == ATTEMPTS - 1:
                    raise again.error from again
                self._clock.sleep(min(max(again.after_s, BACKOFF_S[attempt]), RETRY_AFTER_MAX_S))
        raise AssertionError  # the last attempt returned or raised

    def _ask_once(
        self, method: str, url: str, body: Mapping[str, Any] | None, what: str, *, is_first: bool
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        reads = method in _QUESTIONS
        try:
            response = self._send(method, url, body, what)
        except TransientError as exc:
            if reads:
                raise AgainError(exc) from exc
            raise
        self._note_time(response.headers.get("date", ""))
        status, headers = response.status_code, {key.lower(): value for key, value in response.headers.items()}
        if status == HTTPStatus.NOT_FOUND and method == "GET" and (lost := _astray(response.text())):
            raise NotFoundError(f"{what}: {lost}", hint="Check subscription and resource group.")
        if status < 300 or (status == HTTPStatus.NOT_FOUND and method in {"GET", "DELETE"}):
            found = _json(response)
            if found is None and reads:
                raise AgainError(TransientError(f"{what}: the answer is no JSON object", hint="Run it again."))
            return status, found or {}, headers  # the body of a write is not believed anyway
        if status == HTTPStatus.UNAUTHORIZED and isinstance(self._credential, Renewable):
            self._credential.forget()
        error = refused(status, response.text(), what)
        if _is_repeatable(status, is_first=is_first, is_read=reads):
            asked = headers.get("retry-after", "")
            raise AgainError(error, float(asked) if asked.isdigit() else 0.0)
        raise error

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None, what: str) -> HttpResponse:
        """Send it once.

        Raises:
            AgainError: no connection could be made: it did not arrive.
            TransientError: it may have arrived.
            DeniedError: no token.
        """
        from azure.core.exceptions import (  # noqa: PLC0415
            AzureError,
            ClientAuthenticationError,
            ServiceRequestError,
        )
        from azure.core.rest import HttpRequest  # noqa: PLC0415

        self.calls += 1
        request = HttpRequest(method, url, json=body) if body is not None else HttpRequest(method, url)
        client = self._pipeline()
        try:
            return within(CALL_TIMEOUT_S, lambda: client.send_request(request))
        except ClientAuthenticationError as exc:
            raise without_identity(exc, self._cloud.name) from exc
        except ServiceRequestError as exc:
            raise AgainError(unanswered(exc, what)) from exc
        except (AzureError, TimeoutError, OSError) as exc:
            raise unanswered(exc, what) from exc

    def _pipeline(self) -> Any:
        with self._building:
            if self._client is None:
                from azure.core.pipeline.policies import (  # noqa: PLC0415
                    HeadersPolicy,
                    RequestIdPolicy,
                    UserAgentPolicy,
                )
                from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415
                from azure.mgmt.core import ARMPipelineClient  # noqa: PLC0415
                from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy  # noqa: PLC0415

                self._client = ARMPipelineClient(
                    self._cloud.resource_manager,
                    policies=[
                        HeadersPolicy({"Accept": "application/json"}),
                        UserAgentPolicy(base_user_agent="deployer"),
                        RequestIdPolicy(),
                        ARMChallengeAuthenticationPolicy(self._credential, self._cloud.arm_scope),
                    ],
                    transport=self._transport
                    or RequestsTransport(connection_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S),
                )
            return self._client

    def _note_time(self, date: str) -> None:
        with suppress(ValueError):
            self._skew = parsedate_to_datetime(date).astimezone(UTC) - self._clock.now()


class AgainError(Exception):
    """Asking again is safe, and may help."""

    def __init__(self, error: DeployerError, after_s: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """Do ``work`` in a thread of its own and wait at most ``seconds``.

    Name resolution, credential helpers and bodies that drip have no time-out of their own.

    Raises:
        TimeoutError: it took longer; it is left behind, and its result is thrown away.
    """
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as exc:  # noqa: BLE001 (raised again below, in the thread that waits)
            failed.append(exc)

    thread = threading.Thread(target=run, name="call of Azure", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return done[0]


def _is_repeatable(status: int, *, is_first: bool, is_read: bool) -> bool:
    if status == HTTPStatus.UNAUTHORIZED:  # the token has been thrown away: a fresh one may do
        return is_first
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    return is_read and (status == HTTPStatus.REQUEST_TIMEOUT or status >= 500)


def _astray(body: str) -> str:
    """Why a 404 says nothing of the resource: what it lies in does not exist; empty: it does."""
    refusal = read_refusal(body)
    return refusal.text if refusal.code.lower() in {"subscriptionnotfound", "resourcegroupnotfound"} else ""


def _json(response: HttpResponse) -> dict[str, Any] | None:
    if response.status_code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}:
        return {}
    with suppress(ValueError):
        found = response.json()
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
    return None


def _place(url: str) -> str:
    """Host and port that ``url`` leads to by https, however it is written; empty: to none, or as somebody by name."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc:
            return f"{parts.hostname}:{parts.port or HTTPS}"
    return ""


def _short(url: str) -> str:
    """The part of an address that tells a reader something; no query, which may be a signature."""
    path = urlsplit(url).path
    return path.partition("/providers/Microsoft.MachineLearningServices/")[2] or path
