"""Reaching an endpoint: the platform, telemetry, journal and load that a manifest or a name asks for."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.clocks import SystemClock
from deployer.engine.doctor import inspect, refuse_failed
from deployer.engine.operations import Job, Site, manifest_of
from deployer.engine.signals import Signals
from deployer.engine.site import Notes
from deployer.errors import ManifestError, UsageError
from deployer.manifest.load import RolloutSpec
from deployer.manifest.schema import NAME_PATTERN, PlatformType
from deployer.ports.clock import Clock
from deployer.ports.inspection import Caretaker, Check, CheckState, Inspector, Price
from deployer.ports.platform import Platform
from deployer.ports.telemetry import Telemetry
from deployer.rollout.model import Plan
from deployer.stores.file import FileJournal
from deployer.wiring.checks import load
from deployer.wiring.jobs import make_job
from deployer.wiring.locks import departures
from deployer.wiring.where import Place, cloud_of, place_of


def home(env: Mapping[str, str] = os.environ) -> Path:
    """Folder of everything deployer keeps: ``$DEPLOYER_HOME``, else ``~/.local/state/deployer``."""
    return Path(env.get("DEPLOYER_HOME") or Path.home() / ".local" / "state" / "deployer").absolute()


def actor(env: Mapping[str, str] = os.environ) -> str:
    """Who acts, for the journal: the CI run when there is one, else ``user@host``."""
    if env.get("GITHUB_ACTIONS"):
        return f"{env.get('GITHUB_ACTOR', 'github')}@run-{env.get('GITHUB_RUN_ID', '?')}"
    if env.get("TF_BUILD"):
        return f"{env.get('BUILD_REQUESTEDFOR', 'azure-pipelines')}@build-{env.get('BUILD_BUILDID', '?')}"
    return f"{getpass.getuser()}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Reached:
    """An endpoint, and the manifest it was reached by, if any."""

    site: Site
    spec: RolloutSpec | None
    signals: Signals
    type: PlatformType
    inspector: Inspector | None
    """Checks the surroundings; None: the endpoint was reached by name."""
    caretaker: Caretaker | None
    """Finds what else rollouts leave behind; None: nothing else can be left."""
    where: Place | None
    """Of an endpoint on Azure that was reached by name."""
    on_plan: Callable[[Plan], None] = lambda _: None
    """Is told of the plan that is carried out."""
    price: Callable[[str], Price | None] = lambda _: None
    """Asks what an instance of a type costs there; None: nobody says."""

    @property
    def platform(self) -> str:
        """Type of the platform, in the manifest's word."""
        return self.type.value

    @property
    def the_spec(self) -> RolloutSpec:
        """The manifest.

        Raises:
            UsageError: the endpoint was reached by name.
        """
        if self.spec is None:
            raise UsageError("this needs a manifest", hint="Give the manifest file instead of the endpoint's name.")
        return self.spec

    def checks(self, *, to_plan: bool = False) -> tuple[Check, ...]:
        """Inspect the surroundings. Changes nothing; never raises for one check.

        Args:
            to_plan: for a plan alone, for which an identity that may only read is enough.
        """
        return inspect(self.inspector.questions(to_plan=to_plan) if self.inspector else (), self.site.clock)

    def job(self, note: Callable[[str], None] = lambda _: None) -> Job:
        """Make the manifest ready for the engine; on Azure its surroundings are checked before anything is touched.

        Args:
            note: told what the checks find and what does not stop the rollout.

        Raises:
            UsageError: the endpoint was reached by name.
        """
        passed: list[bool] = []
        warnings = list(departures(self.the_spec))

        def check() -> None:
            while warnings:  # it is checked again under the lease: said once
                note(f"warning: {warnings.pop(0)}")
            if self.type is PlatformType.LOCAL or passed:
                return
            checks = self.checks()
            refuse_failed(checks)
            passed.append(True)
            for one in checks:
                if one.state is not CheckState.OK:
                    note(f"{one.name} ({one.state.value}): {one.text}")

        price = self.inspector.price if self.inspector and self.type is not PlatformType.LOCAL else lambda: None
        return make_job(self.the_spec, self.site, check, self.on_plan, price)

    def known(self) -> Reached:
        """The same endpoint, reached by the manifest that the rollout under way was started from here, if any."""
        if self.spec is not None:
            return self
        path = manifest_of(self.site)
        try:
            spec = load(Path(path)) if path else None
        except ManifestError:
            return self  # it was changed or moved since
        return self if spec is None else _by_manifest(spec)

    def known_job(self) -> Job | None:
        """The job; None: no manifest is known."""
        return self.job() if self.spec is not None else None


