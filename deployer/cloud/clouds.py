"""Which Azure: public, sovereign or one of your own. Hosts are data here, so that nothing else names one."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

from deployer.errors import PlanError

METADATA_URL = "ARM_CLOUD_METADATA_URL"
"""Where a cloud of your own describes itself; azure-ai-ml and the Azure CLI read the same variable."""
SCORING_HOSTS = "DEPLOYER_SCORING_HOSTS"
"""More hosts that a scoring key may be sent to, comma-separated: custom domains, the ingress of a cluster."""
METRICS_ENDPOINT = "DEPLOYER_METRICS_ENDPOINT"
"""Where a cloud answers for the metrics of a resource, if not at its ARM: an https address."""
EXCHANGE_AUDIENCE = "DEPLOYER_EXCHANGE_AUDIENCE"
"""For whom GitHub is to vouch for a job, where a cloud of your own does not take what the public one takes."""
METADATA_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Cloud:
    """One Azure. Every address is https and has no trailing slash."""

    name: str
    resource_manager: str
    authority: str
    logs_endpoint: str
    """Log Analytics queries; empty: this cloud did not say."""
    ml_scope: str
    """Scope of a token for the data plane of Azure ML, for endpoints with ``auth_mode: aad_token``."""
    scoring_suffixes: tuple[str, ...]
    """A scoring key goes only to these hosts and the hosts below them."""
    own_hosts: tuple[str, ...] = ()
    """More of them, named in ``DEPLOYER_SCORING_HOSTS``."""
    storage_suffix: str = "core.windows.net"
    """Local models are uploaded to ``{account}.blob.`` and this."""
    audience: str = ""
    """Of tokens for ARM; empty: ``resource_manager``."""
    metrics_endpoint: str = ""
    """Metrics are asked there, with a token for ARM; empty: ``resource_manager``, as in all of Microsoft's clouds."""
    exchange_audience: str = "api://AzureADTokenExchange"
    """Whom the token of a federated identity (GitHub's OIDC) has to be for, to be exchanged for one of this cloud."""

    @property
    def for_metrics(self) -> Cloud:
        """The same cloud as who asks for metrics sees it."""
        audience = self.audience or self.resource_manager
        return replace(self, resource_manager=self.metrics_endpoint or self.resource_manager, audience=audience)

    @property
    def arm_scope(self) -> str:
        """Scope of a token for ARM."""
        return f"{self.audience or self.resource_manager}/.default"

    def may_score(self, url: str, *, on_cluster: bool = False) -> bool:
        """Whether a key may be sent to ``url``.

        Args:
            url: where an endpoint says that it answers.
            on_cluster: it lives on a cluster of one's own, which answers at a private address and over plain http.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        is_ours = _is_below(host, self.own_hosts) or (on_cluster and _is_private(host))
        if parts.scheme == "http":
            return on_cluster and is_ours
        return parts.scheme == "https" and (is_ours or _is_below(host, self.scoring_suffixes))


def _is_below(host: str, suffixes: tuple[str, ...]) -> bool:
    return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Workspace:
    """One Azure ML workspace."""

    subscription_id: str
    resource_group: str
    name: str

    @property
    def id(self) -> str:
        """ARM resource id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )


# Source: azure-ai-ml 1.35.2 _azure_environments.py (ARM, authority, AML resource id); azure-monitor-query
# METADATA (logs); learn.microsoft.com how-to-custom-dns (scoring hosts), read 2026-11-25; learn.microsoft.com/entra/
# workload-id/workload-identity-federation-config-app-trust-managed-identity (audiences), read 2026-11-26.
_KNOWN = {
    "AzureCloud": Cloud(
        name="AzureCloud",
        resource_manager="https://management.azure.com",
        authority="https://login.microsoftonline.com",
        logs_endpoint="https://api.loganalytics.io",
        ml_scope="https://ml.azure.com/.default",
        scoring_suffixes=("inference.ml.azure.com",),
    ),
    "AzureUSGovernment": Cloud(
        name="AzureUSGovernment",
        resource_manager="https://management.usgovcloudapi.net",
        authority="https://login.microsoftonline.us",
        logs_endpoint="https://api.loganalytics.us",
        ml_scope="https://ml.azure.us/.default",
        scoring_suffixes=("inference.ml.azure.us",),
        storage_suffix="core.usgovcloudapi.net",
        exchange_audience="api://AzureADTokenExchangeUSGov",
    ),
    "AzureChinaCloud": Cloud(
        name="AzureChinaCloud",
        resource_manager="https://management.chinacloudapi.cn",
        authority="https://login.chinacloudapi.cn",
        logs_endpoint="https://api.loganalytics.azure.cn",
        ml_scope="https://ml.azure.cn/.default",
        scoring_suffixes=("inference.ml.azure.cn",),
        storage_suffix="core.chinacloudapi.cn",
        exchange_audience="api://AzureADTokenExchangeChina",
    ),
}


