"""Users: an independent client that asks at a steady rate and remembers every answer."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from urllib.parse import urlsplit

from deployer.ports.platform import ScoringTarget

RPS = 20.0


@dataclass(frozen=True)
class Answer:
    sent_at: datetime
    code: int
    """0: no answer, and ``served_by`` says why."""
    served_by: str


def ask(target: ScoringTarget, timeout_s: float = 10) -> Answer:
    """One request on a connection of its own."""
    url = urlsplit(target.url)
    sent_at = datetime.now(UTC)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout_s)
    try:
        connection.request("POST", url.path, "{}", {"Content-Type": "application/json", **target.headers})
        response = connection.getresponse()
        response.read()
        return Answer(sent_at, response.status, response.getheader("azureml-model-deployment") or "")
    except OSError as exc:
        return Answer(sent_at, 0, repr(exc))
    finally:
        connection.close()


class Users:
    """What users saw."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.code != 200]

    def served_by(self, since: datetime | None = None) -> Counter[str]:
        """Answers by deployment, of the requests sent after ``since``."""
        return Counter(each.served_by for each in self.answers if since is None or each.sent_at > since)


@contextmanager
def using(target: ScoringTarget, rps: float = RPS) -> Iterator[Users]:
    """Ask at ``rps``, one request after the other, until the context ends."""
    users, done = Users(), Event()

    def work() -> None:
        due = time.monotonic()
        while not done.is_set():
            users.answers.append(ask(target))
            due = max(
                due + 1 / rps, time.monotonic() - 1.0
            )  # after a long answer: no more than a second of them at once
            done.wait(max(0.0, due - time.monotonic()))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield users
    finally:
        done.set()
        thread.join(15)
