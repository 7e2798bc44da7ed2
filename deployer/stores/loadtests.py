"""Results of load tests on disk: one JSON file each, by endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from deployer.manifest.secrecy import record_without_secrets
from deployer.writing import write_whole

NO_ROOM = "Free disk space, or choose another place (--report, DEPLOYER_HOME)."


class LoadTestResults:
    """Results of one endpoint, in ``folder`` (made on the first one, mode 0700)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, test_id: str, suffix: str) -> Path:
        """File of a result."""
        return self._folder / f"{test_id}{suffix}"

    def keep(self, test_id: str, record: Mapping[str, Any]) -> Path:
        """Keep a result, whole or not at all; return its file.

        Raises:
            StoreError: it cannot be written.
        """
        path = self.path(test_id, ".json")
        write_whole(path, json.dumps(record_without_secrets(record), allow_nan=False), hint=NO_ROOM)
        return path

    def previous(self, like: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the latest whole result of the same test (``record["test"]``); unreadable files are passed over."""
        for path in sorted(self._folder.glob("*.json"), reverse=True):
            try:
                found: Any = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            record = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
            if record.get("test") == like and record.get("partial") is None and record.get("trusted"):
                return record
        return None
