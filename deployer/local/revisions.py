"""Snapshots of what a deployment runs: code, model and document, kept by digest.

A deployment runs from its snapshot, so files that change later do not reach a running version, and a version can be
made again after its sources are gone. Must never follow a symbolic link out of the tree it was found in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.errors import NotFoundError, PlatformError, TransientError
from deployer.local.layout import NO_SPACE, Layout, sync_directory
from deployer.local.settings import Settings, read_settings

KEPT = 10
"""Snapshots that are kept although no deployment runs from them, the youngest ones: what can be rolled back to."""

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_SKIPPED = {"__pycache__", ".git"}


_MODEL_DIR = Path("model") / "1"
"""The version must be a number, or the model server logs a traceback at each start (appinsights_client.py, 1.5.1)."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One snapshot."""

    path: Path
    settings: Settings

    @property
    def code(self) -> Path:
        """Directory with the scoring script."""
        return self.path / "code"

    @property
    def model(self) -> Path:
        """What ``AZUREML_MODEL_DIR`` names: ``.../NAME/VERSION`` as on Azure, the model inside under its own name."""
        return self.path / _MODEL_DIR


def revision_path(layout: Layout, digest: str) -> Path:
    """Where the snapshot of ``digest`` is or would be.

    Raises:
        PlatformError: it is not a digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise PlatformError(f"{digest[:80]!r} is not a digest", hint="Pass the hex SHA-256 of the version.")
    return layout.revisions / digest


def load_revision(layout: Layout, digest: str) -> Revision:
    """The snapshot of ``digest``.

    Raises:
        NotFoundError: there is none.
    """
    path = revision_path(layout, digest)
    try:
        document = json.loads((path / "document.json").read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise NotFoundError(
            f"nothing is recorded of version {digest[:12]} on local endpoint {layout.endpoint}",
            hint="Deploy it again from its manifest.",
        ) from exc
    return Revision(path, read_settings(document))


def take_revision(layout: Layout, document: Mapping[str, Any], base_dir: Path, digest: str) -> Revision:
    """Copy what ``document`` names, unless ``digest`` is here already. Blocks for as long as the copy takes.

    Raises:
        PlatformError: a file is missing, of a strange kind, or a link leads out of its directory. Nothing is kept.
        TransientError: the disk is full. Nothing is kept.
    """
    settings = read_settings(document)
    path = revision_path(layout, digest)
    if (path / "document.json").exists():
        return load_revision(layout, digest)
    draft = path.with_name(f".{digest}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(mode=0o700)
        _copy(_resolve(base_dir, settings.code), draft / "code")
        _check_script(draft / "code", settings.scoring_script)
        (draft / _MODEL_DIR).mkdir(parents=True)
        if settings.model is not None:
            source = _resolve(base_dir, settings.model)
            _copy(source, draft / _MODEL_DIR / source.name)
        (draft / "document.json").write_text(json.dumps(document), encoding="utf-8")
        draft.rename(path)
        sync_directory(layout.revisions)
    except OSError as exc:
        kind = TransientError if exc.errno in NO_SPACE else PlatformError
        raise kind(
            f"the snapshot of {settings.code} cannot be taken: {exc}", hint="Check free disk space and file rights."
        ) from exc
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Revision(path, settings)


def prune_revisions(layout: Layout, used: Collection[str]) -> None:
    """Forget the oldest snapshots beyond ``KEPT`` that nothing runs from."""
    unused = [path for path in layout.revisions.iterdir() if _DIGEST.fullmatch(path.name) and path.name not in used]
    unused.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in unused[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _resolve(base_dir: Path, written: str) -> Path:
    try:
        return (base_dir / written).resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise PlatformError(
            f"{base_dir / written} does not exist", hint="Correct the path in the deployment YAML."
        ) from exc


def _check_script(code: Path, script: str) -> None:
    path = (code / script).resolve()
    if not path.is_relative_to(code.resolve()) or not path.is_file():
        raise PlatformError(
            f"the scoring script {script} is not in the code directory",
            hint="Write code_configuration.scoring_script relative to code_configuration.code.",
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a tree; links are replaced by what they lead to."""
    if source.is_file():
        shutil.copyfile(source, target)
        return
    target.mkdir()
    for directory, names, files in os.walk(source, followlinks=False, onerror=_raise):
        here = Path(directory)
        there = target / here.relative_to(source)
        names[:] = [name for name in names if name not in _SKIPPED]
        for name in [*names, *files]:
            _copy_entry(here / name, there / name, source)


def _raise(error: OSError) -> None:
    raise error


def _copy_entry(entry: Path, target: Path, root: Path) -> None:
    real = entry.resolve()
    if not real.is_relative_to(root):
        raise PlatformError(
            f"{entry} leads out of {root} (to {real})", hint="Replace the link by a copy of what it leads to."
        )
    mode = real.stat().st_mode
    if stat.S_ISDIR(mode):
        if entry.is_symlink():
            if root.is_relative_to(real) or entry.parent.resolve().is_relative_to(real):
                raise PlatformError(f"{entry} leads to a directory that it is in", hint="Remove the link.")
            _copy(real, target)
        else:
            target.mkdir(exist_ok=True)
    elif stat.S_ISREG(mode):
        shutil.copyfile(real, target)
    else:
        raise PlatformError(f"{entry} is neither a file nor a directory", hint="Remove it from the code directory.")
