"""Who asks: the identity of the environment, never a secret of deployer's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cloud.clouds import Cloud

if TYPE_CHECKING:  # azure.identity takes 0.4 s to import; only commands that reach Azure pay for it
    from azure.core.credentials import TokenCredential

PROCESS_TIMEOUT_S = 30
"""How long ``az account get-access-token`` may take: the CLI needs several seconds on a small runner."""


def credential(cloud: Cloud) -> TokenCredential:
    """Find the identity: environment, workload identity (OIDC in CI), managed identity, then ``az login``.

    Touches nothing; the first call that needs a token asks for it, and what fails then is a ``DeniedError``.
    """
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential(
        authority=cloud.authority,
        process_timeout=PROCESS_TIMEOUT_S,
    )
