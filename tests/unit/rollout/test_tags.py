from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import T0, plan

from deployer.errors import ExitCode
from deployer.rollout.ending import ended, exit_code_of
from deployer.rollout.events import Adopted
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, Request, RequestKind, Rollout
from deployer.rollout.tags import (
    GOOD,
    PHASE,
    PREVIOUS,
    REQUEST,
    VALUE_MAX,
    answer_of,
    answer_to,
    instances_of,
    marks_of,
    request_of,
    revision_of,
    tag_for,
    tags_for,
    tags_for_good,
    with_instances,
)


def state(phase: Phase = Phase.SHIFTING, **over: object) -> Rollout:
    return replace(begin(Adopted(plan(**{k: v for k, v in over.items() if k == "stable"}), phase, 2, 20, 0, "x"), T0))


def as_tags(marks: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in marks.items() if value is not None}


def test_a_rollout_is_read_back_from_its_tags() -> None:
    marks = marks_of(as_tags(tags_for(state())))
    assert marks is not None
    assert (marks.phase, marks.position, marks.candidate, marks.stable) == (Phase.SHIFTING, 2, "green", "blue")
    assert marks.is_active
    ended_marks = marks_of(as_tags(tags_for(state(Phase.PROMOTED))))
    assert ended_marks is not None
    assert not ended_marks.is_active


def test_a_first_deployment_has_no_stable_in_its_tags() -> None:
    marks = marks_of(as_tags(tags_for(state(stable=None))))
    assert marks is not None
    assert marks.stable is None


@pytest.mark.parametrize("value", ["", "judging", "judging:x", "nonsense:2"])
def test_garbled_tags_tell_of_no_rollout(value: str) -> None:
    tags = as_tags(tags_for(state())) | {PHASE: value}
    assert marks_of(tags) is None
    assert marks_of({}) is None


@given(st.text(max_size=400), st.text(max_size=40).filter(lambda t: "|" not in t))
def test_any_request_fits_a_tag_and_its_kind_survives(reason: str, by: str) -> None:
    value = tag_for(Request(RequestKind.ABORT, by, reason))
    read = request_of({REQUEST: value})
    assert len(value) <= VALUE_MAX
    assert read is not None
    assert (read.kind, read.by) == (RequestKind.ABORT, by)
    assert reason.startswith(read.reason)


def test_a_bar_in_a_name_does_not_garble_a_request() -> None:
    assert request_of({REQUEST: tag_for(Request(RequestKind.PAUSE, "a|b", "c|d"))}) == Request(
        RequestKind.PAUSE, "a/b", "c|d"
    )


@pytest.mark.parametrize("value", ["", "abort", "dance|ann|"])
def test_a_garbled_request_is_no_request(value: str) -> None:
    assert request_of({REQUEST: value}) is None


def test_the_version_in_use_and_the_one_before_are_kept() -> None:
    first = as_tags(tags_for_good({}, ("blue", "d1"), None, T0))
    assert PREVIOUS not in first
    second = as_tags(tags_for_good(first, ("green", "d2"), ("blue", "d1"), T0))
    good, previous = revision_of(second[GOOD]), revision_of(second[PREVIOUS])
    assert good is not None
    assert previous is not None
    assert (good.number, good.name, previous.number, previous.name, previous.digest) == (2, "green", 1, "blue", "d1")
    assert revision_of(None) is None
    assert revision_of("garbled") is None


@pytest.mark.parametrize(
    ("phase", "outcome", "code", "words"),
    [
        (Phase.PROMOTED, Outcome.PROMOTED, ExitCode.OK, "promoted: green has 100%"),
        (Phase.ROLLED_BACK, Outcome.GATE_FAILED, ExitCode.GATE_FAILED, "gate failed, rolled back, blue has 100%"),
        (Phase.ROLLED_BACK, Outcome.INCONCLUSIVE, ExitCode.INCONCLUSIVE, "inconclusive, rolled back"),
        (Phase.ROLLED_BACK, Outcome.ABORTED, ExitCode.ABORTED, "aborted, rolled back"),
        (Phase.ROLLED_BACK, Outcome.PLATFORM, ExitCode.PLATFORM, "platform failed, rolled back"),
        (Phase.ROLLED_BACK, None, ExitCode.BUG, "ended"),
        (Phase.PAUSED, None, ExitCode.PAUSED, "paused (blue 80%, green 20%)"),
        (Phase.STUCK, Outcome.ABORTED, ExitCode.STUCK, "STUCK"),
    ],
)
def test_each_ending_has_its_exit_code_and_its_words(
    phase: Phase, outcome: Outcome | None, code: ExitCode, words: str
) -> None:
    last = replace(state(phase), outcome=outcome)
    assert exit_code_of(last) is code
    assert words in ended(last).text


