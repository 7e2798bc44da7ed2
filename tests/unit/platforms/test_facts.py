"""What is read once: shared by everybody, while a failure is nobody's but of those who waited for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployer.errors import TransientError
from deployer.platforms.inspection.facts import Once


class Source:
    """Fails ``failures`` times, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures, self.reads = failures, 0

    def __call__(self) -> str:
        self.reads += 1
        if self.reads <= self.failures:
            raise TransientError("503 for a moment", hint="Wait.")
        return "ws"


def test_what_was_read_is_not_read_again() -> None:
    source = Source(0)
    once = Once(source)
    assert [once(), once()] == ["ws", "ws"]
    assert source.reads == 1


def test_a_failure_is_forgotten_at_once() -> None:
    once = Once(Source(1))
    with pytest.raises(TransientError):
        once()
    assert once() == "ws"


def test_whoever_waited_for_a_read_shares_its_failure_instead_of_repeating_it() -> None:
    started, go = threading.Event(), threading.Event()
    source = Source(99)

    def slow() -> str:
        started.set()
        assert go.wait(10)
        return source()

    once = Once(slow)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(once)
        assert started.wait(10)
        waiting = threading.Barrier(4)

        def wait_too() -> str:
            waiting.wait(10)
            return once()

        others = [pool.submit(wait_too) for _ in range(3)]
        waiting.wait(10)
        while not once._lock.locked():  # held by the first until it may go on
            pass
        threading.Event().wait(0.2)  # the others get as far as the lock
        go.set()
        for one in (first, *others):
            assert isinstance(one.exception(10), TransientError)
    assert source.reads == 1
