"""Signals: the first one is remembered, the same one again leaves at once, and what is ignored stays ignored."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deployer.engine.signals import Signals
from deployer.errors import ExitCode

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_of_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", HANDLED)
def test_the_first_signal_is_remembered_by_name_and_wakes_who_sleeps(number: signal.Signals) -> None:
    woken: list[bool] = []
    signals = Signals(lambda: woken.append(True))
    signals.install()
    assert signals() is None
    signal.raise_signal(number)
    assert (signals(), woken) == (number.name, [True])


def test_another_signal_does_not_change_the_first() -> None:
    signals = Signals(lambda: None)
    signals.install()
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert signals() == "SIGINT"


def test_nothing_is_handled_before_it_is_installed() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    Signals(lambda: None)
    assert [signal.getsignal(number) for number in HANDLED] == before


TWICE = """
import signal, sys
from deployer.engine.signals import Signals
signals = Signals(lambda: None)
signals.install()
for name in sys.argv[1:]:
    signal.raise_signal(getattr(signal, name))
print("still here")
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_same_signal_again_leaves_at_once_and_pages_somebody() -> None:
    done = run(TWICE, "SIGTERM", "SIGTERM")
    assert (done.returncode, done.stdout) == (ExitCode.STUCK, "")
    assert done.stderr.startswith("\nleft at once: what traffic does is not verified; see `deployer status`")


def test_who_insists_is_told_what_is_left_there() -> None:
    done = run(TWICE.replace("(lambda: None)", "(lambda: None).saying('a bill')"), "SIGINT", "SIGINT")
    assert (done.returncode, done.stderr) == (ExitCode.STUCK, "\nleft at once: a bill\n")


def test_a_ci_system_that_sends_one_of_each_does_not_interrupt_the_way_back() -> None:
    done = run(TWICE, "SIGINT", "SIGTERM")
    assert (done.returncode, done.stdout) == (0, "still here\n")


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(name: str) -> None:
    """As under ``nohup``, and in the background of a shell without job control."""
    ignoring = f"import signal\nsignal.signal(signal.{name}, signal.SIG_IGN)\n{TWICE}\nprint(signals())"
    assert run(ignoring, name, name).stdout == "still here\nNone\n"
