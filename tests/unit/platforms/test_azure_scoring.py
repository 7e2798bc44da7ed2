"""Where an endpoint is scored, and to whom its key is given: to hosts of its cloud, and to nobody else."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import pytest
from azure.identity import CredentialUnavailableError

from deployer.cloud.clouds import find_cloud
from deployer.errors import DeniedError, NotFoundError, NotReadyError, TransientError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.platforms.online.endpoint import OnlineEndpoint
from tests.doubles.arm_script import Answer
from tests.doubles.arm_service import Azure

URL = "https://digits.westeurope.inference.ml.azure.com/score"


class Stage:
    def __init__(self, platform: type[Any] = ManagedPlatform, hosts: str = "") -> None:
        self.azure = Azure(cloud=find_cloud("", {"DEPLOYER_SCORING_HOSTS": hosts}))
        self.service = self.azure.service
        self.service.create("blue")
        self.platform: OnlineEndpoint = platform("digits", **self.azure.parts())

    def set(self, **properties: Any) -> None:
        assert self.service.endpoint is not None
        self.service.endpoint["properties"] |= properties

    @property
    def secrets_asked(self) -> int:
        return len(self.service.calls("POST", "keys")) + len(self.service.calls("POST", "token"))


@pytest.mark.parametrize(("mode", "token"), [("Key", "the-key"), ("AMLToken", "the-token"), ("AADToken", "token-2")])
def test_each_way_of_authentication_gives_a_bearer(mode: str, token: str) -> None:
    stage = Stage()
    stage.set(authMode=mode)
    target = stage.platform.scoring_target()
    assert (target.url, target.headers) == (URL, {"Authorization": f"Bearer {token}"})
    assert ("https://ml.azure.com/.default" in stage.azure.tokens.scopes) == (mode == "AADToken")


def test_a_key_is_kept_for_ten_minutes_or_until_it_is_refused() -> None:
    stage = Stage()
    for _ in range(3):
        stage.platform.scoring_target()
    assert stage.secrets_asked == 1
    stage.platform.invalidate()
    stage.platform.scoring_target()
    assert stage.secrets_asked == 2
    stage.azure.clock.advance(601)
    stage.platform.scoring_target()
    assert stage.secrets_asked == 3


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/score",
        "https://inference.ml.azure.com.evil.example/score",
        "http://digits.westeurope.inference.ml.azure.com/score",
        "http://10.0.0.4/api/v1/endpoint/digits/score",
        "https://10.0.0.4/score",
        "file:///etc/passwd",
    ],
)
def test_no_key_is_even_asked_for_when_the_address_is_not_the_clouds(url: str) -> None:
    stage = Stage()
    stage.set(scoringUri=url)
    with pytest.raises(DeniedError):
        stage.platform.scoring_target()
    assert stage.secrets_asked == 0


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("http://10.0.0.4/api/v1/endpoint/digits/score", True),
        ("https://192.168.1.9:8443/score", True),
        ("https://models.corp.example/score", True),
        ("http://models.corp.example/score", True),
        ("http://digits.westeurope.inference.ml.azure.com/score", False),
        ("http://20.10.5.6/api/v1/endpoint/digits/score", False),
        ("https://other.example/score", False),
    ],
)
def test_a_cluster_is_scored_at_private_addresses_and_hosts_named_by_hand(url: str, may: bool) -> None:
    stage = Stage(KubernetesPlatform, "corp.example")
    stage.set(scoringUri=url)
    if may:
        target = stage.platform.scoring_target()
        assert (target.url, target.in_clear) == (url, url.startswith("http://"))
        return
    with pytest.raises(DeniedError) as caught:
        stage.platform.scoring_target()
    assert "DEPLOYER_SCORING_HOSTS" in caught.value.hint


def test_an_endpoint_without_an_address_is_not_ready() -> None:
    stage = Stage()
    stage.set(scoringUri=None)
    with pytest.raises(NotReadyError):
        stage.platform.scoring_target()
    stage.service.endpoint = None
    with pytest.raises(NotFoundError):
        stage.platform.scoring_target()


def test_without_the_right_to_read_keys_nothing_is_given() -> None:
    stage = Stage()
    stage.service.fault = lambda _asked, kind: (
        Answer(403, {"error": {"code": "AuthorizationFailed"}}) if kind == "keys" else None
    )
    with pytest.raises(DeniedError):
        stage.platform.scoring_target()
    stage.service.fault = lambda _asked, kind: Answer(body={}) if kind == "keys" else None
    with pytest.raises(DeniedError):
        stage.platform.scoring_target()


def test_a_network_fault_while_a_token_is_asked_for_is_one_of_the_platform() -> None:
    stage = Stage()
    stage.set(authMode="AADToken")
    stage.azure.arm.get(stage.platform._resource.path, "v")
    stage.azure.tokens.failure = URLError("no route")
    with pytest.raises(TransientError):
        stage.platform.scoring_target()


def test_without_an_identity_there_is_no_token_of_entra() -> None:
    stage = Stage()
    stage.set(authMode="AADToken")
    stage.azure.arm.get(stage.platform._resource.path, "v")
    stage.azure.tokens.failure = CredentialUnavailableError("run az login")
    with pytest.raises(DeniedError) as caught:
        stage.platform.scoring_target()
    assert "az login" in caught.value.hint
