"""Whatever the SDK raises becomes one plain line, of the class a caller acts on."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core import PipelineClient
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest
from doubles.arm_script import Answer, ScriptedTransport

from deployer.errors import DeniedError, NotFoundError, PlatformError, QuotaExceededError, TransientError
from deployer.platforms.online.azureml_errors import translated

ARM = "https://management.example/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices"
MODEL = f"{ARM}/workspaces/ws/models/m/versions/1"
BLOB = "https://account.blob.core.example/container/LocalUpload/x/model.bin?sv=2024&sig=c2VjcmV0c2VjcmV0"
WHAT = "compiling deployment blue"


def answered(
    status: int, url: str = MODEL, body: Any = None, error: type[HttpResponseError] = HttpResponseError
) -> Any:
    client: Any = PipelineClient("https://x", policies=[], transport=ScriptedTransport(Answer(status, body or {})))
    return error(response=client.send_request(HttpRequest("GET", url)))


def ml_exception(message: str, **more: Any) -> Exception:
    from azure.ai.ml.exceptions import MlException  # noqa: PLC0415

    return MlException(message, no_personal_data_message="", **more)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "AuthenticationFailed", DeniedError),
        (403, "AuthorizationFailed", DeniedError),
        (404, "ModelNotFound", NotFoundError),
        (408, "Timeout", TransientError),
        (429, "TooManyRequests", TransientError),
        (503, "ServiceUnavailable", TransientError),
        (400, "OutOfQuota", QuotaExceededError),
        (400, "BadArgument", PlatformError),
    ],
)
def test_an_answer_of_arm_is_sorted_by_status_and_code(status: int, code: str, kind: type[PlatformError]) -> None:
    found = translated(answered(status, body={"error": {"code": code, "message": "no\nway \x1b[31mred"}}), WHAT)
    assert type(found) is kind
    assert found.code == code
    assert found.message == f"compiling deployment blue: GET models/m/versions/1: no way red ({code})"
    assert found.hint


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, DeniedError), (401, DeniedError), (404, NotFoundError), (503, TransientError), (409, PlatformError)],
)
def test_an_answer_of_storage_names_the_account_and_never_the_signature(status: int, kind: type[PlatformError]) -> None:
    found = translated(answered(status, BLOB), WHAT)
    assert type(found) is kind
    assert "storage account account refused" in found.message
    assert "sig" not in found.message


def test_a_refused_upload_names_the_role_that_is_missing() -> None:
    assert "Storage Blob Data Contributor" in translated(answered(403, BLOB), WHAT).hint


def test_what_the_sdk_wrapped_is_what_counts() -> None:
    wrapped = ml_exception("Error with model: something")
    wrapped.__cause__ = answered(403, BLOB)
    assert type(translated(wrapped, WHAT)) is DeniedError


@pytest.mark.parametrize("error", [ServiceRequestError("reset"), ServiceResponseError("cut")])
def test_no_answer_is_transient(error: Exception) -> None:
    assert type(translated(error, WHAT)) is TransientError


def test_no_token_is_denied() -> None:
    found = translated(ClientAuthenticationError("no credential in the chain"), WHAT)
    assert type(found) is DeniedError
    assert "az login" in found.hint


def test_a_file_that_cannot_be_read_is_named() -> None:
    found = translated(FileNotFoundError(2, "No such file or directory", "src/score.py"), WHAT)
    assert type(found) is PlatformError
    assert "src/score.py" in found.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "\x1b[30m\n\n1) One or more\x1b[39m\n\nDetails: \n\n(x) bad\nline\n\nResolutions: \n1) Double-check",
            "bad line",
        ),
        (
            "Validation failed: {...}\nVisit this link to refer to the schema: https://aka.ms/x",
            "Validation failed: {...}",
        ),
        ("Error with model: empty", "Error with model: empty"),
    ],
)
def test_of_a_validation_error_the_reason_is_told_without_colours_lines_and_advice(text: str, told: str) -> None:
    assert translated(ml_exception(text), WHAT).message == f"{WHAT}: {told}"


def test_an_asset_that_does_not_exist_is_not_found_however_deep_the_sdk_says_so() -> None:
    from azure.ai.ml.exceptions import ValidationErrorType, ValidationException  # noqa: PLC0415

    outer = ml_exception("Asset m does not exist in workspace ws.")
    outer.__context__ = ValidationException(
        "Asset m does not exist", no_personal_data_message="", error_type=ValidationErrorType.RESOURCE_NOT_FOUND
    )
    assert type(translated(outer, WHAT)) is NotFoundError


def test_a_mistake_of_the_sdk_is_a_platform_error_with_its_name() -> None:
    found = translated(AttributeError("'NoneType' object has no attribute 'strftime'"), WHAT)
    assert type(found) is PlatformError
    assert "azure-ai-ml failed: AttributeError" in found.message


@pytest.mark.parametrize("error", [answered(403, BLOB), ServiceRequestError("x?sig=c2VjcmV0"), ValueError("a\nb")])
def test_it_is_always_one_line(error: Exception) -> None:
    assert "\n" not in translated(error, WHAT).message