def test_a_rolled_back_first_deployment_says_that_nobody_has_traffic() -> None:
    last = replace(state(Phase.ROLLED_BACK, stable=None), outcome=Outcome.ABORTED)
    assert "no deployment has traffic" in ended(last).text


@pytest.mark.parametrize(("stable", "has_next"), [("blue", True), (None, False)])
def test_who_is_stuck_is_told_what_to_do_next(stable: str | None, has_next: bool) -> None:
    said = ended(replace(state(Phase.STUCK, stable=stable), outcome=Outcome.ABORTED, reason="traffic is split")).text
    assert "traffic is split. Next: deployer status digits" in said
    assert ("deployer rollback digits (with --to NAME" in said) is has_next


def test_an_answer_names_the_request_it_is_to() -> None:
    request = Request(RequestKind.PAUSE, "ann", "why", "3f9c01")
    assert request_of({REQUEST: tag_for(request)}) == request
    answer = answer_to(request, "taken: paused")
    assert answer_of(answer, "3f9c01") == "taken: paused"
    assert answer_of(answer, "3f9c02") is None
    assert answer_of(None, "3f9c01") is None
    assert len(answer_to(request, "x" * 300)) == VALUE_MAX


@pytest.mark.parametrize("request_", [None, Request(RequestKind.PAUSE, "ann")])
def test_an_answer_to_a_request_written_by_hand_is_only_words(request_: Request | None) -> None:
    assert answer_to(request_, "taken: paused") == "taken: paused"


@pytest.mark.parametrize(("instances", "parts"), [(0, 4), (7, 5)])
def test_a_version_that_was_replaced_is_remembered_with_its_instances(instances: int, parts: int) -> None:
    tags = tags_for_good({GOOD: "1|blue|old|1767225600"}, ("green", "new"), ("blue", "old"), T0, instances)
    written = tags[PREVIOUS] or ""
    found = revision_of(written)
    assert len(written.split("|")) == parts
    assert found is not None
    assert (found.number, found.name, found.instances) == (1, "blue", instances)


def test_the_version_in_use_is_remembered_with_its_instances_and_keeps_its_number() -> None:
    later = T0 + timedelta(days=1)
    tags = as_tags(with_instances({GOOD: "3|blue|old|1767225600"}, ("blue", "old"), 8, later))
    assert tags == {GOOD: "3|blue|old|1767225600|8"}
    assert as_tags(with_instances({}, ("blue", ""), 8, T0)) == {GOOD: "0|blue||1767225600|8"}
    assert instances_of(tags, "blue", "old") == 8
    replaced = as_tags(tags_for_good(tags, ("green", "new"), ("blue", "old"), later, 8))
    assert [instances_of(replaced, *each) for each in (("blue", "old"), ("green", "new"))] == [8, 0]


@pytest.mark.parametrize("version", [("green", "old"), ("blue", "new"), ("blue", None), (None, None)])
def test_of_a_version_that_the_tags_do_not_tell_of_no_instances_are_known(
    version: tuple[str | None, str | None],
) -> None:
    assert instances_of({GOOD: "3|blue|old|1767225600|8", PREVIOUS: "garbled"}, *version) == 0


@pytest.mark.parametrize("instances", [0, 7])
def test_a_version_that_could_not_be_retired_is_remembered_as_left(instances: int) -> None:
    longest = ("b" * 32, "0" * 64)
    tags = tags_for_good({GOOD: f"{10**6}|blue|old|1767225600"}, longest, longest, T0, instances, is_left=True)
    found = revision_of(tags[PREVIOUS])
    assert found is not None
    assert (found.name, found.instances, found.is_left) == (longest[0], instances, True)
    assert len(tags[PREVIOUS] or "") <= VALUE_MAX
    assert revision_of("1|blue|old|1767225600|2") == replace(
        found, number=1, name="blue", digest="old", instances=2, is_left=False
    )  # as earlier deployers wrote it


def test_an_id_of_ours_says_when_the_rollout_began() -> None:
    marks = marks_of(as_tags(tags_for(state())))
    assert marks is not None
    begun = replace(marks, rollout_id="20261125T203702-04ba").started_at
    assert begun == datetime(2026, 11, 25, 20, 37, 2, tzinfo=UTC)
    assert replace(marks, rollout_id="somebody's").started_at is None
