"""Every way deployer refuses or fails, each with what to do next.

A class exists only where a caller acts differently on it. Adapters translate foreign exceptions at the port;
above the ports nobody catches a foreign one. A bad gate is not an exception: it is a verdict.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a pipeline learns from the process: 2-9 nothing changed, 10-19 restored, 20-29 waiting, 1 and 30 page."""

    OK = 0
    BUG = 1
    USAGE = 2
    MANIFEST = 3
    POLICY = 4
    REFUSED = 5
    GATE_FAILED = 10
    INCONCLUSIVE = 11
    ABORTED = 12
    PLATFORM = 13
    PAUSED = 20
    STUCK = 30


class DeployerError(Exception):
    """A failure that is understood: what, where, which value; ``hint`` is one imperative sentence."""

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DeployerError):
    """The command line asks for something that does not exist or cannot be combined."""

    exit_code = ExitCode.USAGE


class ManifestError(DeployerError):
    """The manifest, or a file it names, is wrong. Nothing was touched."""

    exit_code = ExitCode.MANIFEST


class PlanError(DeployerError):
    """The rollout cannot start: capability, quota, rights, or a lease held by another run. Nothing was touched."""

    exit_code = ExitCode.REFUSED


class PlatformError(DeployerError):
    """The platform refused or failed. What state it left is said by the subclass."""

    exit_code = ExitCode.PLATFORM
    code = ""
    """The platform's own word for it, such as ARM's error code."""


class TransientError(PlatformError):
    """Worth repeating as it is: time-out, busy, restarting. The effect may or may not have happened: observe."""


class NotFoundError(PlatformError):
    """The named thing does not exist. Nothing changed."""


class NotReadyError(PlatformError):
    """The named deployment cannot take traffic (yet). Weights are unchanged."""


class ConflictError(PlatformError):
    """Another writer was first. Nothing of ours was written: observe before deciding again."""


class DeniedError(PlatformError):
    """Credentials or rights do not suffice. Nothing changed."""


class QuotaExceededError(PlatformError):
    """Capacity is not to be had. Nothing changed."""


class StoreError(DeployerError):
    """The journal cannot be written or read. Traffic must not move forward without it."""

    exit_code = ExitCode.PLATFORM


class TelemetryError(DeployerError):
    """Telemetry cannot be had now. It is *unknown*, and unknown never promotes."""

    exit_code = ExitCode.INCONCLUSIVE


class IllegalTransitionError(DeployerError):
    """An event arrived in a phase that does not know it. Always a bug."""


def how_to_install(extra: str) -> str:
    """Next step where ``extra`` is missing. From a checkout: on the public index another project has this name."""
    return f"Where deployer was installed from, run `python -m pip install -e '.[{extra}]'`."
