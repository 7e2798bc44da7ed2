"""Send scoring requests as an open model: they arrive when they arrive, however slow the endpoint is.

    locust -f loadtests/scoring.py --headless --host http://127.0.0.1:31311/score --rps 40 --payload digit.json

A closed model (``wait_time``) sends less when the endpoint gets slower, and so hides exactly the slowness it is looking
for. Here one ``User`` is one lane: it spawns a greenlet for each arrival of an absolute schedule, latency counts from
the intended arrival, and what finds no free slot is a failed request.

One line of JSON a second goes to standard output (``meter.Meter.line``), a last one at the end (``summary``). With
``--processes``, or ``--master`` here and ``--worker`` on other machines, the master prints the sum; workers get options
and payload from it, and each takes its key from its own environment (``auth``). Imports locust only, never deployer.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import gevent
import locust.runners
import locust.stats
from gevent import ssl
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import LocustError, StopUser
from locust.runners import MasterRunner, Runner, WorkerRunner
from meter import tenths
from options import DRAIN_S, add_arguments
from records import OVER_CAP, UNFINISHED
from replies import status_of
from run import Gathering, Run

NAME = "score"

locust.stats.bucket_response_time = tenths
locust.runners.WORKER_REPORT_INTERVAL = 1.0


def _die_with_parent() -> None:
    """Workers of ``--processes`` would look for a master that is gone for minutes (1 is PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


os.register_at_fork(after_in_child=_die_with_parent)


class OverCapError(LocustError):
    """An arrival found as many requests in flight as are allowed."""


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
            lag_s = time.perf_counter() - intended
            if self.load.meter.is_behind(lag_s):
                return
            if self.load.meter.admit(lag_s, due_s):
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
                latency_ms = (time.perf_counter() - intended) * 1000
                status = status_of(response)
                response.request_meta["response_time"] = latency_ms
        except gevent.GreenletExit:
            self.load.recorder.add(due_s, (time.perf_counter() - intended) * 1000, UNFINISHED)
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


events.init_command_line_parser.add_listener(add_arguments)


@events.init.add_listener
def prepare(environment: Environment, runner: Runner, **_: object) -> None:
    """Read everything before the first request, so that what is wrong is said at once."""
    if environment.web_ui is not None:
        _only_watch(environment)
    try:
        if isinstance(runner, MasterRunner):
            Gathering(environment, runner)
        elif not isinstance(runner, WorkerRunner):
            _begin(environment)
    except (ValueError, OSError) as exc:
        sys.exit(f"load generator: {exc}")
    _report_while_running(environment, runner)


def _only_watch(environment: Environment) -> None:
    """A load started there would have another number of users, another host, and the figures of the one before."""
    if not environment.parsed_options.autostart:
        sys.exit(
            "load generator: give --headless (or --autostart, to watch in the web UI): started there, each user would "
            "send the whole rate, and the key might go to another host"
        )
    refused = ("this load is started from the command line, once", 409)
    environment.web_ui.app.view_functions["locust.swarm"] = lambda: refused


def _report_while_running(environment: Environment, runner: Runner) -> None:
    reporters = Group()

    @environment.events.test_start.add_listener
    def start(**_: object) -> None:
        if isinstance(runner, WorkerRunner):
            try:
                _begin(environment)  # not before: a worker gets its options from the master
            except (ValueError, OSError) as exc:
                print(f"load generator: {exc}", file=sys.stderr)  # noqa: T201 - the program's output
                runner.quit()
                return
        if not isinstance(runner, MasterRunner):
            reporters.spawn(OpenModelUser.load.report)

    @environment.events.test_stop.add_listener
    def end(**_: object) -> None:
        reporters.kill()
        if hasattr(OpenModelUser, "load"):  # neither in a master nor in a worker that never began
            OpenModelUser.load.summarise()


def _begin(environment: Environment) -> None:
    OpenModelUser.load = run = Run(environment)
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        environment.events.report_to_master.add_listener(run.tell_master)
        # a master that quits waits half a second for the last report, and requests in flight may take longer to end
        environment.events.test_stopping.add_listener(lambda **_: runner._send_stats())  # noqa: SLF001
