"""Reaching an endpoint: the platform, telemetry, journal and load that a manifest or a name asks for."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.clocks import SystemClock
from deployer.engine.effects import Deployable
from deployer.engine.lease import BEAT_S
from deployer.engine.operations import Job, Site, manifest_of
from deployer.engine.probe import HttpProbe
from deployer.engine.runner import WantedLoad
from deployer.engine.signals import Signals
from deployer.errors import ManifestError, PlanError, UsageError
from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.load import RolloutSpec
from deployer.manifest.schema import NAME_PATTERN, PlatformType
from deployer.ports.platform import DeploymentSpec
from deployer.rollout.model import Plan
from deployer.rollout.plan import Version, Wanted
from deployer.stores.file import FileJournal
from deployer.wiring.checks import load


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

    @property
    def platform(self) -> str:
        """Type of the platform, in the manifest's word."""
        return self.spec.manifest.platform.type.value if self.spec else PlatformType.LOCAL.value

    @property
    def the_spec(self) -> RolloutSpec:
        """The manifest.

        Raises:
            UsageError: the endpoint was reached by name.
        """
        if self.spec is None:
            raise UsageError("this needs a manifest", hint="Give the manifest file instead of the endpoint's name.")
        return self.spec

    def job(self) -> Job:
        """Make the manifest ready for the engine.

        Raises:
            UsageError: the endpoint was reached by name.
        """
        return _job(self.the_spec, self.site)

    def known_job(self) -> Job | None:
        """The job, from the manifest given or from the one that the rollout under way was started from here."""
        if self.spec is not None:
            return self.job()
        path = manifest_of(self.site)
        try:
            return _job(load(Path(path)), self.site) if path else None
        except ManifestError:
            return None  # it was changed or moved since


def reach(target: str, *, want_manifest: bool = False) -> Reached:
    """Reach the endpoint that a command's TARGET names: a manifest file, or an endpoint of the local platform.

    Raises:
        ManifestError: the manifest is wrong.
        UsageError: neither a file nor a name.
    """
    path = Path(target)
    if want_manifest or path.suffix in (".yaml", ".yml") or path.is_file():
        spec = load(path)
        site, signals = _site(spec.manifest.platform.type, spec.endpoint.name)
        return Reached(site, spec, signals)
    if not re.fullmatch(NAME_PATTERN, target):
        raise UsageError(f"{target} is neither a file nor the name of an endpoint", hint="Check the spelling.")
    site, signals = _site(PlatformType.LOCAL, target)
    return Reached(site, None, signals)


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


def _site(platform: PlatformType, endpoint: str) -> tuple[Site, Signals]:
    if platform is not PlatformType.LOCAL:
        raise PlanError(
            f"platform {platform.value} is not built into this version of deployer",
            hint="Use `platform: local`.",
        )
    from deployer.platforms.local import LocalPlatform  # noqa: PLC0415 - adapters are imported when they are wired
    from deployer.telemetry.local import LocalTelemetry  # noqa: PLC0415

    clock = SystemClock()
    signals = Signals(clock.wake)
    local = LocalPlatform(endpoint, home())
    return Site(
        endpoint=endpoint,
        platform=local,
        telemetry=LocalTelemetry(local.client, endpoint, clock),
        journal=FileJournal(home() / "journal" / platform.value / endpoint),
        clock=clock,
        actor=actor(),
        signal=signals,
        heartbeat_s=BEAT_S / 2,
    ), signals


def new_rollout_id(site: Site) -> str:
    """Make a name for a rollout: its start, and four characters against two at once."""
    return f"{site.clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def _wanted(spec: RolloutSpec) -> Wanted:
    baseline = spec.baseline
    return Wanted(
        manifest=spec.manifest,
        endpoint=spec.endpoint.name,
        candidate=Version(spec.deployment.name, spec.deployment.digest),
        baseline=Version(baseline.name, baseline.digest) if baseline else None,
        digest=spec.digest,
        deploy_s=max(float(source.ready_within_s()) for source in (spec.deployment, baseline) if source is not None),
    )


def _job(spec: RolloutSpec, site: Site) -> Job:
    manifest = spec.manifest
    load = None
    if manifest.load is not None:
        from deployer.loadgen.locust import LocustLoad  # noqa: PLC0415

        load = WantedLoad(LocustLoad(), manifest.load.rps, spec.path.parent / manifest.load.request)
    return Job(
        wanted=_wanted(spec),
        endpoint_document=spec.endpoint.document,
        deployable=lambda plan: _deployable(spec, plan),
        probe=HttpProbe(site.platform, manifest, spec.payloads, spec.schemas, lambda: site.signal() is not None),
        load=load,
        manifest=str(spec.path.absolute()),
        tags=manifest.tags,
        check=lambda plan: _check(spec, plan),
    )


def _check(spec: RolloutSpec, plan: Plan) -> None:
    from deployer.rollout.power import refuse_hopeless  # noqa: PLC0415 - numpy is slow to import
    from deployer.wiring.gate import step_powers  # noqa: PLC0415

    refuse_hopeless(step_powers(spec, plan))


def _deployable(spec: RolloutSpec, plan: Plan) -> Deployable:
    from deployer.gate.blocks import fetch_block_s  # noqa: PLC0415 - numpy is slow to import, and only rollouts judge
    from deployer.gate.judge import judge  # noqa: PLC0415
    from deployer.gate.record import Record  # noqa: PLC0415

    slo, gate = spec.manifest.slo, spec.manifest.gate
    sources = {plan.candidate: spec.deployment}
    if plan.baseline and plan.stable and spec.baseline:
        sources[plan.stable] = spec.baseline
    return Deployable(
        versions={name: _version(name, source) for name, source in sources.items()},
        workers={
            name: source.request_settings.max_concurrent_requests_per_instance for name, source in sources.items()
        },
        judge=lambda samples, moment: judge(samples, slo, gate, moment),
        block_s=fetch_block_s(gate),
        record=lambda samples, moment, verdict: Record(samples, slo, gate, moment, verdict).to_json(),
    )


def _version(name: str, source: DeploymentSource) -> DeploymentSpec:
    return DeploymentSpec(name, source.document, source.base_dir, source.digest)
