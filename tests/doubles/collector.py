"""Collectors of OpenTelemetry on this machine: OTLP over HTTP, read with its own protobuf messages, and the ingestion
endpoint of Application Insights. They keep what they are sent, or hang."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What came."""

    hangs: bool = False
    status: int = 200
    spans: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    """Of Application Insights."""
    requests: int = 0
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, path: str, body: bytes) -> bytes:
        """Read one request; return the answer."""
        if path == "/v1/traces":
            asked = ExportTraceServiceRequest.FromString(body)
            self.resources += [attributes(each.resource.attributes) for each in asked.resource_spans]
            self.spans += [span for each in asked.resource_spans for scope in each.scope_spans for span in scope.spans]
            return b""
        if path == "/v1/metrics":
            sent = ExportMetricsServiceRequest.FromString(body)
            self.metrics += [m for each in sent.resource_metrics for scope in each.scope_metrics for m in scope.metrics]
            return b""
        items = json.loads(body)
        self.envelopes += items
        return json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes of OTLP as a dictionary."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    """Have ``collector`` listen on its ``port`` meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.requests += 1
            if collector.hangs:
                collector.released.wait()
                return
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            answer = collector.take(self.path, body) if collector.status == 200 else b"{}"
            self.send_response(collector.status)
            self.send_header("content-type", "application/json" if answer else "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    collector.port = server.server_port
    try:
        yield collector
    finally:
        collector.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
