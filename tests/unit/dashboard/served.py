"""A dashboard that really serves, and a reader of it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from golden.report.kept import copied
from unit.report.told import Told

from deployer.dashboard.serving import Address, prepare
from deployer.ports.store import Entry
from deployer.rollout.events import to_record
from deployer.stores.file import FileJournal
from deployer.wiring.sites import home

KEY = "local/digits"


@dataclass
class Reader:
    """Reads pages as a browser does that has been let in."""

    address: Address
    cookie: str = ""
    root: Path = field(default_factory=home)
    """Its ``$DEPLOYER_HOME``."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.address.port}"

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Mapping[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=20)
        given = {"Host": self.host, **({"Cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        try:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def enter(self) -> Mapping[str, str]:
        _, headers, _ = self.ask(f"/?token={self.address.token}")
        self.cookie = headers["set-cookie"].split(";")[0]
        return headers

    def page(self, path: str) -> str:
        status, _, body = self.ask(path)
        assert status == 200, body
        return body

    @contextmanager
    def stream(self, page: str) -> Iterator[Iterator[str]]:
        """States of ``page`` as they are told."""
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=20)
        connection.request("GET", f"/events?page={page}", headers={"Host": self.host, "Cookie": self.cookie})
        answer = connection.getresponse()
        assert answer.status == 200
        try:
            yield (line[6:].strip().decode() for line in iter(answer.readline, b"") if line.startswith(b"data: "))
        finally:
            connection.close()


@contextmanager
def serving(targets: Sequence[str] = (), port: int = 0) -> Iterator[Reader]:
    """Serve meanwhile; ends in time even with streams open."""
    made = prepare(targets, {}, host="127.0.0.1", port=port, exposed=False)
    thread = threading.Thread(target=made.run, name="dashboard")
    thread.start()
    try:
        yield Reader(made.address)
    finally:
        made.stop()
        began = monotonic()
        thread.join(30)
        assert not thread.is_alive()
        assert monotonic() - began < 20


def journals(home: Path) -> Path:
    """Two real rollouts in ``home``; their folder."""
    return copied(home)


def write(folder: Path, told: Told) -> Path:
    """Write a journal as a run would have."""
    name = told[0][0].plan.rollout_id
    journal = FileJournal(folder)
    for _, event, at in told:
        journal.append(name, Entry(at, "ann@desk", to_record(event)))
    return folder / f"{name}.jsonl"
