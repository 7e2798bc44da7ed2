"""What errors say: one plain line, without secrets."""

from __future__ import annotations

import json
import time

import pytest

from deployer.cloud.answers import LONGEST, one_line, read_refusal, refused
from deployer.errors import DeniedError, PlatformError

TENANT = "11111111-2222-3333-4444-555555555556"
CLUSTER = "OnlineEndpoint foo-bar already exists in cluster"


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (
            {"error": {"code": "UserError", "message": "Deployment d not found", "details": []}},
            "UserError",
            "Deployment d not found",
        ),
        (
            {
                "error": {
                    "code": "BadRequest",
                    "message": "The request is invalid.",
                    "details": [
                        {
                            "code": "InferencingClientCallFailed",
                            "message": json.dumps({"errors": {"": [CLUSTER]}, "title": "One or more"}),
                        }
                    ],
                }
            },
            "InferencingClientCallFailed",
            f"The request is invalid.; {CLUSTER}",
        ),
        (
            {
                "code": "BadRequest",
                "statusCode": 400,
                "message": "bad",
                "details": [{"code": "KubernetesUnaccessible", "message": "m"}],
            },
            "KubernetesUnaccessible",
            "bad; m",
        ),
        ({"error": "invalid_client", "error_description": "AADSTS7000215: no"}, "invalid_client", "AADSTS7000215: no"),
        (
            {"error": {"code": "OutOfQuota", "message": "x", "innererror": {"code": "Cpu", "message": "x"}}},
            "OutOfQuota",
            "x",
        ),
        ({"error": {"code": None, "message": None, "details": None}}, "", ""),
        ([], "", "[]"),
        ("plain", "", '"plain"'),
    ],
)
def test_code_and_message_are_found_in_every_shape(body: object, code: str, text: str) -> None:
    refusal = read_refusal(json.dumps(body))
    assert (refusal.code, refusal.text) == (code, text)


def test_a_page_of_a_proxy_is_read_as_text() -> None:
    assert read_refusal("<html><h1>502 Bad Gateway</h1>\n</html>").text == "502 Bad Gateway"


def test_terminal_codes_and_line_ends_are_removed() -> None:
    assert one_line("\x1b[31mred\x1b[0m\r\n\tand\x07 \x1b]0;title\x07plain\x00\u0085end") == "red and plain end"


def test_a_long_text_is_cut() -> None:
    assert len(one_line("word " * 1000)) == LONGEST


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRETsecretSECRETsecret.x-y",
        "got https://a.blob.core.windows.net/c/b?sv=2021&sig=SECRETsecretSECRETsecret%3D and left",
        "token eyJSECRETsecret.SECRETsecret.SECRETsecret",
        '{"primaryKey": "SECRETsecretSECRETsecret=="}',
        "AccountKey=SECRETsecretSECRETsecret==;EndpointSuffix=core",
        "client_secret=SECRETsecretSECRETsecret",
        "https://user:SECRETsecret@host/path",
        "https://SECRETsecret" + ":x-oauth-basic@github.com/a/b.git",
        "postgres://svc" + ':a"b@SECRETsecret@db/x',
        "https://user" + ":SECRETsecret?a@host/path",
        "SharedAccessSignature sr=x&sig=SECRETsecretSECRETsecret",
        "password=SECRETsecret",
        "Authorization: Basic SECRETsecret7Q==",
        "hf_SECRETsecretSECRETsecretSECRETsecret",
        "https://hooks.slack.com/services/T0/B0/SECRETsecret",
        5 * "-" + "BEGIN PRIVATE KEY" + 5 * "-" + " SECRETsecret",
        5 * "-" + "BEGIN PGP PRIVATE KEY BLOCK" + 5 * "-" + " SECRETsecret",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    assert "SECRETsecret" not in one_line(text)


@pytest.mark.parametrize(
    "text", ["Bearer token is missing", "Bearer scheme expected", "the key is wrong: key=a-short-one"]
)
def test_words_about_secrets_stay(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    "text",
    ["a" * 3_000_000, "key=" * 500_000, "https://" * 400_000, "<" * 2_000_000, "\x1b[" * 900_000, "<a " * 900_000],
)
def test_a_text_of_any_length_is_read_at_once(text: str) -> None:
    started = time.monotonic()
    assert len(read_refusal(text).text) <= LONGEST
    assert time.monotonic() - started < 1.5


LINKED = (
    "The client 'x' has permission to perform action 'A.B/d/write' on scope 's'; however, it does not have permission to "
    "perform action(s) 'A.B/c/delete' on the linked scope(s) 't' (respectively) or the linked scope(s) are invalid."
)
"""As quoted in many issues; the first right is one that is there."""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AuthorizationFailed", "x does not have authorization to perform action 'A.B/c/delete' over scope 's'."),
        ("LinkedAuthorizationFailed", LINKED),
    ],
)
def test_the_right_that_is_missing_is_named_in_what_to_do(code: str, message: str) -> None:
    error = refused(403, json.dumps({"error": {"code": code, "message": message}}), "DELETE x")
    assert type(error) is DeniedError
    assert error.hint == "Give this identity A.B/c/delete there: see the roles in manifests/azure."


def test_a_subscription_that_is_not_registered_is_told_for_what() -> None:
    body = {"error": {"code": "SubscriptionNotRegistered", "message": "Resource provider [N/A] isn't registered."}}
    error = refused(409, json.dumps(body), "PUT x")
    assert type(error) is PlatformError, "waiting for an operation to end would not help"
    assert "Microsoft.Cdn" in error.hint
    assert "Microsoft.PolicyInsights" in error.hint


@pytest.mark.parametrize(
    ("said", "tenant"),
    [(f"It must match the tenant 'https://sts.windows.net/{TENANT}/' of this subscription.", TENANT), ("", "TENANT")],
)
def test_a_token_of_another_tenant_says_which_to_sign_in_to(said: str, tenant: str) -> None:
    message = f"The access token is from the wrong issuer 'https://sts.windows.net/{TENANT[::-1]}/'. {said}"
    body = {"error": {"code": "InvalidAuthenticationTokenTenant", "message": message}}
    error = refused(401, json.dumps(body), "GET x")
    assert type(error) is DeniedError
    assert f"`az login --tenant {tenant}`" in error.hint
