"""Where an endpoint's state lives on disk, written so that neither a crash nor a full disk can tear it.

Everything is under ``$DEPLOYER_HOME/local/<endpoint>/``: directories 0700, files 0600, because the record holds the
endpoint's key and the logs hold what models print. Sockets live in ``run``; when that path would be too long for a
socket (108 bytes on Linux), ``run`` is a symbolic link to a private directory in the temporary directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deployer.errors import PlatformError, TransientError, UsageError

NAME = re.compile(r"[a-zA-Z](?:-?[a-zA-Z0-9])*")
"""Names of endpoints and deployments; they become file names, so nothing else may pass."""

SOCKET_PATH_MAX = 100
"""Bytes. The kernel takes 108 with the final zero (unix(7)); the rest is margin."""

_LONGEST_SOCKET = 44
"""Bytes of the longest socket name: a slash, a deployment's name of 32, an instance number, ``.sock``."""

_BALLAST_BYTES = 1 << 20
_BALLAST_FREE_BYTES = 64 << 20
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers that mean a full disk."""


def state_home(home: Path) -> Path:
    """Directory that holds one directory for each local endpoint."""
    return home / "local"


def _is_name(name: str) -> bool:
    return 3 <= len(name) <= 32 and NAME.fullmatch(name) is not None


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it is one.

    Raises:
        PlatformError: it could not be a name on Azure either, or would leave the state directory.
    """
    if not _is_name(name):
        raise PlatformError(
            f"{what} name {name[:64]!r} is not valid",
            hint="Use 3 to 32 letters, digits and single hyphens, starting with a letter.",
        )
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one endpoint."""

    root: Path

    @classmethod
    def of(cls, home: Path, endpoint: str) -> Layout:
        """The layout of ``endpoint`` under ``home`` (``$DEPLOYER_HOME``). Touches nothing."""
        return cls(state_home(home.resolve()) / check_name(endpoint, "endpoint"))

    @property
    def endpoint(self) -> str:
        """Name of the endpoint."""
        return self.root.name

    @property
    def record(self) -> Path:
        """What the endpoint should be."""
        return self.root / "endpoint.json"

    @property
    def revisions(self) -> Path:
        """Snapshots of code, model and document, by digest."""
        return self.root / "revisions"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.root / "logs"

    @property
    def xds(self) -> Path:
        """The files that Envoy watches."""
        return self.root / "xds"

    @property
    def telemetry(self) -> Path:
        """Access logs and the table made of them."""
        return self.root / "telemetry"

    @property
    def ballast(self) -> Path:
        """Space that is given back when the disk is full."""
        return self.root / "ballast"

    @property
    def keeper_lock(self) -> Path:
        """Locked by the one keeper while it lives."""
        return self.root / "keeper.lock"

    @property
    def daemon_lock(self) -> Path:
        """Locked by the one daemon while it lives."""
        return self.root / "daemon.lock"

    @property
    def run(self) -> Path:
        """Directory of the sockets, short enough for the kernel."""
        run = self.root / "run"
        with suppress(OSError):
            return run.readlink()
        return run

    @property
    def control(self) -> Path:
        """Socket on which the daemon takes requests."""
        return self.run / "control.sock"

    @property
    def admin(self) -> Path:
        """Socket of Envoy's administration interface."""
        return self.run / "admin.sock"

    @property
    def shadow(self) -> Path:
        """Socket on which Envoy takes its own mirrored requests."""
        return self.run / "shadow.sock"

    def socket(self, instance: str) -> Path:
        """Socket of a model server."""
        return self.run / f"{instance}.sock"

    def log(self, part: str) -> Path:
        """Log of one part: ``keeper``, ``daemon``, ``envoy`` or an instance."""
        return self.logs / f"{part}.log"

    def exists(self) -> bool:
        """Whether the endpoint was ever created (it may be stopped now)."""
        return self.record.exists()

    def prepare(self) -> None:
        """Make the directories. Idempotent.

        Raises:
            PlatformError: the state directory cannot be made, or somebody else owns the socket directory.
        """
        try:
            for path in (self.root.parent.parent, self.root.parent, self.root):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for path in (self.revisions, self.logs, self.xds, self.telemetry):
                path.mkdir(mode=0o700, exist_ok=True)
            self._prepare_run()
        except OSError as exc:
            raise PlatformError(
                f"the state of endpoint {self.endpoint} cannot be kept in {self.root}: {exc.strerror or exc}",
                hint="Set DEPLOYER_HOME to a directory that you can write to.",
            ) from exc

    def _prepare_run(self) -> None:
        run = self.root / "run"
        if not run.is_symlink():
            if run.is_dir() or len(os.fsencode(run)) + _LONGEST_SOCKET <= SOCKET_PATH_MAX:
                run.mkdir(mode=0o700, exist_ok=True)
                return
            name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
            run.symlink_to(Path(tempfile.gettempdir()) / f"deployer-{os.getuid()}-{name}")
        target = self.run
        with suppress(FileExistsError):
            target.mkdir(mode=0o700)
        found = target.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PlatformError(
                f"the socket directory {target} is not a private directory of this user",
                hint=f"Remove {target}, or set TMPDIR to a directory that only you can write to.",
            )


def write_atomic(layout: Layout, path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by ``text`` (mode 0600) as a whole or not at all; on a full disk the ballast is used up first.

    Args:
        layout: whose ballast may be used.
        path: the file.
        text: its new content.
        durable: also survive a power cut. Needless for files that are made from the record.

    Raises:
        TransientError: the disk is full. ``path`` is as it was.
    """
    try:
        _replace(path, text, durable=durable)
    except OSError as exc:
        if exc.errno not in NO_SPACE:
            raise
        layout.ballast.unlink(missing_ok=True)
        try:
            _replace(path, text, durable=durable)
        except OSError as again:
            raise TransientError(
                f"cannot write {path}: {again.strerror or again}", hint="Free disk space; nothing was changed."
            ) from again


def _replace(path: Path, text: str, *, durable: bool) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, mode 0600 whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def sync_directory(path: Path) -> None:
    """Make a rename in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_ballast(layout: Layout) -> None:
    """Put the ballast back if it was used and there is space again. Never raises for want of space."""
    if layout.ballast.exists():
        return
    free = os.statvfs(layout.root)
    if free.f_bavail * free.f_frsize > _BALLAST_FREE_BYTES:
        with suppress(OSError):
            layout.ballast.write_bytes(os.urandom(_BALLAST_BYTES))  # random: a compressing file system must pay for it


def read_endpoints(home: Path) -> list[Layout]:
    """Layouts of all endpoints ever created under ``home``, by name."""
    try:
        names = sorted(path.name for path in state_home(home.resolve()).iterdir() if _is_name(path.name))
    except FileNotFoundError:
        return []
    return [layout for layout in (Layout.of(home, name) for name in names) if layout.exists()]


def require(layout: Layout) -> None:
    """Check that the endpoint was created.

    Raises:
        UsageError: it never was.
    """
    if not layout.exists():
        raise UsageError(
            f"there is no local endpoint {layout.endpoint} in {layout.root.parent}",
            hint="Run `deployer rollout MANIFEST` to create it, or set DEPLOYER_HOME.",
        )
