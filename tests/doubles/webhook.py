"""A receiver of webhooks on this machine: remembers what it was sent, answers as it is told, or never."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/services/T000/B000/" + "planted" + "-secret-in-the-path"
"""Of its address, which is a secret."""


@dataclass
class Receiver:
    """What it answers and what it got."""

    answers: Sequence[tuple[int, dict[str, str]]] = ()
    """Of the first requests, in order; 200 after them."""
    hangs: bool = False
    """It accepts, and never answers."""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers (names in lower case) and body of each request."""
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    came: threading.Condition = field(default_factory=threading.Condition)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def wait_for(self, requests: int, timeout_s: float = 20.0) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= requests, timeout_s), f"{len(self.got)} requests came"


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Have ``receiver`` answer at its ``url`` meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with receiver.came:
                place = len(receiver.got)
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.came.notify_all()
            if receiver.hangs:
                receiver.released.wait()
                return
            status, headers = receiver.answers[place] if place < len(receiver.answers) else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}{PATH}"
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
