"""OpenTelemetry for a rollout: exporters as the environment asks for them, and an end that waits for nobody.

Imported only when ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``APPLICATIONINSIGHTS_CONNECTION_STRING`` is set. No global
provider is set: what other libraries of this process trace is none of our business. Everything is exported by threads
that may die with the process; what their exporters log becomes one note, without addresses and keys.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from deployer.engine.site import Site
from deployer.errors import how_to_install
from deployer.notify.traces import Ids, Observer

OTLP, AZURE = "OTEL_EXPORTER_OTLP_ENDPOINT", "APPLICATIONINSIGHTS_CONNECTION_STRING"
FLUSH_S = 3.0
"""How long the end of a command may wait for what is not exported yet."""
EVERY_MS = 5_000.0
"""How often spans and metrics are exported."""
TIMEOUT_S = 5
_LOGGERS = ("opentelemetry", "azure.monitor.opentelemetry")


def observing(
    site: Site, platform: str, note: Callable[[str], None], env: Mapping[str, str] = os.environ
) -> Exported | None:
    """Give a listener that traces the rollout; None: nothing can be exported.

    Args:
        site: what is rolled out to.
        platform: its platform's word.
        note: told once of what is missing or cannot be exported; called from any thread.
        env: says where to.
    """
    try:
        ids, resource = Ids(), Resource.create({"service.name": env.get("OTEL_SERVICE_NAME", "deployer")})
        tracers = TracerProvider(resource=resource, id_generator=ids, sampler=ALWAYS_ON, shutdown_on_exit=False)
        return Exported(tracers, ids, _exporters(env, tracers), site, platform, note)
    except ImportError:
        note(f"{OTLP} is set, and OpenTelemetry is not installed. {how_to_install('otel')}")
        return None
    except Exception as exc:  # noqa: BLE001 - a connection string, or a value of OTEL_*, that the SDK cannot read
        note(f"nothing is exported to OpenTelemetry: {type(exc).__name__} in {OTLP}*, another OTEL_* or {AZURE}")
        return None


def _exporters(env: Mapping[str, str], tracers: TracerProvider) -> list[tuple[Any, Any]]:
    """An exporter of spans and one of metrics for each collector."""
    exporters: list[tuple[Any, Any]] = []
    if env.get(OTLP):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        exporters.append((OTLPSpanExporter(timeout=TIMEOUT_S), OTLPMetricExporter(timeout=TIMEOUT_S)))
    if env.get(AZURE):
        os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")  # it would call hosts of its own
        from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415
            AzureMonitorMetricExporter,
            AzureMonitorTraceExporter,
        )

        given: dict[str, Any] = {
            "connection_string": env[AZURE],
            "disable_offline_storage": True,  # what is not delivered must not stay in a runner's /tmp
            "timeout": TIMEOUT_S,
            "retry_total": 1,
        }
        exporters.append(
            (AzureMonitorTraceExporter(tracer_provider=tracers, **given), AzureMonitorMetricExporter(**given))
        )
    return exporters


class _Heard(logging.Handler):
    """Turns what the exporters log into one note."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note
        self._is_said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Say it once; the record's own text may hold an address or a key."""
        if not self._is_said:
            self._is_said = True
            self._note(f"OpenTelemetry: spans or metrics of this rollout could not be exported ({record.name})")


class Exported(Observer):
    """An observer whose spans and metrics leave the process; leaving it waits at most FLUSH_S for them."""

    def __init__(
        self,
        tracers: TracerProvider,
        ids: Ids,
        exporters: list[tuple[Any, Any]],
        site: Site,
        platform: str,
        note: Callable[[str], None],
    ) -> None:
        """Start the threads that export."""
        self._note, self._tracers = note, tracers
        MeterProvider(shutdown_on_exit=False)  # raises here, before a reader is started that nobody would end
        readers: list[PeriodicExportingMetricReader] = []
        for spans, metrics in exporters:
            self._tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=EVERY_MS))
            readers.append(PeriodicExportingMetricReader(metrics, EVERY_MS, 1000.0 * TIMEOUT_S))
        self._meters = MeterProvider(readers, resource=tracers.resource, shutdown_on_exit=False)
        super().__init__(
            self._tracers.get_tracer("deployer"),
            self._meters.get_meter("deployer"),
            ids,
            site.clock,
            endpoint=site.endpoint,
            platform=platform,
            actor=site.actor,
        )
        # last: what cannot be built must leave the process's loggers as they were
        self._heard, self._loggers = _Heard(note), [logging.getLogger(name) for name in _LOGGERS]
        self._propagated = [each.propagate for each in self._loggers]
        for each in self._loggers:
            each.addHandler(self._heard)
            each.propagate = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End what is open, and wait a little for what is not exported yet."""
        super().__exit__(kind, error, tb)
        ends = [self._tracers.shutdown, self._meters.shutdown]
        threads = [threading.Thread(target=_quietly, args=(end,), daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FLUSH_S / len(threads))
        if any(thread.is_alive() for thread in threads):
            self._note("OpenTelemetry: the last spans or metrics could not be exported in time, left")
            return  # the loggers stay silent: what those threads still have to say, nobody asked for
        for each, propagated in zip(self._loggers, self._propagated, strict=True):
            each.removeHandler(self._heard)
            each.propagate = propagated


def _quietly(end: Callable[[], object]) -> None:
    try:
        end()
    except Exception as exc:  # noqa: BLE001 - a thread of the end has nobody to tell but this
        logging.getLogger(_LOGGERS[0]).warning("shutdown: %s", type(exc).__name__)
