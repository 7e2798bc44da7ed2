"""Secrets in texts from outside are left out by their form, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.manifest.schema import NAME_PATTERN
from deployer.manifest.secrecy import LEFT_OUT, record_without_secrets, without_secrets

VALUE = "planted" + "Value99x"
DASHES = 5 * "-"
JWT = "eyJhbGciOiJSUzI1NiJ9" + ".eyJzdWIiOiJhIn0.sig_n-ature"
SECRET_TEXTS = [
    f"401: Authorization: Bearer {VALUE}",
    f"https://host/path?a=b&sig={VALUE}&c=d",
    f"AccountName=a;AccountKey={VALUE}==;EndpointSuffix=x",
    f"InstrumentationKey={VALUE};IngestionEndpoint=x",
    f'{{"password": "{VALUE}"}}',
    json.dumps(json.dumps({"api_key": VALUE})),
    f"client_secret={VALUE}",
    f"x-api-key: {VALUE}",
    f"access_token={VALUE}",
    f"postgres://user:{VALUE}@db:5432/x",
    f"https://hooks.slack.com/services/T0/B0/{VALUE}",
    f"https://x.webhook.office.com/webhookb2/{VALUE}",
    f"{DASHES}BEGIN RSA PRIVATE KEY{DASHES}\n{VALUE}\n{DASHES}END RSA PRIVATE KEY{DASHES}",
    f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n{VALUE}",
    f"{DASHES}BEGIN PGP PRIVATE KEY BLOCK{DASHES}\n{VALUE}\n{DASHES}END PGP PRIVATE KEY BLOCK{DASHES}",
    f"api_key: {DASHES}BEGIN PRIVATE KEY{DASHES}\n{VALUE}",
    f"secret: '{DASHES}BEGIN PRIVATE KEY{DASHES}\n{VALUE}'",
    f"ghp_{VALUE}{VALUE}",
    f"sk-proj-{VALUE}-{VALUE}_{VALUE}",
    f"AZURE_CLIENT_SECRET={VALUE}",
    f"DB_PASSWORD = {VALUE}",
    f"OPENAI_API_KEY: {VALUE}",
    f"Pwd={{{VALUE};x}};Encrypt=yes",
    f'"primaryKey": "{VALUE}"',
    f"Ocp-Apim-Subscription-Key:  {VALUE}",
    f"Authorization: Basic {VALUE}==",
    f'password="a b {VALUE} d"',
    JWT.replace("sig_n-ature", VALUE),
]
HARMLESS = [
    "Bearer token is missing",
    "the password is wrong",
    "password: wrong",
    "id_token: null",
    "notify[0].secret: must be a text",
    "Bearer scheme expected",
    "Basic authentication is off",
    '{"secret": 0.93}',
    "sk-learn-forest-v1",
    "azureml:hf_sentiment_classifier_of_all_kinds:3",
    "p95 27.2x the stable's (22.1 to 32.6)",
    "http://127.0.0.1:8321/?token=shown-on-purpose",
    "design=abcdefghij",
    "keyvaultref:https://vault/secrets/name",
    "tiny model 2 at azureml://registries/azureml/models/x/versions/1",
    "digest 1aa868ff3915efa80e9c2a0d44fa03bc6ae12702a2627488cbf01ac554c1f8aa",
    "",
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_what_has_the_form_of_a_secret_is_left_out_and_that_is_said(text: str) -> None:
    said = without_secrets(f"before {text} after")
    assert VALUE not in said
    assert LEFT_OUT in said
    assert said.startswith("before ")


@pytest.mark.parametrize("text", HARMLESS)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_leaving_out_twice_changes_nothing_more(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once


def test_every_text_of_a_document_loses_its_secrets_and_the_rest_is_kept() -> None:
    record = {"a": [f"sig={VALUE}", 1, None], "b": {"c": (f"pwd={VALUE}", True)}, "d": 0.5}
    assert record_without_secrets(record) == {
        "a": [f"sig={LEFT_OUT}", 1, None],
        "b": {"c": [f"pwd={LEFT_OUT}", True]},
        "d": 0.5,
    }


def test_beginnings_of_a_token_without_end_are_read_once() -> None:
    text = "eyJ-" * 250_000  # each beginning read to its end would take hours
    assert without_secrets(text) == text


LIKE_TOKENS = r"\A(sk-|glpat-|xoxb-|dapi|hf)[a-z0-9-]{1,25}[a-z0-9]\Z"


@given(st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 32) | st.from_regex(LIKE_TOKENS))
def test_no_name_has_the_form_of_a_secret(name: str) -> None:
    assert without_secrets(name) == name


def test_json_stays_json() -> None:
    document = json.dumps({"x": json.dumps({"password": VALUE, "y": "sig=" + VALUE})})
    assert json.loads(json.loads(without_secrets(document))["x"])["y"] == f"sig={LEFT_OUT}"
