"""Send scoring requests as an open model: they arrive when they arrive, however slow the endpoint is.

    locust -f loadtests/scoring.py --headless --host http://127.0.0.1:31311/score --rps 40 --payload digit.json

A closed model (``wait_time``) sends less when the endpoint gets slower, and so hides exactly the slowness it is looking
for. Here one ``User`` is one lane: it spawns a greenlet for each arrival of an absolute schedule, latency counts from
the intended arrival, and what finds no free slot is a failed request.

One line of JSON a second goes to standard output (``meter.Meter.line``), a last one at the end (``summary``). The key
comes from ``DEPLOYER_LOAD_KEY``, or a JSON object of headers from the file descriptor ``DEPLOYER_LOAD_HEADERS_FD``;
never from the command line, which every user of the machine can read. Imports locust only, never deployer.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import gevent
import locust.stats
from gevent import ssl
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import LocustError, StopUser
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, Runner, WorkerRunner
from meter import Meter, tenths
from records import OVER_CAP, UNFINISHED, Recorder, RecordFile
from shapes import HELP, Stage, arrivals, evenly, lasting, parse_shape, recorded

DRAIN_S = 2.0
"""How long requests in flight may go on when the load ends, so that the end is not a burst of hung-up clients."""

NAME = "score"

START_S = 15
"""Seconds within which every worker has reported once."""

SUMMED = ("sent", "answered", "failed", "over_cap", "in_flight")
WORST = ("lag_p99_ms", "cpu_pct")

locust.stats.bucket_response_time = tenths


class OverCapError(LocustError):
    """An arrival found as many requests in flight as are allowed."""


class Run:
    """One process's share of a load test: what to send and when, and the meter."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        if isinstance(environment.runner, LocalRunner) and (options.num_users or 1) != options.lanes:
            raise ValueError(f"--users {options.num_users} share the rate: give --lanes {options.num_users} too")
        self.kind: str = options.arrivals
        self.concurrency: int = options.concurrency
        self.seconds: float = options.seconds + options.warm_up
        self.drain_s: float = options.drain
        stages = parse_shape(options.shape, options.rps)
        self.stages: tuple[Stage, ...] = lasting(stages, options.seconds, options.warm_up)
        self.replay = Path(options.replay) if self.kind == "replay" else None
        if self.replay is not None:
            recorded(self.replay)  # what is wrong is said before anything is sent
        self.bodies = read_bodies(Path(options.payload))
        self.headers = {"Content-Type": "application/json", **secret_headers(os.environ, environment.host or "")}
        self.lanes: int = options.lanes
        self.recorder = Recorder()
        self.is_worker = isinstance(environment.runner, WorkerRunner)
        self.file = RecordFile("" if self.is_worker else options.records)
        self.latest: dict[str, object] = {}
        self.meter = Meter(cap=options.in_flight)
        self.lanes_open = self.lanes_ended = 0
        self._seed: int | None = options.seed
        workers = (options.processes or options.expect_workers) if isinstance(environment.runner, WorkerRunner) else 1
        self._lanes: Iterator[int] = count(max(getattr(environment.runner, "worker_index", 0), 0), workers)
        self._started, self._started_cpu_s = time.perf_counter(), time.process_time()

    def lane(self) -> tuple[int, Random]:
        """One more lane's number and its chance: the same for the same number, where a seed was given."""
        lane = next(self._lanes)
        return lane, Random() if self._seed is None else Random(f"{self._seed}/{lane}")  # noqa: S311 - no secrets

    def arrivals(self, lane: int, random: Random) -> Iterator[float]:
        """When requests of a lane arrive."""
        if self.replay is not None:
            return recorded(self.replay, lane=lane % self.lanes, lanes=self.lanes)
        if self.kind == "constant":
            return evenly(self.stages, lane=lane % self.lanes, lanes=self.lanes)
        return arrivals(self.stages, random, share=1 / self.lanes)

    @property
    def is_done(self) -> bool:
        """Whether every lane has come to its end."""
        return self.lanes_ended > 0 and not self.lanes_open

    def report(self) -> None:
        """Print a line now and every second."""
        self._started = at = time.perf_counter()
        self._started_cpu_s = cpu_s = time.process_time()
        for second in count(1):
            now, now_cpu_s = time.perf_counter(), time.process_time()
            self.latest = self.meter.line(now - self._started, 100 * (now_cpu_s - cpu_s) / max(now - at, 0.1))
            if not self.is_worker:
                print_line(self.latest)
                self.file.write(self.recorder.take())
            at, cpu_s = now, now_cpu_s
            gevent.sleep(max(0.0, self._started + second - now))

    def summarise(self) -> None:
        """Print the last line."""
        elapsed_s = max(time.perf_counter() - self._started, 0.1)
        cpu_s = time.process_time() - self._started_cpu_s
        self.latest = self.meter.summary(elapsed_s, 100 * cpu_s / elapsed_s)
        if not self.is_worker:
            self.file.write(self.recorder.take())
        print_line(self.latest)

    def tell_master(self, client_id: str, data: dict[str, object]) -> None:
        """Add to a worker's report what was recorded since the last one."""
        data["records"] = self.recorder.take()
        data["line"] = {**self.latest, "done": self.is_done}


