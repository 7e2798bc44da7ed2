"""Who else is told of what a command does: the manifest's webhooks, and OpenTelemetry where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ManifestError, StoreError, how_to_install
from deployer.manifest.notify import Webhook
from deployer.notify.late import Late, Watched
from deployer.notify.notifier import Notifier
from deployer.ports.store import Journal
from deployer.report.listeners import Many, Quiet
from deployer.wiring.checks import load
from deployer.wiring.sites import Reached

if TYPE_CHECKING:
    from deployer.notify.traces import Observer


@contextmanager
def told(shown: Quiet, reached: Reached, env: Mapping[str, str] = os.environ) -> Generator[tuple[Quiet, Reached]]:
    """Have ``shown``, the manifest's webhooks and the collectors that ``env`` names told of what happens inside.

    Gives what to pass on: the listener, and the endpoint (its calls are measured where there is a collector). Neither
    raises for what is wrong with a receiver; leaving waits a few seconds for what is not delivered yet.
    """
    site = reached.site
    others: list[Quiet] = [
        Notifier(
            lambda: _webhooks(reached, shown),
            endpoint=site.endpoint,
            platform=reached.platform,
            actor=site.actor,
            clock=site.clock,
            note=shown.on_note,
        )
    ]
    watched = reached
    if _has_collector(env):
        late = Late(lambda: _observer(reached, shown, env), shown.on_note)
        others.append(late)
        watched = replace(reached, site=replace(site, platform=Watched.of(site.platform, late)))
    with Many(shown, *others) as listener:
        yield listener, watched


def _has_collector(env: Mapping[str, str]) -> bool:
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "APPLICATIONINSIGHTS_CONNECTION_STRING")
    return any(env.get(name) for name in names) and env.get("OTEL_SDK_DISABLED", "").lower() != "true"


def _observer(reached: Reached, shown: Quiet, env: Mapping[str, str]) -> Observer | None:
    try:
        from deployer.notify.otel import observing  # noqa: PLC0415 - slow to import, and mostly not asked for
    except ImportError:
        shown.on_note(f"OpenTelemetry is asked for by the environment and not installed. {how_to_install('otel')}")
        return None
    except Exception as exc:  # noqa: BLE001 - nobody who only listens may stop a rollback
        shown.on_note(f"nothing is exported to OpenTelemetry: {type(exc).__name__} while it was imported")
        return None
    return observing(reached.site, reached.platform, shown.on_note, env)


def _webhooks(reached: Reached, shown: Quiet) -> Sequence[Webhook]:
    """Those of the manifest at hand, else of the one that the latest rollout was started with on this machine."""
    if reached.spec is not None:
        return reached.spec.manifest.notify
    try:
        path = _latest_manifest(reached.site.journal)
        return load(Path(path)).manifest.notify if path else ()
    except ManifestError:
        shown.on_note("nobody else is told: the manifest of the latest rollout here cannot be read any more")
    except StoreError as exc:
        shown.on_note(f"nobody else is told: {exc.message}")
    return ()


def _latest_manifest(journal: Journal) -> str | None:
    for rollout_id in reversed(journal.rollouts()):
        entries = journal.read(rollout_id)
        path = entries[0].event.get("manifest") if entries else None
        if isinstance(path, str):
            return path
    return None
