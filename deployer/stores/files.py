"""The disk, as the manifest loader reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class DiskFiles:
    """A ``deployer.manifest.files.FileReader`` on the real file system."""

    def real(self, path: Path) -> Path | None:
        """The absolute path with all symbolic links followed; None when nothing is there (or links run in a circle)."""
        try:
            return path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # missing; a circle of links before Python 3.13; a zero byte
            return None

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is a regular file (links are followed)."""
        return path.is_file()

    def is_dir(self, path: Path) -> bool:
        """Whether ``path`` is a directory (links are followed)."""
        return path.is_dir()

    def names(self, directory: Path) -> Sequence[str]:
        """Names of the entries of ``directory``, sorted by code point, on every machine alike.

        Raises:
            OSError: it cannot be listed.
        """
        return sorted(entry.name for entry in directory.iterdir())

    def chunks(self, path: Path) -> Iterator[bytes]:
        """Content of the file in pieces of at most 1 MiB.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