class Gathering:
    """The master's side: entries and figures of all workers, as one."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        self._runner = runner
        self._file = RecordFile(environment.parsed_options.records)
        self._lines: dict[str, Mapping[str, float]] = {}
        self._expected: int = environment.parsed_options.lanes
        environment.events.worker_report.add_listener(self._hear)
        environment.events.test_start.add_listener(lambda **_: gevent.spawn(self._report))

    def _hear(self, client_id: str, data: Mapping[str, Any]) -> None:
        self._file.write(data.get("records", b""))
        self._lines[client_id] = data.get("line") or {}

    def _report(self) -> None:
        started = time.perf_counter()
        for second in count(1):
            lines = list(self._lines.values())
            sums = {key: sum(line.get(key, 0) for line in lines) for key in SUMMED}
            worst = {key: max((line.get(key) or 0.0 for line in lines), default=0.0) for key in WORST}
            done = sum(bool(line.get("done")) for line in lines)
            alive = sum(worker.state != STATE_MISSING for worker in self._runner.clients.values())
            lost = max(len(lines), self._expected) - alive if second > START_S else 0
            figures = {"t": round(time.perf_counter() - started, 2), **sums, **worst, "workers": alive, "lost": lost}
            print_line(figures)
            if lines and done + lost >= max(len(lines), self._expected):
                self._runner.quit()
                return
            gevent.sleep(max(0.0, started + second - time.perf_counter()))


class OpenModelUser(FastHttpUser):
    """One lane of arrivals. Subclass it and override ``send`` for requests of another kind; ordinary tasks work too."""

    abstract = True
    load: Run
    insecure = False
    ssl_context_factory = staticmethod(lambda **_: ssl.create_default_context())

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        self.concurrency = options.in_flight  # the client's pool queues beyond its size: it must not be smaller
        self.network_timeout = self.connection_timeout = options.timeout
        super().__init__(environment)
        agent = self.client.client
        agent.valid_response_codes = frozenset(range(200, 300))  # a redirect is a failure, and is not followed
        agent.cookiejar = None
        self.number, self.random = self.load.lane()
        self._in_flight = Group()

    @task
    def lane(self) -> None:
        """Spawn a greenlet per arrival until the shape ends."""
        self.load.lanes_open += 1
        started = time.perf_counter()
        if self.load.kind == "closed":
            self._keep_busy(started)
        else:
            self._let_arrive(started)
        self._in_flight.join(timeout=self.load.drain_s)
        self.load.lanes_open -= 1
        self.load.lanes_ended += 1
        if self.load.is_done and not self.load.is_worker:
            gevent.spawn(self.environment.runner.quit)
        raise StopUser

    def _let_arrive(self, started: float) -> None:
        for due_s in self.load.arrivals(self.number, self.random):
            intended = started + due_s
            gevent.sleep(max(0.0, intended - time.perf_counter()))  # 0 too: others must get their turn
            if self.load.meter.admit(time.perf_counter() - intended):
                self._in_flight.spawn(self._arrive, intended, due_s)
            else:
                self._over_cap(due_s)

    def _keep_busy(self, started: float) -> None:
        def again() -> None:
            while (due_s := time.perf_counter() - started) < self.load.seconds:
                if self.load.meter.admit(0.0):
                    self._arrive(started + due_s, due_s)

        for lane in range(self.load.concurrency):
            if lane % self.load.lanes == self.number % self.load.lanes:
                self._in_flight.spawn(again)
        self._in_flight.join()

    def on_stop(self) -> None:
        """Let requests in flight end, for a moment."""
        self._in_flight.join(timeout=DRAIN_S)
        self._in_flight.kill()

    def _arrive(self, intended: float, due_s: float) -> None:
        status, latency_ms = 0, 0.0
        try:
            with self.send() as response:
                status = response.status_code
                latency_ms = (time.perf_counter() - intended) * 1000
                response.request_meta["response_time"] = latency_ms
        except gevent.GreenletExit:
            self.load.recorder.add(due_s, 0.0, UNFINISHED)
            raise
        else:
            self.load.recorder.add(due_s, latency_ms, status)
        finally:
            self.load.meter.end(latency_ms, status)

    def _over_cap(self, due_s: float) -> None:
        self.load.recorder.add(due_s, 0.0, OVER_CAP)
        self.environment.events.request.fire(
            request_type="POST",
            name=NAME,
            response_time=None,
            response_length=0,
            exception=OverCapError(f"{self.load.meter.cap} requests in flight already"),
            context={},
        )

    def send(self) -> ResponseContextManager:
        """Send one request now."""
        raise NotImplementedError


class ScoringUser(OpenModelUser):
    """Posts one of the payload's bodies, chosen at random."""

    def send(self) -> ResponseContextManager:
        """Post to the URL given as ``--host``."""
        headers = {**self.load.headers, "x-ms-client-request-id": f"deployer-load-{self.load.meter.sent}"}
        return self.client.post(
            "", data=self.random.choice(self.load.bodies), headers=headers, name=NAME, catch_response=True
        )


