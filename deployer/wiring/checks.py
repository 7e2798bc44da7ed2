"""Checking manifests and profiles: what ``validate`` needs, and nothing that is slow to import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deployer.manifest.load import RolloutSpec, load_manifest
from deployer.manifest.problems import InvalidManifestError, Problem
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.profile_load import is_profile, load_profile
from deployer.stores.files import DiskFiles


def load(manifest: Path) -> RolloutSpec:
    """Load a manifest and every file it names.

    Raises:
        InvalidManifestError: it or one of them is wrong.
    """
    return load_manifest(manifest, files=DiskFiles(), env=os.environ)


def profile(path: Path) -> ProfileSpec:
    """Load a profile and every file it names.

    Raises:
        InvalidManifestError: it or one of them is wrong.
    """
    return load_profile(path, files=DiskFiles(), env=os.environ)


def problems_of(path: Path) -> Sequence[Problem]:
    """Check one manifest or profile; empty when it is valid."""
    try:
        (profile if is_profile(path, files=DiskFiles()) else load)(path)
    except InvalidManifestError as exc:
        return exc.problems
    return ()
