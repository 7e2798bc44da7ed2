"""Who asks: what CI vouches for comes first, unless somebody has said which identity to use."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message
from http.client import IncompleteRead
from typing import Any
from urllib.parse import quote

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    AzureCliCredential,
    AzurePipelinesCredential,
    ClientAssertionCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
)

from deployer.cloud.answers import without_identity
from deployer.cloud.clouds import find_cloud
from deployer.cloud.credentials import Renewable, credential, ends_early, github_assertion
from deployer.errors import DeniedError, PlatformError, TransientError
from tests.doubles.arm_script import Tokens

GITHUB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://pipelines.actions.example/token?v=1",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t",
    "AZURE_CLIENT_ID": "c",
    "AZURE_TENANT_ID": "d",
}
PUBLIC = "api://AzureADTokenExchange"
PIPELINES = {
    "SYSTEM_OIDCREQUESTURI": "https://dev.azure.example/oidc",
    "SYSTEM_ACCESSTOKEN": "t",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "s",
    "AZURESUBSCRIPTION_CLIENT_ID": "c",
    "AZURESUBSCRIPTION_TENANT_ID": "d",
}


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, DefaultAzureCredential),
        (GITHUB, ClientAssertionCredential),
        (PIPELINES, AzurePipelinesCredential),
        ({**GITHUB, "AZURE_TENANT_ID": ""}, DefaultAzureCredential),
        ({**GITHUB, "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential"}, DefaultAzureCredential),
        ({**GITHUB, "AZURE_FEDERATED_TOKEN_FILE": "/x"}, DefaultAzureCredential),
        ({**PIPELINES, "AZURE_CLIENT_SECRET": "x"}, DefaultAzureCredential),
    ],
)
def test_the_identity_is_that_of_the_environment(env: dict[str, str], kind: type[Any]) -> None:
    found = credential(find_cloud("", {}), env)
    assert type(found.identity) is kind
    found.close()


def asked(env: dict[str, str], giver: type[Any]) -> Renewable:
    """The identity of ``env``, after ``giver`` of its chain gave a token."""
    found = credential(find_cloud("", {}), env)
    if isinstance(found.identity, DefaultAzureCredential):
        assert hasattr(found.identity, "_successful_credential"), "azure-identity has renamed it"
        found.identity._successful_credential = giver()
    return found


@pytest.mark.parametrize(
    ("env", "giver", "missing"),
    [
        ({"GITHUB_ACTIONS": "true"}, AzureCliCredential, ", ".join(GITHUB)),
        ({"GITHUB_ACTIONS": "true", **GITHUB, "AZURE_CLIENT_ID": ""}, AzureCliCredential, "(AZURE_CLIENT_ID missing)"),
        (
            {"TF_BUILD": "True", **PIPELINES, "SYSTEM_ACCESSTOKEN": ""},
            AzureCliCredential,
            "(SYSTEM_ACCESSTOKEN missing)",
        ),
        ({"GITHUB_ACTIONS": "true", **GITHUB, "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential"}, AzureCliCredential, ""),
    ],
)
def test_in_ci_a_login_that_cannot_be_renewed_is_told(env: dict[str, str], giver: type[Any], missing: str) -> None:
    early = ends_early(asked(env, giver), env)
    assert early is not None
    why, how = early
    assert "cannot be renewed" in why
    assert missing in why
    assert ("id-token" in how) is ("GITHUB_ACTIONS" in env)
    assert ("SYSTEM_ACCESSTOKEN" in how) is ("TF_BUILD" in env)


@pytest.mark.parametrize(
    ("env", "giver"),
    [
        ({}, AzureCliCredential),
        ({"GITHUB_ACTIONS": "true"}, ManagedIdentityCredential),
        ({"GITHUB_ACTIONS": "true", **GITHUB}, AzureCliCredential),
        ({"TF_BUILD": "True", **PIPELINES}, AzureCliCredential),
    ],
)
def test_an_identity_that_lasts_is_not_warned_of(env: dict[str, str], giver: type[Any]) -> None:
    assert ends_early(asked(env, giver), env) is None


def test_a_token_that_was_refused_is_not_given_again() -> None:
    made: list[Tokens] = []

    def make() -> Tokens:
        made.append(Tokens())
        return made[-1]

    found = Renewable(make)
    found.get_token("scope")
    found.get_token("scope")
    assert len(made) == 1
    found.forget()
    found.get_token("scope")
    assert [each.given for each in made] == [2, 1]


def test_github_is_asked_again_for_each_token() -> None:
    asked: list[urllib.request.Request] = []

    def fetch(request: urllib.request.Request) -> Any:
        asked.append(request)
        return {"value": f"assertion-{len(asked)}"}

    ask = github_assertion(GITHUB["ACTIONS_ID_TOKEN_REQUEST_URL"], "t", PUBLIC, fetch)
    assert (ask(), ask()) == ("assertion-1", "assertion-2")
    assert asked[0].full_url.endswith("?v=1&audience=api%3A%2F%2FAzureADTokenExchange")
    assert asked[0].get_header("Authorization") == "Bearer t"


@pytest.mark.parametrize(
    ("cloud", "env", "audience"),
    [
        ("", {}, "api://AzureADTokenExchange"),
        ("AzureUSGovernment", {}, "api://AzureADTokenExchangeUSGov"),
        ("AzureChinaCloud", {}, "api://AzureADTokenExchangeChina"),
        ("Own", {}, "api://AzureADTokenExchange"),
        ("Own", {"DEPLOYER_EXCHANGE_AUDIENCE": "api://own"}, "api://own"),
    ],
)
def test_github_vouches_to_the_cloud_that_is_asked(
    cloud: str, env: dict[str, str], audience: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[urllib.request.Request] = []

    def open_url(request: urllib.request.Request, **_: Any) -> Any:
        asked.append(request)
        raise urllib.error.URLError("far enough")

    monkeypatch.setattr(urllib.request, "urlopen", open_url)
    monkeypatch.setattr(ClientAssertionCredential, "get_token", lambda self, *_: self._func())
    own = [{"name": "Own", "resourceManager": "https://a.example", "authentication": {"loginEndpoint": "https://b.x"}}]
    found = find_cloud(cloud, {"ARM_CLOUD_METADATA_URL": "https://a.example/metadata", **env}, lambda _: own)
    with pytest.raises(ClientAuthenticationError):
        credential(found, GITHUB).get_token("scope")
    assert asked[0].full_url.endswith(f"&audience={quote(audience, safe='')}")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (urllib.error.URLError("[Errno -3] Temporary failure in name resolution"), TransientError),
        (urllib.error.HTTPError("https://x", 503, "Service Unavailable", Message(), None), TransientError),
        (urllib.error.HTTPError("https://x", 401, "Unauthorized", Message(), None), DeniedError),
        (IncompleteRead(b""), DeniedError),
        (ValueError("no JSON"), DeniedError),
        ({"message": "no permission id-token"}, DeniedError),
        (["value"], DeniedError),
    ],
)
def test_where_github_does_not_vouch_there_is_no_identity(answer: Any, kind: type[PlatformError]) -> None:
    def fetch(_request: urllib.request.Request) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ClientAuthenticationError, match="GitHub did not vouch for this job") as caught:
        github_assertion(GITHUB["ACTIONS_ID_TOKEN_REQUEST_URL"], "t", PUBLIC, fetch)()
    assert type(without_identity(caught.value, "AzureCloud")) is kind


def test_the_jobs_own_token_goes_nowhere_without_tls() -> None:
    with pytest.raises(DeniedError):
        github_assertion("http://evil.example/?x=1", "t", PUBLIC, lambda _request: {"value": "x"})()