def is_manifest(target: str) -> bool:
    """Whether a command's TARGET means a manifest file: one is there, or its name could be no endpoint's."""
    path = Path(target)
    return path.suffix in (".yaml", ".yml") or path.is_file()


def reach(target: str, *, want_manifest: bool = False, where: Mapping[str, str | None] | None = None) -> Reached:
    """Reach the endpoint that a command's TARGET names: a manifest file, or the name of an endpoint.

    Args:
        target: the file or the name.
        want_manifest: it must be a file.
        where: the command line's options about an endpoint given by name (``wiring.where.OPTIONS``).

    Raises:
        ManifestError: the manifest is wrong.
        UsageError: neither a file nor a name, or where it lives is not clear.
    """
    options = where or {}
    if want_manifest or is_manifest(target):
        if any(options.values()):
            raise UsageError("the manifest says where its endpoint lives", hint="Leave --platform and the like out.")
        return _by_manifest(load(Path(target)))
    if not re.fullmatch(NAME_PATTERN, target):
        raise UsageError(f"{target} is neither a file nor the name of an endpoint", hint="Check the spelling.")
    place = place_of(options, os.environ)
    if place is None:
        return _local(target, None)
    if not place.was_asked and _is_local(target):
        raise UsageError(
            f"{target} is a local endpoint, and the environment names the workspace {place.workspace}",
            hint="Say which one you mean: --platform local, or --platform managed.",
        )
    return _azure(target, place, None)


def detach(arguments: Sequence[str]) -> tuple[int, Path]:
    """Start ``deployer`` with ``arguments`` in a session of its own; return its pid and the file it prints to."""
    folder = home() / "detached"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / f"{secrets.token_hex(4)}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process.pid, log


def _by_manifest(spec: RolloutSpec) -> Reached:
    asked = spec.manifest.platform
    if asked.type is PlatformType.LOCAL:
        return _local(spec.endpoint.name, spec)
    place = Place(
        asked.type,
        asked.subscription_id or "",
        asked.resource_group or "",
        asked.workspace or "",
        cloud_of(asked.cloud, os.environ),
    )
    return _azure(spec.endpoint.name, place, spec)


def _local(endpoint: str, spec: RolloutSpec | None) -> Reached:
    from deployer.platforms.inspection.local import LocalInspector  # noqa: PLC0415 - adapters: when they are wired
    from deployer.platforms.local import LocalPlatform  # noqa: PLC0415
    from deployer.telemetry.local import LocalTelemetry  # noqa: PLC0415

    clock = SystemClock()
    signals = Signals(clock.wake)
    platform = LocalPlatform(endpoint, home())
    telemetry = LocalTelemetry(platform.client, endpoint, clock)
    site = _site(endpoint, platform, telemetry, ("local", endpoint), clock, signals)
    return Reached(site, spec, signals, PlatformType.LOCAL, LocalInspector(endpoint, home()), None, None)


def _is_local(endpoint: str) -> bool:
    from deployer.platforms.local import LocalPlatform  # noqa: PLC0415

    return LocalPlatform(endpoint, home()).client.exists()


def _azure(endpoint: str, place: Place, spec: RolloutSpec | None) -> Reached:
    from deployer.wiring.azure import connect  # noqa: PLC0415

    clock = SystemClock()
    signals = Signals(clock.wake)
    notes = Notes()
    made = connect(endpoint, place, spec, clock, notes)
    folder = (place.platform.value, place.workspace, endpoint)
    site = replace(_site(endpoint, made.platform, made.telemetry, folder, clock, signals), notes=notes)
    where = None if spec else place
    reached = Reached(site, spec, signals, place.platform, made.inspector, made.caretaker, where, price=made.price)
    return replace(reached, on_plan=made.watch.see) if made.watch else reached


def _site(
    endpoint: str,
    platform: Platform,
    telemetry: Telemetry,
    folder: tuple[str, ...],
    clock: SystemClock,
    signals: Signals,
) -> Site:
    return Site(
        endpoint=endpoint,
        platform=platform,
        telemetry=telemetry,
        journal=FileJournal(home().joinpath("journal", *folder)),
        clock=clock,
        actor=actor(),
        signal=signals,
        heartbeat_s=platform.capabilities.beat_s / 2,
    )


def new_id(clock: Clock) -> str:
    """Name a rollout, a load test or a profile: by its start, and four characters against two at once."""
    return f"{clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
