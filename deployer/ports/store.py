"""The journal of a rollout: append-only, hash-chained, a cache of what the endpoint's tags also say in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal."""

    at: datetime
    actor: str
    event: Mapping[str, Any]
    """``{"type": ..., ...}`` as ``rollout.events`` writes it."""


class Journal(Protocol):
    """Journals of one endpoint, one per rollout."""

    def append(self, rollout_id: str, entry: Entry) -> None:
        """Add one entry durably (synced) or not at all.

        Raises:
            StoreError: disk full or not writable. The journal is as it was before.
        """
        ...

    def read(self, rollout_id: str) -> Sequence[Entry]:
        """Return all whole entries in order; a torn last line is left out; empty when there is no such journal.

        Raises:
            StoreError: a line in the middle does not match its hash: somebody changed it.
        """
        ...

    def rollouts(self) -> Sequence[str]:
        """Ids of all rollouts of the endpoint, oldest first."""
        ...

    def keep(self, rollout_id: str, name: str, content: bytes) -> None:
        """Keep a piece of evidence beside the journal; ``name`` is its SHA-256, so keeping it twice changes nothing.

        Raises:
            StoreError: disk full or not writable. Nothing was kept.
        """
        ...

    def kept(self, rollout_id: str, name: str) -> bytes | None:
        """Return what was kept under ``name``; None when nothing was."""
        ...
