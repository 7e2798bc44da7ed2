"""A stage for each test, or for each module of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage that is empty when the test begins; nothing of it may run when the test has ended."""
    stage = Stage(tmp_path, Path(os.environ["DEPLOYER_HOME"]))
    try:
        yield stage
    finally:
        stage.end()
