from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _worlds_end_with_their_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of many worlds makes a directory for each."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
