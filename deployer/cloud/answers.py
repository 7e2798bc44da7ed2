"""What ARM and the network say when something goes wrong, as deployer's errors: short, plain, without secrets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from deployer.errors import (
    ConflictError,
    DeniedError,
    NotFoundError,
    PlatformError,
    QuotaExceededError,
    TransientError,
)
from deployer.manifest.secrecy import LEFT_OUT, WITH_USER, without_secrets

LONGEST = 600
"""Characters of an error text that are kept: a build log does not belong into one line."""
READ_MAX = 20_000
"""Characters of a text that are looked at: a page of a proxy may be megabytes long."""

_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")
_STRICTER = (
    WITH_USER,
    (re.compile(r"(https?://[^\s?\"'<>]{1,1000})\?[^\s\"'<>)]*", re.IGNORECASE), r"\1"),  # SAS and operation signatures
    (re.compile(r"\b(bearer|sharedaccesssignature)\s+[\w.~+/=%&-]{16,}", re.IGNORECASE), rf"\1 {LEFT_OUT}"),
    (
        re.compile(
            r"([\"']?\b\w{0,40}(?:key|token|secret|password|sig|assertion)\b[\"']?\s*[:=]\s*[\"']?)[\w.~+/=%-]{16,}",
            re.IGNORECASE,
        ),
        rf"\1{LEFT_OUT}",
    ),
)
"""Beyond what is certain (``without_secrets``): here nobody misses a harmless word that only looks like a secret."""
_VAGUE = {"", "badrequest", "usererror", "notfound", "validationerror", "invalid", "servererror", "conflict"}
"""Codes that say nothing the status does not say: a detail's code is better."""
_BUSY = re.compile(r"because it is in \w+ provisioning state", re.IGNORECASE)
"""Refused with 400, though it only came too early (azure-sdk-for-net#36961)."""
_QUOTA = re.compile(r"outofquota|quotaexceed|outofcapacity|insufficient.*quota|exceed.*quota", re.IGNORECASE)

_LACKING = re.compile(
    r"not have (?:authorization|permission) to perform action(?:\(s\))? '([\w./]{3,200})'", re.IGNORECASE
)
"""The right that ARM misses. LinkedAuthorizationFailed first names one that is there.

Source: ARM's sentences, as Microsoft's documentation and public issues quote them (2026-11-26).
"""
_TRIED = re.compile(r"^\s*(\w+)Credential: ", re.MULTILINE)
"""What ``DefaultAzureCredential`` asked in turn; of each it says at length that it is not set up."""
_ENTRA = re.compile(r"\bAADSTS\d+")
_AWAY = re.compile(
    r"timed out|timeout|resolve|getaddrinfo|Connection|annot connect|urlopen error|\b50[0234]\b|temporarily"
)
"""Who hands out tokens was not reached, or is out of order."""

_TENANT = re.compile(r"must match (?:one of )?the tenants? '?https://[\w.]+/([0-9a-f-]{36})/?'?", re.IGNORECASE)
"""The tenant that the subscription belongs to, as ``InvalidAuthenticationTokenTenant`` names it."""
REGISTER = (
    "Run `az provider register --namespace Microsoft.Cdn`, and the same for Microsoft.PolicyInsights; try again once "
    "both are registered."
)
"""Before the first managed endpoint of a subscription, whose refusal does not name what is missing.

Source: learn.microsoft.com/answers/questions/2068819, as public notes on managed endpoints quote it (2026-11-26).
"""
LOGIN = "Sign in with `az login`, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE (OIDC) in CI."


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer of ARM, read."""

    code: str
    text: str


def one_line(text: str, longest: int = LONGEST) -> str:
    """Make ``text`` one plain line without terminal codes and secrets."""
    line = _CONTROL.sub(" ", _ANSI.sub("", text[:READ_MAX])).strip()
    for pattern, kept in _STRICTER:
        line = pattern.sub(kept, line)
    line = without_secrets(line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def read_refusal(body: str) -> Refusal:
    """Find ARM's code and message in an error body of whatever shape.

    Source: azure/recordings/07 (bodies quoted in issues): ``error`` wrapped or bare, details, JSON inside the message.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return Refusal("", one_line(re.sub(r"<[^<>]*>", " ", body[:READ_MAX])))
    if not isinstance(answer, dict):
        return Refusal("", one_line(body))
    found = cast("dict[str, Any]", answer)
    error: Any = found.get("error") or found
    if not isinstance(error, dict):
        return Refusal(str(error), one_line(str(found.get("error_description") or error)))
    return _read_error(cast("dict[str, Any]", error))


def _read_error(error: Mapping[str, Any]) -> Refusal:
    code, texts = str(error.get("code") or ""), [_unpack(str(error.get("message") or ""))]
    inner: Any = error.get("innererror") or error.get("innerError") or {}
    details: list[Any] = [*(error.get("details") or []), inner]
    for detail in details:
        if isinstance(detail, dict) and detail:
            found = _read_error(cast("dict[str, Any]", detail))
            texts.append(found.text)
            if code.lower() in _VAGUE and found.code:
                code = found.code
    return Refusal(code, one_line("; ".join(dict.fromkeys(text for text in texts if text))))


