"""What azure-ai-ml does to the process around it, undone: its output, its environment variable, its threads.

It prints progress bars and colours to stderr, logs through handlers of its own that hold the stderr of the moment it
was imported, remembers its cloud in ``os.environ``, and uploads in threads that a process waits for when it ends.
Nothing here redirects ``sys.stderr``: that would swallow what others print meanwhile.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Generator
from concurrent.futures import thread as pools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from deployer.cloud.answers import one_line

_CLOUD = "AZUREML_CURRENT_CLOUD"
"""Set by each MLClient, and read by the next one and by child processes (azure-ai-ml _azure_environments.py:132)."""
_ASSETS = "azure.ai.ml._utils._asset_utils"
_ERRORS = "azure.ai.ml._exception_helper"
_TELEMETRY = "azure.ai.ml._telemetry"
"""Logs every call again, and our stopping one as an error."""
_STORAGES = ("azure.ai.ml._artifacts._blob_storage_helper", "azure.ai.ml._artifacts._gen2_storage_helper")

_note: ContextVar[Callable[[str], None] | None] = ContextVar("note", default=None)


@contextmanager
def apart() -> Generator[None]:
    """Restore the environment variable by which the SDK remembers its cloud."""
    before = os.environ.get(_CLOUD)
    try:
        yield
    finally:
        os.environ.pop(_CLOUD, None)
        if before is not None:
            os.environ[_CLOUD] = before


@contextmanager
def telling(note: Callable[[str], None]) -> Generator[None]:
    """Let progress bars that are made in this thread tell ``note``."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def silence() -> None:
    """Make the imported SDK print nothing; its log goes where the program's logging sends it, by default nowhere.

    The progress bars are replaced, not switched off: without them the SDK never looks whether a file of a directory
    was uploaded, and waits for ever for one that was not (_asset_utils.py upload_directory, measured).
    """
    assets: Any = importlib.import_module(_ASSETS)
    assets.tqdm = assets.FileUploadProgressBar = _Bar
    for name in _STORAGES:
        module: Any = importlib.import_module(name)
        module.print = _do_nothing
    errors: Any = importlib.import_module(_ERRORS)
    errors.init = _do_nothing  # of colorama: it replaces sys.stdout and sys.stderr, and writes to them at the end
    telemetry = logging.getLogger(_TELEMETRY)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name == "azure" or name.startswith("azure.ai.ml")):
            logger.handlers = [each for each in logger.handlers if type(each) is not logging.StreamHandler]
            logger.propagate = logger is not telemetry
    for logger in (logging.getLogger("azure"), telemetry):
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # else warnings go to stderr as a last resort


def abandon_uploads() -> None:
    """Let the process end without waiting for the SDK's upload threads.

    They are daemons, as children of a daemon thread are, but the pools of the standard library are joined all the
    same when the interpreter ends.
    """
    queues: Any = pools._threads_queues  # type: ignore[attr-defined]  # noqa: SLF001
    for worker in [each for each in queues if each.daemon]:
        del queues[worker]


class _Bar:
    """Stands for tqdm and for the SDK's bar of a single file: tells tenths of an upload."""

    def __init__(self, msg: str = "", *, desc: str = "", total: float = 0, ascii: bool = False) -> None:  # noqa: A002
        text = one_line(desc or msg)
        self._what = text[:1].lower() + text[1:]
        self._note = _note.get()
        self._done = 0.0
        self._tenths = 0
        self.total = total

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, more: float) -> None:
        """So many more bytes are there."""
        self._done += more
        tenths = int(10 * self._done / self.total) if self.total else 0
        if self._note is not None and tenths > self._tenths:
            self._note(f"{self._what}: {10 * tenths} %")
        self._tenths = tenths

    def update_to(self, response: Any) -> None:
        """So many bytes of a single file are there in all (``raw_response_hook`` of azure-storage)."""
        self.total = response.context["data_stream_total"] or 0
        self.update((response.context["upload_stream_current"] or 0) - self._done)


def _do_nothing(*_args: object, **_options: object) -> None:
    """Stand for ``print`` in the SDK's uploads, which resets the terminal's colour on stderr, and the like."""
