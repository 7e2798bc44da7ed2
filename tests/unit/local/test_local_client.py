import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployer.errors import ConflictError, NotFoundError, PlatformError, TransientError, UsageError
from deployer.local import client as client_module
from deployer.local import lifecycle
from deployer.local.client import LocalClient
from deployer.local.protocol import encode_error, encode_result


@pytest.fixture
def client(tmp_path: Path) -> LocalClient:
    client = LocalClient("digits", tmp_path)
    client.layout.prepare()
    return client


@contextmanager
def daemon(client: LocalClient, answer: bytes, *, hold: bool = False) -> Iterator[None]:
    """Something on the control socket that gives one answer."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(client.layout.control))
        server.listen()
        is_over = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)
                if hold:
                    is_over.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        is_over.set()
        thread.join()


def test_nothing_is_started_to_learn_that_an_endpoint_does_not_exist(tmp_path: Path):
    client = LocalClient("digits", tmp_path)
    with pytest.raises(NotFoundError, match="digits"):
        client.call("observe")
    assert not client.layout.root.exists()


def test_an_answer_may_come_in_pieces_and_be_long(client: LocalClient):
    with daemon(client, encode_result("x" * (1 << 20))):
        assert client.call("query", kql="T") == "x" * (1 << 20)


def test_an_error_of_the_daemon_is_raised_here(client: LocalClient):
    with (
        daemon(client, encode_error(ConflictError("taken", hint="Wait."))),
        pytest.raises(ConflictError, match="taken"),
    ):
        client.call("set_tags", tags={})


def test_a_daemon_that_hangs_up_leaves_it_unknown_what_happened(client: LocalClient):
    with daemon(client, b'{"v": 1, '), pytest.raises(TransientError, match="hung up") as caught:
        client.call("set_traffic", traffic={}, mirror={})
    assert "may have been done" in caught.value.hint


def test_a_daemon_that_does_not_answer_is_given_up(client: LocalClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "_ANSWER_S", 0.1)
    with daemon(client, b"", hold=True), pytest.raises(TransientError, match="no answer to observe"):
        client.call("observe")


def test_an_answer_without_end_is_cut_off(client: LocalClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "ANSWER_MAX", 10)
    with daemon(client, b"x" * 11, hold=True), pytest.raises(TransientError, match="more than 10 bytes"):
        client.call("observe")


def test_a_system_that_is_not_linux_is_refused(client: LocalClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(PlatformError, match="darwin"):
        client.call("ensure_endpoint", document={})


def test_a_part_that_is_not_installed_is_named_with_the_command_to_install_it(
    client: LocalClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client_module, "_MODULES", ("no_such_module",))
    with pytest.raises(PlatformError, match="no_such_module") as caught:
        client.call("ensure_endpoint", document={})
    assert "pip install -e '.[local]'" in caught.value.hint


def test_an_endpoint_that_was_never_created_has_no_status_and_cannot_be_started_or_ended(tmp_path: Path):
    assert lifecycle.status(tmp_path) == []
    assert lifecycle.down(tmp_path) == []
    for call in (lifecycle.up, lifecycle.down, lifecycle.logs):
        with pytest.raises(UsageError, match="digits"):
            call(tmp_path, "digits")
