from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _short_temporary_directory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Socket directories of long homes go where the test takes them along when it ends.

    Not for tests of running endpoints: those outlive a test, and clean up after themselves.
    """
    if request.node.get_closest_marker("local"):
        yield
        return
    directory = tempfile.mkdtemp(prefix="d")
    monkeypatch.setattr(tempfile, "tempdir", directory)
    yield
    shutil.rmtree(directory)
