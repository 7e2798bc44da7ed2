"""What azure-ai-ml and the storage libraries under it raise, as deployer's errors: one plain line and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from deployer.cloud.answers import one_line, refused, unanswered, without_identity
from deployer.errors import DeniedError, NotFoundError, PlatformError, TransientError

_DETAILS = re.compile(r"Details: \(x\) (.*?)(?: If you wish to bypass| Resolutions:|$)")


def translated(exc: BaseException, what: str) -> PlatformError:
    """Turn what the SDK raised while doing ``what`` into the error a caller acts on."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415

    chain = list(_chain(exc))
    for each in chain:  # the SDK wraps what was wrong in its own classes, which say less
        if isinstance(each, AzureError) and not _is_of_sdk(each):
            return _by_answer(each, what)
    for each in chain:
        if isinstance(each, OSError):
            return PlatformError(
                f"{what}: {one_line(str(each))}", hint="Check the local files that the deployment names."
            )
    if _is_of_sdk(exc) or type(exc).__module__.startswith("marshmallow"):
        return _by_validation(chain, what)
    return PlatformError(
        f"{what}: azure-ai-ml failed: {type(exc).__name__}: {one_line(str(exc))}",
        hint="Run it with --debug, and report it with the installed azure-ai-ml version.",
    )


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def _is_of_sdk(exc: BaseException) -> bool:
    """Whether it is an ``azure.ai.ml.exceptions.MlException``, which is an AzureError and carries no answer."""
    return hasattr(exc, "no_personal_data_message")


def _by_answer(exc: Any, what: str) -> PlatformError:
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415

    response = getattr(exc, "response", None)
    if response is None:
        sort = without_identity if isinstance(exc, ClientAuthenticationError) else unanswered
        return sort(exc, what)
    url = urlsplit(str(response.request.url))
    if not url.path.lower().startswith("/subscriptions/"):
        return _by_storage(response.status_code, url.hostname or "", exc, what)
    text = str(exc.message)
    with suppress(Exception):  # a body that was streamed and closed
        text = response.text()
    return refused(response.status_code, text, f"{what}: {response.request.method} {_asset(url.path)}")


def _by_storage(status: int, host: str, exc: Any, what: str) -> PlatformError:
    found = getattr(exc, "error_code", None)
    code = str(getattr(found, "value", found) or f"HTTP {status}")
    told = f"{what}: storage account {host.partition('.')[0]} refused the upload ({code})"
    if status in {401, 403}:
        error: PlatformError = DeniedError(
            told,
            hint="Give this identity Storage Blob Data Contributor on it, and let its firewall admit this network.",
        )
    elif status in {408, 429} or status >= 500:
        error = TransientError(told, hint="Try again in a minute; the storage account was busy.")
    elif status == 404:
        error = NotFoundError(told, hint="Check the default datastore of the workspace.")
    else:
        error = PlatformError(told, hint="Check the storage account of the workspace.")
    error.code = code
    return error


def _by_validation(chain: list[BaseException], what: str) -> PlatformError:
    first: Any = chain[0]
    text = one_line(str(getattr(first, "message", "") or first), longest=4000)
    told = f"{what}: {_shortened(text)}"
    if any(str(getattr(each, "error_type", "")).endswith("RESOURCE_NOT_FOUND") for each in chain):
        return NotFoundError(told, hint="Check the names of assets in the deployment's YAML.")
    return PlatformError(told, hint="Correct the deployment's YAML or the files it names.")


def _shortened(text: str) -> str:
    """Take the reason out of what the SDK wraps in advice for its own command line."""
    details = _DETAILS.search(text)
    return one_line(details[1] if details else text.partition(" Visit this link")[0])


def _asset(path: str) -> str:
    """The part of an ARM path that tells a reader something."""
    return path.partition("/workspaces/")[2].partition("/")[2] or path.rpartition("/providers/")[2]
