from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from deployer.loadgen.locust import SecretFile
from deployer.ports.platform import ScoringTarget
from loadtests.auth import Credentials, packed, unpacked

KEY = "canary-secret-" + "7f3a"
HTTPS = "https://ml.example/score"


def test_a_key_is_taken_out_of_the_environment() -> None:
    environ = {"DEPLOYER_LOAD_KEY": KEY}
    assert Credentials(environ, HTTPS).headers == {"Authorization": f"Bearer {KEY}"}
    assert not environ


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\n{}"])
def test_the_line_end_of_a_file_that_became_a_secret_is_no_part_of_the_key(around: str) -> None:
    assert Credentials({"DEPLOYER_LOAD_KEY": around.format(KEY)}, HTTPS).headers == {"Authorization": f"Bearer {KEY}"}
    assert Credentials({"DEPLOYER_LOAD_KEY": "\n"}, HTTPS).headers == {}


@pytest.mark.parametrize("within", ["\n", "\r\nX-Other: 1", "\x00", "\x7f", "\u2028", "é"])
def test_what_no_header_may_hold_is_refused_without_being_quoted(within: str) -> None:
    with pytest.raises(ValueError, match="the value of Authorization holds a control character") as refused:
        Credentials({"DEPLOYER_LOAD_KEY": f"{KEY}{within}{KEY}"}, HTTPS)
    assert KEY not in "".join(traceback.format_exception(refused.value))
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed({"Authorization": "good"}))
        credentials = Credentials({"DEPLOYER_LOAD_HEADERS_FD": str(file.fileno())}, HTTPS)
        os.pwrite(file.fileno(), packed({"Authorization": KEY + within}), 0)
        trouble = credentials.renew()
    assert credentials.headers == {"Authorization": "good"}
    assert trouble is not None
    assert KEY not in trouble


def test_the_locustfile_reads_what_deployer_writes() -> None:
    secret = SecretFile(ScoringTarget(HTTPS, {"Authorization": KEY}, in_clear=True))
    assert unpacked(os.pread(secret.descriptor, 65536, 0)) == ({"Authorization": KEY}, True)
    secret.close()
    secret.close()


@pytest.mark.parametrize("new", ["short", "xx-new-token-of-some-length", "a-much-longer-token-" * 200])
def test_a_new_token_is_taken_up_and_half_of_one_is_not(new: str) -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed({"Authorization": "an-old-token-of-some-length"}))
        credentials = Credentials({"DEPLOYER_LOAD_HEADERS_FD": str(file.fileno())}, HTTPS)
        content = packed({"Authorization": new})
        os.pwrite(file.fileno(), content[: len(content) // 2], 0)
        credentials.renew()
        assert credentials.headers == {"Authorization": "an-old-token-of-some-length"}
        os.pwrite(file.fileno(), content, 0)
        credentials.renew()
    assert credentials.headers == {"Authorization": new}


def test_half_a_file_at_the_start_is_refused() -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed({"Authorization": KEY})[:-3])
        with pytest.raises(ValueError, match="not whole"):
            Credentials({"DEPLOYER_LOAD_HEADERS_FD": str(file.fileno())}, HTTPS)


@pytest.mark.parametrize("url", ["http://ml.example/score", "http://127.0.0.1.example/", "ftp://ml.example"])
def test_a_secret_does_not_travel_in_clear(url: str) -> None:
    with pytest.raises(ValueError, match="is not encrypted") as refused:
        Credentials({"DEPLOYER_LOAD_KEY": KEY}, url)
    assert KEY not in str(refused.value)
    assert Credentials({}, url).headers == {}
    assert Credentials({"DEPLOYER_LOAD_KEY": KEY}, url, in_clear=True).headers
    assert Credentials({"DEPLOYER_LOAD_KEY": KEY}, "http://127.0.0.1:80/").headers


ENTRA = """
from types import SimpleNamespace
import time
calls = []
class DefaultAzureCredential:
    def get_token(self, scope):
        calls.append(scope)
        if len(calls) == 3:
            raise RuntimeError("the answer quotes a secret: token-2")
        return SimpleNamespace(token=f"token-{len(calls)}", expires_on=time.time() + (100 if len(calls) < 4 else 3600))
"""


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for azure-identity, which asks the network."""
    module = tmp_path / "stub_identity.py"
    module.write_text(ENTRA)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("stub_identity")
    monkeypatch.setitem(sys.modules, "azure.identity", sys.modules.pop("stub_identity"))


def test_an_entra_token_is_renewed_before_it_ends_and_kept_when_that_fails(entra: None) -> None:
    credentials = Credentials({}, HTTPS, entra=True)
    assert credentials.headers == {"Authorization": "Bearer token-1"}
    assert credentials.renew() is None
    assert credentials.headers == {"Authorization": "Bearer token-2"}
    trouble = credentials.renew()
    assert trouble is not None
    assert "RuntimeError" in trouble
    assert "token-2" not in trouble
    assert credentials.headers == {"Authorization": "Bearer token-2"}
    credentials.renew()
    credentials.renew()
    assert credentials.headers == {"Authorization": "Bearer token-4"}, "an hour is left: no new one is asked for"
    assert set(sys.modules["azure.identity"].calls) == {"https://ml.azure.com/.default"}


def test_no_entra_token_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ValueError, match="needs the package azure-identity"):
        Credentials({}, HTTPS, entra=True)
