"""Who asks: the identity of the environment, never a secret of deployer's own.

In CI the identity is federated: GitHub or Azure Pipelines vouch for the job. They are asked directly when they can be,
because what `az login` got from them cannot be renewed after an hour, and a rollout may take longer.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from deployer.cloud.clouds import Cloud
from deployer.errors import DeniedError

if TYPE_CHECKING:  # azure.identity takes 0.4 s to import; only commands that reach Azure pay for it
    from azure.core.credentials import AccessToken, TokenCredential

PROCESS_TIMEOUT_S = 30
"""How long ``az account get-access-token`` may take: the CLI needs several seconds on a small runner."""
ASSERTION_TIMEOUT_S = 15.0
_GITHUB = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AZURE_CLIENT_ID", "AZURE_TENANT_ID")
_PIPELINES = (
    "SYSTEM_OIDCREQUESTURI",
    "SYSTEM_ACCESSTOKEN",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "AZURESUBSCRIPTION_CLIENT_ID",
    "AZURESUBSCRIPTION_TENANT_ID",
)
_CHOSEN = (
    "AZURE_TOKEN_CREDENTIALS",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
)
"""Somebody has said which identity to use: then nothing is guessed."""
_RENEWED = (
    (
        "GITHUB_ACTIONS",
        _GITHUB,
        "Give the step AZURE_CLIENT_ID and AZURE_TENANT_ID, and the job `permissions: {id-token: write}`.",
    ),
    ("TF_BUILD", _PIPELINES, "Run it in AzureCLI@2, with `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in its env."),
)
"""By the variable that tells a CI service: what lets the job vouch for itself again, and how it is set."""


class Renewable:
    """An identity whose tokens can be thrown away (a ``TokenCredential`` of azure-core).

    azure-identity hands out the same token for as long as this machine's clock calls it good. A clock that is slow, or
    a session that was revoked, would have every request refused until then.
    """

    def __init__(self, make: Callable[[], TokenCredential]) -> None:
        self._make = make
        self._made: TokenCredential | None = None

    @property
    def identity(self) -> TokenCredential:
        """What is asked now."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def giver(self) -> str:
        """Whose token was given last, by the name of its class, where several were asked in turn; empty: not known."""
        giver = getattr(self._made, "_successful_credential", None)  # of azure-identity 1.27.0; a test watches it
        return "" if giver is None else type(giver).__name__

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Ask the identity."""
        return self.identity.get_token(*scopes, **options)

    def forget(self) -> None:
        """Ask for new tokens from now on: ARM refused the last one."""
        self._made = None

    def close(self) -> None:
        """End its connections."""
        close = getattr(self._made, "close", None)
        if close is not None:
            close()


def credential(cloud: Cloud, env: Mapping[str, str] = os.environ) -> Renewable:
    """Say who asks; touches nothing. See ``_identity``."""
    return Renewable(lambda: _identity(cloud, env))


def ends_early(identity: Renewable, env: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """Say why ``identity`` may end before a rollout does, and what to set; None: nothing tells that it would.

    In CI `az login` has exchanged a token of the job that ends within minutes, and gets no other one: after an hour or
    so nothing is signed in, in the middle of a rollout.

    Source: github.com/Azure/azure-cli/issues/28708 (read 2026-11-26).
    """
    for service, names, how in _RENEWED:
        if env.get(service) and identity.giver == "AzureCliCredential":
            missing = ", ".join(name for name in names if not env.get(name))
            return f"what `az login` got cannot be renewed{f' ({missing} missing)' if missing else ''}", how
    return None


def _identity(cloud: Cloud, env: Mapping[str, str]) -> TokenCredential:
    """Find the identity: federation of the CI job, environment, workload or managed identity, then ``az login``.

    Touches nothing; the first call that needs a token asks for it, and what fails then is a ``DeniedError``.

    Source: learn.microsoft.com/python/api/azure-identity (DefaultAzureCredential, AzurePipelinesCredential);
    docs.github.com/actions/reference/security/oidc (the request for a token); both read 2026-11-25.
    """
    from azure.identity import (  # noqa: PLC0415
        AzurePipelinesCredential,
        ClientAssertionCredential,
        DefaultAzureCredential,
    )

    chosen = any(env.get(name) for name in _CHOSEN)
    if not chosen and all(env.get(name) for name in _GITHUB):
        url, token, client, tenant = (env[name] for name in _GITHUB)
        assertion = github_assertion(url, token, cloud.exchange_audience)
        return ClientAssertionCredential(tenant, client, assertion, authority=cloud.authority)
    if not chosen and all(env.get(name) for name in _PIPELINES):
        _, access, connection, client, tenant = (env[name] for name in _PIPELINES)
        return AzurePipelinesCredential(
            tenant_id=tenant,
            client_id=client,
            service_connection_id=connection,
            system_access_token=access,
            authority=cloud.authority,
        )
    return DefaultAzureCredential(authority=cloud.authority, process_timeout=PROCESS_TIMEOUT_S)


def github_assertion(
    url: str, token: str, audience: str, fetch: Callable[[urllib.request.Request], Any] | None = None
) -> Callable[[], str]:
    """Make the function that asks GitHub to vouch for this job; it is called whenever a token is to be renewed.

    It fails as an identity does (``ClientAuthenticationError``): azure-identity 1.27.0 lets through what it raises, and
    nobody who asks for a token expects an ``URLError``.
    """

    def ask() -> str:
        from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415

        if urlsplit(url).scheme != "https":
            raise DeniedError("GitHub's address for tokens is not https", hint="Check ACTIONS_ID_TOKEN_REQUEST_URL.")
        request = urllib.request.Request(  # noqa: S310 (https, as checked)
            f"{url}&audience={quote(audience, safe='')}",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )
        try:
            return str((fetch or _fetch)(request)["value"])
        except (OSError, ValueError, LookupError, TypeError, HTTPException) as exc:
            raise ClientAuthenticationError(f"GitHub did not vouch for this job: {type(exc).__name__} {exc}") from exc

    return ask


def _fetch(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=ASSERTION_TIMEOUT_S) as answer:  # noqa: S310 (https, as checked)
        return json.load(answer)