def _unpack(message: str) -> str:
    """Take the sentences out of a message that is JSON itself, as the inference front end sends it."""
    try:
        found = json.loads(message)
    except ValueError:
        return message
    if not isinstance(found, dict):
        return message
    known = cast("dict[str, Any]", found)
    errors: Any = known.get("errors")
    if isinstance(errors, dict):
        lists = cast("dict[str, Any]", errors).values()
        texts = [
            str(text) for each in lists for text in (cast("list[Any]", each) if isinstance(each, list) else [each])
        ]
        return "; ".join(texts) or message
    return str(known.get("message") or known.get("title") or message)


def refused(status: int, body: str, what: str) -> PlatformError:
    """Turn an answer with ``status`` >= 400 to the request ``what`` into the error a caller acts on."""
    refusal = read_refusal(body)
    told = f"{what}: {refusal.text or 'no reason given'} ({refusal.code or f'HTTP {status}'})"
    made = _by_code(refusal, told) or _by_status(409 if _BUSY.search(refusal.text) else status, told)
    made.code = refusal.code
    return made


def _by_code(refusal: Refusal, told: str) -> PlatformError | None:
    code = refusal.code.lower()
    if code == "missingsubscriptionregistration":
        return PlatformError(told, hint="Run `az provider register --namespace` with the namespace named here, once.")
    if code == "subscriptionnotregistered":
        return PlatformError(told, hint=REGISTER)
    if code == "invalidauthenticationtokentenant":
        tenant = found[1] if (found := _TENANT.search(refusal.text)) else "TENANT"
        return DeniedError(told, hint=f"Sign in with `az login --tenant {tenant}`, or set AZURE_TENANT_ID to it.")
    if _QUOTA.search(refusal.code) or (code == "operationnotallowed" and "quota" in refusal.text.lower()):
        return QuotaExceededError(told, hint="Ask for more quota, use another instance type, or delete leftovers.")
    if code in {"authorizationfailed", "linkedauthorizationfailed"} and (lacking := _LACKING.search(refusal.text)):
        return DeniedError(told, hint=f"Give this identity {lacking[1]} there: see the roles in manifests/azure.")
    if code in {"authorizationfailed", "linkedauthorizationfailed", "requestdisallowedbypolicy"}:
        return DeniedError(told, hint="Give this identity the role that `deployer doctor` shows, or ask who owns it.")
    return None


def _by_status(status: int, told: str) -> PlatformError:
    if status in {408, 429} or status >= 500:
        return TransientError(told, hint="Try again in a minute; Azure was busy or did not answer.")
    if status == 401:
        return DeniedError(told, hint=LOGIN)
    if status == 403:
        return DeniedError(told, hint="Give this identity the role that `deployer doctor` shows.")
    if status == 404:
        return NotFoundError(told, hint="Check subscription, resource group, workspace and name.")
    if status in {409, 412}:
        return ConflictError(told, hint="Wait until the operation that is under way has ended.")
    return PlatformError(told, hint="Correct what Azure refused.")


def unanswered(exc: BaseException, what: str) -> TransientError:
    """Turn a failure to reach ARM, or to hear its answer, into an error: the effect is unknown."""
    text = f"{type(exc).__name__} {exc}"
    if re.search(r"getaddrinfo|name resolution|NameResolution|Name or service not known|nodename nor servname", text):
        return TransientError(
            f"{what}: the name of the host cannot be resolved", hint="Check DNS, the proxy and private endpoints."
        )
    if re.search(r"SSL|CERTIFICATE|certificate", text):
        return TransientError(
            f"{what}: TLS failed: {one_line(str(exc), 200)}",
            hint="Check the proxy, and name its certificate authority in REQUESTS_CA_BUNDLE.",
        )
    return TransientError(f"{what}: {one_line(str(exc), 200)}", hint="Check the network; then run it again.")


def without_identity(exc: BaseException, what: str) -> PlatformError:
    """Turn a failure to get a token for ``what`` into an error; a token service that is away may be back soon."""
    text = one_line(str(exc), 400)
    if _AWAY.search(text):
        return TransientError(f"no token for {what}: {text}", hint=f"Check the network. {LOGIN}")
    whole = str(exc)[:READ_MAX]
    tried = ", ".join(dict.fromkeys(_TRIED.findall(whole)))
    if not tried:
        return DeniedError(f"no token for {what}: {text}", hint=LOGIN)
    codes = "".join(f" ({code})" for code in dict.fromkeys(_ENTRA.findall(whole)))
    return DeniedError(f"no identity for {what}: {tried} gave no token{codes}", hint=LOGIN)
