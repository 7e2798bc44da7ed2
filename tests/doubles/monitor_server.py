"""``doubles.monitor`` alone, over HTTPS; ``doubles.arm`` serves it beside everything else: ``azure.mount(monitor.handle)``."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from doubles.monitor import Monitor, error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    monitor: Monitor

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        response = self.monitor.handle(self.command, self.path, dict(self.headers.items()), body)
        response = response or error(404, "NotFound", f"Nobody serves {self.path}.")
        if response.cut:
            self.close_connection = True
            return
        content = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        headers = {"Content-Type": "application/json", **response.headers}
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(content) > 1000:
            content, headers["Content-Encoding"] = gzip.compress(content, 5), "gzip"
        self.monitor.sent += len(content)
        self.send_response_only(response.status)
        self.send_header("Date", format_datetime(self.monitor.now().astimezone(UTC), usegmt=True))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve(monitor: Monitor, tls: ssl.SSLContext) -> Iterator[str]:
    """Serve ``monitor`` over HTTPS until the block ends; give its address."""
    handler = type("Handler", (_Handler,), {"monitor": monitor})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="monitor", daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
