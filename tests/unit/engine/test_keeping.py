"""What a rollout leaves beside its journal: both versions, the calls it made, and every look's evidence."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from golden.report.kept import FAILED, PROMOTED, case, copied

from deployer.engine.calls import Calls
from deployer.engine.keeping import deployer_version, specification, started
from deployer.errors import NotFoundError, StoreError
from deployer.stores.file import FileJournal


class Ticking:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


class Platform:
    capabilities = "what it can do"

    def observe(self) -> str:
        return "seen"

    def set_traffic(self, traffic: Mapping[str, int], mirror: Mapping[str, int], *, expect: Any = None) -> None:
        raise NotFoundError(f"no {traffic} {mirror} {expect}", hint="Look.")


def test_calls_are_counted_whether_they_succeed_or_fail_and_taken_once() -> None:
    calls = Calls(Ticking())  # type: ignore[arg-type]  # only asked for the time
    watched = calls.watch(Platform())  # type: ignore[arg-type]
    assert (watched.observe(), watched.observe(), watched.capabilities) == ("seen", "seen", "what it can do")
    with pytest.raises(NotFoundError, match=r"no \{'a': 1\} \{\} x"):
        watched.set_traffic({"a": 1}, {}, expect="x")  # type: ignore[arg-type]
    assert calls.take() == {"calls": {"observe": 2, "set_traffic": 1}, "called_s": 3.0}
    assert calls.take() == {}


def job(**document: Any) -> Any:
    return SimpleNamespace(manifest="/repo/m.yaml", specification=lambda _: document)


def test_a_rollout_begins_with_what_it_deploys_kept_and_its_hash_in_the_journal(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    plan = replace(case(FAILED).final.plan, rollout_id="r1", stable_digest=None)
    event = started(job(candidate={"a": 1}), plan, journal, pytest.fail)
    assert (event.deployer, event.manifest) == (deployer_version(), "/repo/m.yaml")
    assert specification(journal, "r1", event) == {"candidate": {"a": 1}}


def test_the_stable_is_what_an_earlier_rollout_here_deployed_by_the_same_digest(tmp_path: Path) -> None:
    journal = FileJournal(copied(tmp_path))
    promoted = case(PROMOTED)
    plan = replace(case(FAILED).final.plan, rollout_id="r1", stable_digest=promoted.final.plan.candidate_digest)
    kept = specification(journal, "r1", started(job(candidate={"a": 1}), plan, journal, pytest.fail))
    assert kept is not None
    assert kept["stable"] == (promoted.specification or {})["candidate"]
    unknown = replace(plan, rollout_id="r2", stable_digest="nobody's")
    kept = specification(journal, "r2", started(job(candidate={"a": 1}), unknown, journal, pytest.fail))
    assert kept == {"candidate": {"a": 1}, "stable": None}


class Full(FileJournal):
    def keep(self, rollout_id: str, name: str, content: bytes) -> None:
        raise StoreError(f"cannot keep {name[:4]} of {rollout_id}: {len(content) > 0}", hint="Free disk space.")


def test_a_full_disk_is_said_and_does_not_keep_a_rollout_from_beginning(tmp_path: Path) -> None:
    said: list[str] = []
    event = started(job(candidate={}), case(FAILED).final.plan, Full(tmp_path), said.append)
    assert event.specification is None
    assert said[0].endswith("Free disk space.")


def test_a_specification_that_was_changed_since_is_not_believed(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    first: Any = case(FAILED, folder).told[0].event
    path = folder / f"{FAILED}.evidence" / f"{first.specification}.json.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"instance_count", b"instance_amount")))
    assert case(FAILED, folder).specification is None
