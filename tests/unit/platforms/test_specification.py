"""A version is kept in a few tags and comes back as it was, or not at all."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deployer.platforms.online.specification import CHUNKS_MAX, PREFIX, VALUE_MAX, record, recorded, stale

DIGEST = "0f" * 32
OTHER = "1e" * 32
WORKSPACE = (
    "/subscriptions/8d1f5c5e-7a0e-4b7e-9a55-0d3f6f3c1a2b/resourceGroups/ml-production"
    "/providers/Microsoft.MachineLearningServices/workspaces/ml-production-weu"
)
PROBE = {"failureThreshold": 30, "initialDelay": "PT10S", "period": "PT10S", "successThreshold": 1, "timeout": "PT2S"}
BODY: dict[str, Any] = {
    "location": "westeurope",
    "sku": {"name": "Default", "capacity": 3},
    "tags": {"deployer.digest": DIGEST, "owner": "team-a"},
    "properties": {
        "endpointComputeType": "Managed",
        "model": f"{WORKSPACE}/models/digits/versions/7",
        "environmentId": f"{WORKSPACE}/environments/CliV2AnonymousEnvironment/versions/9bd4f2f7aa9d1c5a7e6f0d2c4b8a1e3f",
        "codeConfiguration": {
            "codeId": f"{WORKSPACE}/codes/0b8a7d1e-1d8e-4c3b-8d4a-0a5f3f9f0a11/versions/1",
            "scoringScript": "score.py",
        },
        "instanceType": "Standard_DS3_v2",
        "environmentVariables": {"WORKER_COUNT": "4", "LOG_LEVEL": "info"},
        "properties": {},
        "appInsightsEnabled": True,
        "requestSettings": {"requestTimeout": "PT1M30S", "maxConcurrentRequestsPerInstance": 4},
        "livenessProbe": PROBE,
        "readinessProbe": PROBE,
        "scaleSettings": {"scaleType": "Default"},
    },
}

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=40)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
bodies = st.fixed_dictionaries(
    {"location": st.text(max_size=10), "properties": st.dictionaries(names, trees, max_size=6)},
    optional={"sku": trees, "tags": st.dictionaries(names, st.text(max_size=20), max_size=4)},
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def with_variables(**variables: str) -> dict[str, Any]:
    return {**BODY, "properties": {**BODY["properties"], "environmentVariables": variables}}


def test_a_usual_body_takes_two_tags() -> None:
    recording = record(BODY, DIGEST)
    assert not recording.problem
    assert len(recording.tags) == 2


def test_what_was_recorded_is_the_body_again() -> None:
    found = recorded(record(BODY, DIGEST).tags, DIGEST)
    assert found is not None
    assert found.body == BODY
    assert found.missing == ()


@given(bodies, digests)
def test_any_body_comes_back_as_it_was_or_is_not_recorded_with_a_reason(body: dict[str, Any], digest: str) -> None:
    recording = record(body, digest)
    found = recorded(recording.tags, digest)
    if recording.problem:
        assert recording.tags == {}
        assert found is None
    else:
        assert found is not None
        assert found.missing == recording.omitted
        if not found.missing:
            assert found.body == body


@given(bodies, digests)
def test_tags_stay_within_what_azure_takes(body: dict[str, Any], digest: str) -> None:
    tags = record(body, digest).tags
    assert len(tags) <= CHUNKS_MAX
    for key, value in tags.items():
        assert key.startswith(f"{PREFIX}{digest[:12]}.")
        assert len(key) <= 512
        assert 0 < len(value) <= VALUE_MAX
        assert value.isascii()
        assert value.isprintable()


@given(st.data())
def test_a_garbled_or_missing_chunk_is_nothing_and_never_an_exception(data: st.DataObject) -> None:
    tags = dict(record({**BODY, "description": data.draw(st.text(max_size=900))}, DIGEST).tags)
    key = data.draw(st.sampled_from(sorted(tags)))
    damaged = data.draw(st.none() | st.just("") | st.text(max_size=VALUE_MAX))
    if damaged == tags[key]:
        return
    if damaged is None:
        del tags[key]
    else:
        tags[key] = damaged
    assert recorded(tags, DIGEST) is None


@given(st.data())
def test_one_changed_character_is_noticed(data: st.DataObject) -> None:
    tags = dict(record(BODY, DIGEST).tags)
    key = data.draw(st.sampled_from(sorted(tags)))
    at = data.draw(st.integers(0, len(tags[key]) - 1))
    other = data.draw(st.sampled_from("09AZaz-_=: "))
    changed = tags[key][:at] + other + tags[key][at + 1 :]
    if changed != tags[key]:
        assert recorded({**tags, key: changed}, DIGEST) is None


def test_chunks_in_another_order_are_nothing() -> None:
    tags = record({**BODY, "description": "".join(chr(0x4E00 + n * 7 % 5000) for n in range(400))}, DIGEST).tags
    keys, values = sorted(tags), [tags[key] for key in sorted(tags)]
    assert len(keys) >= 3
    assert recorded(dict(zip(keys, [values[0], values[2], values[1], *values[3:]], strict=True)), DIGEST) is None


@given(st.dictionaries(st.integers(0, 14), st.text(max_size=VALUE_MAX), max_size=14))
@example({0: "1:99:00000000:"})
@example({0: "1:0:e3b0c442:"})
def test_hostile_tags_are_nothing_and_never_an_exception(values: dict[int, str]) -> None:
    tags = {f"{PREFIX}{DIGEST[:12]}.{n}": value for n, value in values.items()}
    assert recorded(tags, DIGEST) is None
    assert set(stale(tags, [])) == set(tags)
    stale(tags, [DIGEST])


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 60_000,
        b"0" * 70_000,
        b"null",
        b"[]",
        b'{"body":null,"digest":"","omitted":[]}',
        json.dumps({"body": {"location": 1, "properties": {}}, "digest": DIGEST, "omitted": []}).encode(),
        json.dumps({"body": {"location": "x", "properties": []}, "digest": DIGEST, "omitted": []}).encode(),
        json.dumps({"body": {"location": "x", "properties": {}}, "digest": DIGEST, "omitted": [1]}).encode(),
        json.dumps({"body": {"location": "x", "properties": {}}, "digest": OTHER, "omitted": []}).encode(),
        b"\xff\xfe",
    ],
)
def test_well_packed_nonsense_is_nothing(text: bytes) -> None:
    assert recorded(forged(text), DIGEST) is None


HOOK = "https://hooks.slack" + ".com/services/T0001/B0001/abcdefgh"


@pytest.mark.parametrize(
    "value",
    [
        '{"db": {"password": "hunter2"}}',
        "{'db_password' : 'hunter2'}",
        '"{\\"api_key\\": \\"hunter2\\"}"',
        "mail:\n  client_secret: hunter2",
        HOOK,
        f"notify={HOOK.replace('services', 'triggers')}",
        "https://corp.webhook.office" + ".com/webhookb2/0b8a7d1e@x/IncomingWebhook/y/z",
        "https://discord" + ".com/api/webhooks/1/abc",
    ],
)
def test_secrets_in_documents_and_addresses_stay_out(value: str) -> None:
    recording = record(with_variables(CONFIG=value, LOG_LEVEL="info"), DIGEST)
    assert recording.omitted == ("CONFIG",)


@pytest.mark.parametrize(
    "value", ["https://slack.com/help", '{"db": {"host": "x", "passwords": 0}}', "https://hooks.slack.com/"]
)
def test_harmless_documents_and_addresses_are_kept(value: str) -> None:
    assert record(with_variables(CONFIG=value), DIGEST).omitted == ()


@pytest.mark.parametrize("prefix", ["", "azureml:"])
def test_a_record_that_names_assets_of_another_workspace_is_not_ours(prefix: str) -> None:
    """Whoever may write tags may not thereby choose what runs with the identity of the endpoint."""
    tags = record(
        {**BODY, "properties": {**BODY["properties"], "model": f"{prefix}{BODY['properties']['model']}"}}, DIGEST
    ).tags
    assert recorded(tags, DIGEST, home=WORKSPACE.upper()) is not None
    assert recorded(tags, DIGEST, home=f"{WORKSPACE}2") is None
    assert recorded(tags, DIGEST, home=WORKSPACE[:-1]) is None


def test_assets_of_registries_are_at_home_everywhere() -> None:
    body = {"location": "x", "properties": {"model": "azureml://registries/r/models/m/versions/1"}}
    assert recorded(record(body, DIGEST).tags, DIGEST, home=WORKSPACE) is not None


def test_a_registry_named_by_its_own_id_is_at_home_too() -> None:
    registry = f"{WORKSPACE.rpartition('/workspaces/')[0]}/registries/r"
    body = {"location": "x", "properties": {"model": f"{registry}/models/m/versions/1"}}
    assert recorded(record(body, DIGEST).tags, DIGEST, home=WORKSPACE) is not None


@pytest.mark.parametrize(
    "properties",
    [
        {"model": "azureml://subscriptions/s/resourcegroups/g/workspaces/w/models/m/versions/1"},
        {"environmentId": f"{WORKSPACE}2/environments/e/versions/1"},
        {"codeConfiguration": {"codeId": f"{WORKSPACE}2/codes/c/versions/1", "scoringScript": "score.py"}},
    ],
)
def test_what_would_not_be_read_back_is_said_when_it_is_recorded(properties: dict[str, Any]) -> None:
    recording = record({"location": "x", "properties": properties}, DIGEST, home=WORKSPACE)
    assert not recording.tags
    assert "another workspace" in recording.problem


def test_ids_in_environment_variables_name_whatever_they_like() -> None:
    vault = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"
    body = with_variables(VAULT=vault)
    recording = record(body, DIGEST, home=WORKSPACE)
    read = recorded(recording.tags, DIGEST, home=WORKSPACE)
    assert read is not None
    assert read.body == body


def test_a_tag_that_inflates_without_end_is_nothing() -> None:
    sense = {"body": {"location": "x" * 1_000_000, "properties": {}}, "digest": DIGEST, "omitted": []}
    assert len(str(forged(json.dumps(sense).encode()))) < CHUNKS_MAX * VALUE_MAX
    assert recorded(forged(json.dumps(sense).encode()), DIGEST) is None


def test_a_forger_of_sense_is_understood_so_that_the_test_above_tests_something() -> None:
    sense = {"body": {"location": "x", "properties": {}}, "digest": DIGEST, "omitted": []}
    found = recorded(forged(json.dumps(sense).encode()), DIGEST)
    assert found is not None
    assert found.body == sense["body"]


def forged(text: bytes) -> dict[str, str]:
    from hashlib import sha256  # noqa: PLC0415

    from deployer.platforms.online import specification  # noqa: PLC0415

    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, specification._WORDS)
    packed = base64.urlsafe_b64encode(packer.compress(text) + packer.flush()).decode()
    whole = f"1:1:{sha256(packed.encode()).hexdigest()[:8]}:{packed}"
    return {f"{PREFIX}{DIGEST[:12]}.0": whole}


def test_a_version_recorded_by_format_1_is_still_read() -> None:
    """Written once by this code; what is on endpoints out there must stay readable (change it: add a format)."""
    tags = {f"{PREFIX}{DIGEST[:12]}.{n}": value for n, value in enumerate(FORMAT_1)}
    found = recorded(tags, DIGEST)
    assert found is not None
    assert found.body == BODY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "abc"),
        ("apiKey", "abc"),
        ("PRIMARYKEY", "abc"),
        ("DB_PASSWORD", "123456"),
        ("db-pwd", "x"),
        ("HF_TOKEN", "abc"),
        ("CLIENT_SECRET", "x"),
        ("STORAGE_CONNECTION_STRING", "UseDevelopmentStorage"),
        ("SAS", "x"),
        ("AWS_CREDENTIALS", "x"),
        ("URL", "https://a.blob.core/c/b?sv=2024&sig=abc%2Bdef"),
        ("STORE", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v"),
        ("DB", "postgresql://user:hunter2@db/x"),
        ("A", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),
        ("B", "-----BEGIN RSA PRIVATE" + " KEY-----"),
        ("C", "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("D", "9c1185a5c5e9fc54612808977ee8f548"),
        ("E", "kP3vX9qLm2Rt7YwZ5bNc8HsJ4dGf6AeQ"),
    ],
)
def test_what_looks_like_a_secret_is_not_written_and_its_absence_is_said(name: str, value: str) -> None:
    recording = record(with_variables(**{name: value, "LOG_LEVEL": "info"}), DIGEST)
    assert recording.omitted == (name,)
    found = recorded(recording.tags, DIGEST)
    assert found is not None
    assert found.missing == (name,)
    assert found.body["properties"]["environmentVariables"] == {"LOG_LEVEL": "info"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_COUNT", "4"),
        ("MAX_TOKENS", "4096"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("AZURE_CLIENT_ID", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
        ("MODEL_NAME", "sentence-transformers/all-MiniLM-L6-v2"),
        ("SERVICE_URL", "https://my-service-01.westeurope.cloudapp.azure.com/v1"),
        ("PYTHONPATH", "/usr/local/lib/python3.11/site-packages"),
        ("OPENAI_API_KEY", "${{azureml://connections/aoai/credentials/key}}"),
        ("DB_PASSWORD", "keyvaultref:https://v.vault.azure.net/secrets/db"),
        ("AUTHOR", "team-a"),
    ],
)
def test_a_harmless_setting_and_a_reference_to_a_secret_are_kept(name: str, value: str) -> None:
    assert record(with_variables(**{name: value}), DIGEST).omitted == ()


def test_a_secret_outside_the_variables_keeps_the_whole_version_out() -> None:
    body = {**BODY, "properties": {**BODY["properties"], "description": "see https://x/y?sv=1&sig=abc"}}
    recording = record(body, DIGEST)
    assert recording.tags == {}
    assert "secret" in recording.problem


@given(
    st.text("0123456789abcdef", min_size=32, max_size=32).filter(
        lambda text: sum(c.isdigit() for c in text) in range(12, 25)
    )
)
def test_no_secret_reaches_a_tag(secret: str) -> None:
    body = with_variables(PASSWORD=secret)
    body["properties"]["properties"] = {"token": secret}
    recording = record(body, DIGEST)
    found = recorded(recording.tags, DIGEST)
    assert found is not None
    assert secret not in json.dumps(found.body)
    assert recording.omitted == ("PASSWORD", "token")


def test_what_takes_more_tags_than_are_free_is_not_recorded_and_says_so() -> None:
    assert record(BODY, DIGEST, room=1).problem == "its specification takes 2 tags of the endpoint, 1 are free"
    assert record(BODY, DIGEST, room=1).tags == {}
    assert record(BODY, DIGEST, room=2).problem == ""


def test_what_is_far_too_large_is_not_recorded_and_says_so() -> None:
    assert "bytes" in record({**BODY, "description": "x" * 70_000}, DIGEST).problem


def test_tags_of_versions_that_nobody_returns_to_are_stale() -> None:
    ours, others = record(BODY, DIGEST).tags, record(BODY, OTHER).tags
    tags = {**ours, **others, "owner": "team-a", "deployer.good": "1|blue|x|0"}
    assert stale(tags, [DIGEST, OTHER]) == []
    assert stale(tags, [DIGEST]) == sorted(others)
    assert stale(tags, []) == sorted({**ours, **others})


def test_chunks_left_over_from_a_longer_recording_are_stale() -> None:
    ours = record(BODY, DIGEST).tags
    left = f"{PREFIX}{DIGEST[:12]}.{len(ours)}"
    assert stale({**ours, left: "x"}, [DIGEST]) == [left]


FORMAT_1 = (
    (
        "1:2:e9bccb8e:zZbLCsIwEEV_qANJkzTtB4ibgju3ZZLJgOBjpf19pyJoA6LWJ9lOwuTOzcm9Z8jiASNOsGBNml10CTyqBDb4BA06B4oMV2yixjLk"
        "Nt2sQXqh_YmJUz07OgT6tD-bWIUaPekEmmppKJoANVkEhY4NN6xQ6w8a_W_VefYFNoEsl-wRG9LRoU8VKyqjFX11Mjy-_IjC7WLetbPlrBVBVlveSWkG"
        "ZjtoexuupjuUsunHDPjbUZ7hJBi"
    ),
    "QX_4yMZ-_cblMTq0vaTiJjbZ4Ax2HwjzFmSLPcVJ1OwUqfm2JTLte8tUQkRJuAE9dvfX4K-4fAQ==",
)