def read_bodies(path: Path) -> list[bytes]:
    """Read what to send: a ``.jsonl`` file holds one body a line, any other file is one body.

    Raises:
        ValueError: there is none.
    """
    content = path.read_bytes()
    bodies = [line for line in content.splitlines() if line.strip()] if path.suffix == ".jsonl" else [content]
    if not bodies:
        raise ValueError(f"{path} holds no request: write one body a line")
    return bodies


def secret_headers(environ: MutableMapping[str, str], url: str) -> dict[str, str]:
    """Take the headers that authenticate out of the environment, or from the descriptor that it names.

    Raises:
        ValueError: they would travel unencrypted to another machine.
    """
    headers: dict[str, str] = {}
    if (descriptor := environ.get("DEPLOYER_LOAD_HEADERS_FD")) is not None:
        headers = json.loads(os.pread(int(descriptor), 65536, 0))  # every process of the test reads it for itself
    elif (key := environ.pop("DEPLOYER_LOAD_KEY", None)) is not None:
        headers = {"Authorization": f"Bearer {key}"}
    parts = urlsplit(url)
    if headers and parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{parts.scheme}://{parts.hostname} is not encrypted: the key is not sent there; use https")
    return headers


def whole(text: str) -> int:
    """Read a whole number from 1.

    Raises:
        ValueError: it is none.
    """
    if (number := int(text)) < 1:
        raise ValueError(f"{number} is below 1")
    return number


def print_line(figures: Mapping[str, object]) -> None:
    """Print one line; when nobody reads any more, end."""
    try:
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Add our options to Locust's own."""
    group = parser.add_argument_group("Open model")
    group.add_argument("--rps", type=float, default=1.0, env_var="DEPLOYER_LOAD_RPS", help="requests a second")
    group.add_argument("--shape", default="constant", env_var="DEPLOYER_LOAD_SHAPE", help=HELP)
    group.add_argument(
        "--payload",
        default="",
        env_var="DEPLOYER_LOAD_PAYLOAD",
        help="file with the request's body, or .jsonl with one a line",
    )
    group.add_argument(
        "--in-flight", type=whole, default=256, env_var="DEPLOYER_LOAD_IN_FLIGHT", help="most requests at once"
    )
    group.add_argument(
        "--timeout", type=float, default=60.0, env_var="DEPLOYER_LOAD_TIMEOUT", help="longest silence, in seconds"
    )
    group.add_argument(
        "--lanes", type=whole, default=1, env_var="DEPLOYER_LOAD_LANES", help="users that share the rate: as --users"
    )
    group.add_argument(
        "--arrivals",
        choices=["poisson", "constant", "replay", "closed"],
        default="poisson",
        env_var="DEPLOYER_LOAD_ARRIVALS",
        help="when requests come: at random, evenly, as recorded, or (closed) whenever one of --concurrency is free",
    )
    group.add_argument("--replay", default="", env_var="DEPLOYER_LOAD_REPLAY", help="file of recorded arrivals")
    group.add_argument(
        "--concurrency", type=whole, default=1, env_var="DEPLOYER_LOAD_CONCURRENCY", help="closed: always in flight"
    )
    group.add_argument(
        "--seconds", type=float, default=math.inf, env_var="DEPLOYER_LOAD_SECONDS", help="how long, after the warm-up"
    )
    group.add_argument("--warm-up", type=float, default=0.0, env_var="DEPLOYER_LOAD_WARM_UP", help="seconds before it")
    group.add_argument(
        "--drain", type=float, default=DRAIN_S, env_var="DEPLOYER_LOAD_DRAIN", help="longest wait for the last answers"
    )
    group.add_argument("--records", default="", env_var="DEPLOYER_LOAD_RECORDS", help="file for every request")
    group.add_argument("--seed", type=int, default=None, env_var="DEPLOYER_LOAD_SEED", help="repeats the arrivals")


@events.init.add_listener
def prepare(environment: Environment, runner: Runner, **_: object) -> None:
    """Read everything before the first request, so that what is wrong is said at once."""
    if isinstance(runner, MasterRunner):
        Gathering(environment, runner)
        return
    try:
        run = Run(environment)
    except (ValueError, OSError) as exc:
        sys.exit(f"load generator: {exc}")
    OpenModelUser.load = run
    if run.is_worker:
        environment.events.report_to_master.add_listener(run.tell_master)
    reporters = Group()
    environment.events.test_start.add_listener(lambda **_: reporters.spawn(run.report))

    @environment.events.test_stop.add_listener
    def end(**_: object) -> None:
        reporters.kill()
        run.summarise()
