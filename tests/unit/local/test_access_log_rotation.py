"""Logs that are renamed, replaced, cut short or gone, while the traffic log runs and while it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from doubles.access_log import T0, Place
from doubles.envoy_log import log_line
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from deployer.local import log_tail
from deployer.local.access_log import LAG


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.log.close()


def line(name: str) -> str:
    return log_line(T0, request_id=name)


def incidents(place: Place) -> list[str]:
    return [incident["text"] for incident in place.log.query("print 1")["incidents"]]


def complete_until(place: Place) -> datetime:
    return datetime.fromisoformat(place.log.query("print 1")["complete_until"])


def test_after_a_rotation_the_old_file_is_finished_before_the_new_one_is_read(place: Place) -> None:
    place.write(line("a"))
    place.log.poll()
    old = place.live.open("a")
    place.rotate()
    place.write(line("c"))
    place.log.poll()
    old.write(line("b"))  # Envoy had not yet reopened
    old.close()
    place.log.poll()
    assert place.ids() == ["a", "b"]
    place.clock.advance(log_tail.QUIET_S)
    assert place.ids() == ["a", "b", "c"]
    assert incidents(place) == []


def test_while_a_log_is_rotated_completeness_waits(place: Place) -> None:
    assert complete_until(place) == T0 - LAG
    place.rotate()
    place.write(line("a"))
    place.clock.advance(0.5)
    assert complete_until(place) == T0 - LAG
    place.clock.advance(1)
    place.log.poll()
    assert complete_until(place) == T0 + timedelta(seconds=1.5) - LAG


def test_a_rotation_that_the_writer_has_not_noticed_yet_waits_for_the_new_file(place: Place) -> None:
    place.write(line("a"))
    place.rotate()
    for _ in range(3):
        place.clock.advance(2)
        place.log.poll()
    answer = place.log.query("print 1")
    assert "does not exist" in answer["problem"]
    place.write(line("b"))
    assert place.ids() == ["a", "b"]
    assert place.log.query("print 1")["problem"] is None


@pytest.mark.parametrize("polled", [True, False])
def test_a_rotation_while_nobody_read_is_made_up_for(place: Place, polled: bool) -> None:
    place.write(line("a"))
    if polled:
        place.log.poll()
        place.log.close()
    place.write(line("b"))
    place.rotate()
    place.write(line("c"))
    place.log = place.open()
    place.log.poll()
    place.clock.advance(log_tail.QUIET_S)
    assert place.ids() == ["a", "b", "c"]
    assert incidents(place) == []


def test_two_rotations_while_nobody_read_lose_answers_and_that_is_said(place: Place) -> None:
    place.write(line("a"))
    place.log.poll()
    place.log.close()
    place.clock.advance(60)
    for name in ("b", "c"):
        place.rotate()
        place.write(line(name))
    place.log = place.open()
    place.log.poll()
    assert place.ids() == ["a", "c"]
    (incident,) = place.log.query("print 1")["incidents"]
    assert "replaced" in incident["text"]
    assert datetime.fromisoformat(incident["since"]) <= T0
    assert datetime.fromisoformat(incident["until"]) == T0 + timedelta(seconds=60)


def test_a_log_that_was_deleted_and_made_anew_with_the_same_inode_is_not_mistaken(place: Place) -> None:
    place.write(line("a") + line("b"))
    place.log.poll()
    place.log.close()
    content = place.live.read_text()
    with place.live.open("r+") as file:  # the inode stays, as file systems give it to the next file
        file.write(content.replace('"a"', '"c"').replace('"b"', '"d"'))
    place.log = place.open()
    assert place.ids() == ["a", "b", "c", "d"]
    assert "replaced" in incidents(place)[0]


def test_a_log_that_is_cut_short_is_read_from_its_beginning_and_that_is_said(place: Place) -> None:
    place.write(line("a") + line("b"))
    place.log.poll()
    os.truncate(place.live, 0)
    place.write(line("c"))
    assert place.ids() == ["a", "b", "c"]
    assert "cut short" in incidents(place)[0]


def test_a_log_that_is_cut_short_and_grows_again_beyond_is_noticed_all_the_same(place: Place) -> None:
    place.write(line("a"))
    place.log.poll()
    os.truncate(place.live, 0)
    place.write(line("b") + line("c") + line("d"))
    assert place.ids() == ["a", "b", "c", "d"]
    assert "cut short" in incidents(place)[0]


def test_the_unfinished_last_line_of_a_rotated_log_is_lost_and_that_is_said(place: Place) -> None:
    place.write(line("a") + line("b")[:30])
    place.log.poll()
    place.rotate()
    place.write(line("c"))
    place.log.poll()
    place.clock.advance(log_tail.QUIET_S)
    assert place.ids() == ["a", "c"]
    assert "never finished" in incidents(place)[0]


def test_a_log_that_is_gone_stops_completeness_and_is_a_problem(place: Place) -> None:
    place.log.poll()
    place.live.unlink()
    place.clock.advance(10)
    answer = place.log.query("print 1")
    assert "live.log does not exist" in answer["problem"]
    assert datetime.fromisoformat(answer["complete_until"]) == T0 - LAG


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.live.unlink()
    answer = place.log.query("print 1")
    assert answer["complete_until"] is None
    assert "does not exist" in answer["problem"]
    place.write(line("a"))
    assert place.ids() == ["a"]
    assert incidents(place) == []
    place.log.close()


def test_a_log_that_cannot_be_read_is_a_problem_until_it_can(place: Place) -> None:
    place.log.poll()
    place.live.unlink()
    place.log.close()
    place.live.mkdir()
    place.clock.advance(10)
    answer = place.log.query("print 1")
    assert "Is a directory" in answer["problem"]
    assert datetime.fromisoformat(answer["complete_until"]) == T0 - LAG
    place.live.rmdir()
    place.write(line("a"))
    place.clock.advance(10)
    assert place.ids() == ["a"]
    assert place.log.query("print 1")["problem"] is None


def test_a_line_longer_than_a_piece_is_no_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "PIECE_BYTES", 2000)
    place.write(line("a") + "\0" * 5000 + "\n" + line("b"))
    place.log.poll()
    assert place.ids() == ["a", "b"]
    assert "could not be read" in incidents(place)[0]


def test_a_log_of_many_pieces_is_read_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "PIECE_BYTES", 2000)
    place.write("".join(line(f"{n:03}") for n in range(100)))
    assert place.log.poll() == 100
    assert place.ids() == [f"{n:03}" for n in range(100)]


class AnyOrder(RuleBasedStateMachine):
    """Writing, tearing, rotating, polling and dying in any order: each line that was finished is counted once."""

    home: Path

    def __init__(self) -> None:
        super().__init__()
        home = self.home / os.urandom(8).hex()
        home.mkdir()
        self.place = Place(home)
        self.finished: list[str] = []
        self.rest = ""
        self.is_rotated = False

    def next_line(self) -> str:
        return line(f"{len(self.finished):04}")

    @rule()
    def write(self) -> None:
        self.place.write(self.rest or self.next_line())
        self.finished.append(f"{len(self.finished):04}")
        self.rest = ""

    @precondition(lambda self: not self.rest)
    @rule(size=st.integers(1, 300))
    def tear(self, size: int) -> None:
        whole = self.next_line()
        self.place.write(whole[:size])
        self.rest = whole[size:]

    @precondition(lambda self: not self.rest and not self.is_rotated)
    @rule()
    def rotate(self) -> None:
        self.place.rotate()
        self.place.live.touch()
        self.is_rotated = True

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.1]))
    def wait(self, seconds: float) -> None:
        self.place.clock.advance(seconds)

    @rule()
    def poll(self) -> None:
        self.place.log.poll()

    @rule()
    def die(self) -> None:
        self.place.log.close()
        self.place.log = self.place.open()

    @rule()
    def settle(self) -> None:
        for _ in range(3):
            self.place.clock.advance(log_tail.QUIET_S)
            self.place.log.poll()
        self.is_rotated = False
        assert self.place.ids() == self.finished
        assert incidents(self.place) == []

    def teardown(self) -> None:
        self.settle()
        self.place.log.close()


def test_in_any_order_each_line_is_counted_once(tmp_path: Path) -> None:
    AnyOrder.home = tmp_path
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=10, stateful_step_count=12, deadline=None))
