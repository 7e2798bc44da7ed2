"""The daemon of one endpoint: takes requests on a private socket, owns every process of the endpoint.

Started by the keeper, and the only writer of the state directory (a lock sees to it). Whatever it starts dies with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployer.errors import DeployerError, PlatformError
from deployer.local.endpoint import Endpoint
from deployer.local.housekeeping import keep_house
from deployer.local.keeper import QUIT, start_keeper
from deployer.local.layout import Layout, keep_ballast
from deployer.local.logs import read_tail
from deployer.local.processes import end_leftovers, pause, take_lock
from deployer.local.protocol import REQUEST_MAX, decode_request, encode_error, encode_result
from deployer.local.traffic import Traffic

_LOCK_WAIT_S = 5.0
_UNUSED_S = 30.0
"""A daemon whose endpoint is not created within this time ends: whoever started it is gone."""
_KEEPER_PAUSE_S = 1.0
_log = logging.getLogger(__name__)


class Daemon:
    """Serves one state directory until told to stop."""

    def __init__(self, layout: Layout, channel: socket.socket) -> None:
        """Read the record.

        Raises:
            PlatformError: it is damaged.
        """
        self._layout = layout
        self._channel = channel
        self._endpoint = Endpoint(layout)
        self._traffic = Traffic(layout)
        self._stop = asyncio.Event()
        self._revival: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Run until ``shutdown`` is asked for or SIGTERM comes, then end everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._watch_keeper()
        self._layout.control.unlink(missing_ok=True)
        self._endpoint.restore()
        server = await asyncio.start_unix_server(self._answer, self._layout.control, limit=REQUEST_MAX)
        self._traffic.start()
        house = asyncio.create_task(keep_house(self._layout, self._endpoint, self._traffic), name="keep house")
        loop.call_later(_UNUSED_S, self._stop_if_unused)
        await self._stop.wait()
        house.cancel()
        server.close()
        self._layout.control.unlink(missing_ok=True)
        await self._endpoint.stop()
        await self._traffic.stop()
        end_leftovers(self._layout.root)  # what models started in sessions of their own
        with suppress(OSError):
            self._channel.send(QUIT)

    def _stop_if_unused(self) -> None:
        if not self._endpoint.exists:
            self._stop.set()

    def _watch_keeper(self) -> None:
        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        loop.add_reader(self._channel, self._keeper_died)

    def _keeper_died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._revival = asyncio.create_task(self._revive_keeper(), name="revive the keeper")

    async def _revive_keeper(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs, suppress(OSError, subprocess.SubprocessError):
            await asyncio.to_thread(start_keeper, self._layout, theirs)
        await asyncio.sleep(_KEEPER_PAUSE_S)  # when it could not be started, the next try comes after this
        self._watch_keeper()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await self._perform(await reader.readuntil(b"\n")))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client hung up, or speaks something else; it learns nothing from us then
        finally:
            writer.close()

    async def _perform(self, line: bytes) -> bytes:
        try:
            op, arguments = decode_request(line)
            return encode_result(await self._operation(op)(**arguments))
        except DeployerError as exc:
            return encode_error(exc)
        except Exception as exc:  # noqa: BLE001  # a bug in one operation must not take the endpoint down
            _log.exception("%s failed", line[:80])
            return encode_error(
                PlatformError(f"the local platform failed: {exc!r}", hint=f"Read {self._layout.log('daemon')}.")
            )

    def _operation(self, op: str) -> Callable[..., Awaitable[Any]]:
        endpoint = self._endpoint
        operations: dict[str, Callable[..., Awaitable[Any]]] = {
            "observe": endpoint.observe,
            "ensure_endpoint": endpoint.ensure,
            "create_deployment": endpoint.create_deployment,
            "recreate_deployment": endpoint.recreate_deployment,
            "set_traffic": endpoint.set_traffic,
            "set_tags": endpoint.set_tags,
            "delete_deployment": endpoint.delete_deployment,
            "scale_deployment": endpoint.scale_deployment,
            "scoring_target": _async(endpoint.scoring_target),
            "counters": endpoint.counters,
            "query": self._traffic.query,
            "logs": self._logs,
            "status": _async(self._status),
            "shutdown": _async(self._stop.set),
        }
        if op not in operations:
            raise PlatformError(f"the local platform does not know {op!r}", hint="Use the client of this package.")
        return operations[op]

    async def _logs(self, name: str, lines: int) -> str:
        return await asyncio.to_thread(read_tail, self._endpoint.log_files(name), lines)

    def _status(self) -> dict[str, Any]:
        return {"daemon_pid": os.getpid(), **self._endpoint.status()}


def _async(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(**arguments: Any) -> Any:
        return function(**arguments)

    return call


def main(arguments: list[str]) -> int:
    """Serve the state directory ``arguments[0]``; ``arguments[1]`` is the socket to the keeper."""
    layout, channel = Layout(Path(arguments[0])), socket.socket(fileno=int(arguments[1]))
    deadline = time.monotonic() + _LOCK_WAIT_S
    while take_lock(layout.daemon_lock) is None:
        if time.monotonic() > deadline:
            _log.error("another daemon serves %s", layout.root)
            channel.send(QUIT)
            return 1
        pause(0.05)
    try:
        layout.prepare()
        end_leftovers(layout.root)
        keep_ballast(layout)
        asyncio.run(_serve(layout, channel))
    except DeployerError as exc:
        _log.error("%s. %s", exc.message, exc.hint)  # understood, so no traceback
        with suppress(OSError):
            channel.send(QUIT)
        return 1
    return 0


async def _serve(layout: Layout, channel: socket.socket) -> None:
    await Daemon(layout, channel).serve()


if __name__ == "__main__":
    os.umask(0o077)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(main(sys.argv[1:]))
