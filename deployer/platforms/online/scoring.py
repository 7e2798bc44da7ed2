"""Where an endpoint is scored and with which key: the key goes to hosts of the cloud and to no others."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.cloud.answers import without_identity
from deployer.cloud.arm import CALL_TIMEOUT_S, within
from deployer.cloud.clouds import SCORING_HOSTS, Cloud
from deployer.errors import DeniedError, NotReadyError
from deployer.platforms.online.endpoint_resource import API, EndpointResource, properties
from deployer.ports.platform import ScoringTarget

if TYPE_CHECKING:  # azure.core takes 0.3 s to import
    from azure.core.credentials import TokenCredential

KEPT_S = 600.0
"""How long a key is used before it is asked for again: somebody may have changed it."""
EARLY_S = 120.0
"""A token is replaced this long before it ends."""


@dataclass(frozen=True, slots=True)
class _Kept:
    target: ScoringTarget
    until: datetime


class Scoring:
    """Address and authentication of one endpoint."""

    def __init__(
        self, resource: EndpointResource, cloud: Cloud, credential: TokenCredential, *, on_cluster: bool
    ) -> None:
        """Fix the endpoint.

        Args:
            resource: the endpoint.
            cloud: names the hosts a key may go to.
            credential: for endpoints that take tokens of Entra ID.
            on_cluster: it lives on a cluster of one's own. See ``Cloud.may_score``.
        """
        self._resource = resource
        self._cloud = cloud
        self._credential = credential
        self._on_cluster = on_cluster
        self._kept: _Kept | None = None
        self._lock = threading.Lock()

    def target(self) -> ScoringTarget:
        """Read address and key, or return those read a moment ago.

        Raises:
            NotFoundError: there is no endpoint.
            NotReadyError: it has no address yet.
            DeniedError: its address is not one that a key may be sent to; or no right to read keys.
        """
        with self._lock:
            now = self._resource.clock.now()
            if self._kept is None or now >= self._kept.until:
                self._kept = self._read(now)
            return self._kept.target

    def invalidate(self) -> None:
        """Forget the key: the scoring host refused it."""
        with self._lock:
            self._kept = None

    def _read(self, now: datetime) -> _Kept:
        document = self._resource.require()
        url = str(properties(document).get("scoringUri") or "")
        if not url:
            raise NotReadyError(f"endpoint {self._resource.name} has no address yet", hint="Wait until it is ready.")
        if not self._cloud.may_score(url, on_cluster=self._on_cluster):
            raise DeniedError(
                f"the scoring address of {self._resource.name} is {url.partition('?')[0]}, which is no https "
                f"address of {self._cloud.name}: no key is sent there",
                hint=f"Set {SCORING_HOSTS} to this host if it is yours.",
            )
        token, until = self._token(str(properties(document).get("authMode") or "").lower(), now)
        target = ScoringTarget(url, {"Authorization": f"Bearer {token}"}, in_clear=urlsplit(url).scheme == "http")
        return _Kept(target, min(until, now + timedelta(seconds=KEPT_S)))

    def _token(self, auth_mode: str, now: datetime) -> tuple[str, datetime]:
        arm, path = self._resource.arm, self._resource.path
        far = now + timedelta(seconds=KEPT_S)
        if auth_mode == "amltoken":
            found = arm.post(f"{path}/token", API).body
            return _secret(found, "accessToken"), _until(found, now)
        if auth_mode == "aadtoken":
            return self._entra_token()
        return _secret(arm.post(f"{path}/listKeys", API).body, "primaryKey"), far

    def _entra_token(self) -> tuple[str, datetime]:
        from azure.core.exceptions import AzureError  # noqa: PLC0415

        try:
            token = within(CALL_TIMEOUT_S, lambda: self._credential.get_token(self._cloud.ml_scope))
        except (AzureError, OSError) as exc:
            raise without_identity(exc, "a token to score with") from exc
        return token.token, datetime.fromtimestamp(token.expires_on, UTC) - timedelta(seconds=EARLY_S)


def _secret(found: Mapping[str, Any], key: str) -> str:
    if not (value := found.get(key)):
        raise DeniedError("Azure gave no key of the endpoint", hint="Check the role that `deployer doctor` shows.")
    return str(value)


def _until(found: Mapping[str, Any], now: datetime) -> datetime:
    """When a token of Azure ML is to be replaced (recording 01: epoch seconds)."""
    due = found.get("refreshAfterTimeUtc") or found.get("expiryTimeUtc")
    return datetime.fromtimestamp(int(due), UTC) if due else now