def find_cloud(name: str, env: Mapping[str, str], fetch: Callable[[str], Any] | None = None) -> Cloud:
    """Find the cloud called ``name``; empty: the one ``ARM_CLOUD_METADATA_URL`` belongs to, else ``AzureCloud``.

    Args:
        name: AzureCloud, AzureUSGovernment, AzureChinaCloud, or a name in the metadata.
        env: environment variables.
        fetch: reads JSON from an https address; None: over the network, at most ``METADATA_TIMEOUT_S``.

    Raises:
        PlanError: no such cloud, or its metadata cannot be read.
    """
    url = env.get(METADATA_URL, "")
    if name in _KNOWN or not (name or url):
        cloud = _KNOWN[name or "AzureCloud"]
        return _adjusted(cloud, env)
    if not url:
        raise PlanError(
            f"cloud {name} is not known ({', '.join(_KNOWN)})",
            hint=f"Set {METADATA_URL} to the metadata address of your own cloud.",
        )
    for entry in _entries(url, fetch or (lambda address: _fetch(address, env))):
        manager = str(entry.get("resourceManager", "")).rstrip("/")
        if entry.get("name") == name or (not name and manager and manager in url):
            known = (each for each in _KNOWN.values() if each.resource_manager == manager.lower())
            return _adjusted(next(known, None) or _described(entry, manager), env)
    raise PlanError(
        f"{url} does not describe {f'a cloud {name}' if name else 'the cloud it lives in'}",
        hint="Check the name of the cloud against the metadata.",
    )


def _adjusted(cloud: Cloud, env: Mapping[str, str]) -> Cloud:
    hosts = tuple(host.strip().lower().lstrip(".") for host in env.get(SCORING_HOSTS, "").split(",") if host.strip())
    metrics = env.get(METRICS_ENDPOINT, "").rstrip("/")
    if metrics and not (metrics.startswith("https://") and urlsplit(metrics).hostname):
        raise PlanError(f"{METRICS_ENDPOINT} is not an https address", hint="Use https: a token is sent there.")
    audience = env.get(EXCHANGE_AUDIENCE) or cloud.exchange_audience
    return replace(cloud, own_hosts=hosts, metrics_endpoint=metrics, exchange_audience=audience)


def _entries(url: str, fetch: Callable[[str], Any]) -> list[dict[str, Any]]:
    if not url.startswith("https://"):
        raise PlanError(f"{METADATA_URL} is not an https address", hint="Use https: a token follows what it says.")
    try:
        answer = fetch(url)
    except (OSError, ValueError) as exc:
        raise PlanError(
            f"the metadata of the cloud cannot be read: {exc}", hint=f"Check {METADATA_URL} and the network."
        ) from exc
    listed: list[Any] = cast("list[Any]", answer) if isinstance(answer, list) else [answer]
    return [cast("dict[str, Any]", entry) for entry in listed if isinstance(entry, dict)]


def _described(entry: Mapping[str, Any], manager: str) -> Cloud:
    """Read one entry of the metadata; a key may follow to the hosts of ARM and of Azure ML in it, and to no other.

    Metadata names many hosts that nobody scores at, such as one of GitHub's for lists of images (``vmImageAliasDoc``).
    """
    authentication = cast("dict[str, Any]", entry.get("authentication") or {})
    audiences = [str(each).rstrip("/") for each in cast("list[Any]", authentication.get("audiences") or [])]
    authority = str(authentication.get("loginEndpoint", "")).rstrip("/")
    if not (manager.startswith("https://") and authority.startswith("https://")):
        raise PlanError(
            f"the metadata of cloud {entry.get('name')} lacks resourceManager or authentication.loginEndpoint",
            hint="Let both be https addresses.",
        )
    ml = str(entry.get("amlResourceId") or entry.get("mlResourceId") or "").rstrip("/")
    hosts = {urlsplit(text).hostname for text in (manager, ml)}
    return Cloud(
        name=str(entry.get("name")),
        resource_manager=manager,
        authority=authority,
        logs_endpoint=str(entry.get("logAnalyticsResourceId") or "").rstrip("/"),
        ml_scope=f"{ml or manager}/.default",
        scoring_suffixes=tuple(sorted(host.lower() for host in hosts if host)),
        storage_suffix=str(cast("dict[str, Any]", entry.get("suffixes") or {}).get("storage") or "core.windows.net"),
        audience=manager if manager in audiences or not audiences else audiences[0],
    )


def _fetch(url: str, env: Mapping[str, str]) -> Any:
    bundle = env.get("REQUESTS_CA_BUNDLE") or env.get("SSL_CERT_FILE")  # as the Azure SDK does
    context = ssl.create_default_context(cafile=bundle)
    with urllib.request.urlopen(url, timeout=METADATA_TIMEOUT_S, context=context) as answer:  # noqa: S310 (https only)
        return json.load(answer)
