"""``explain``: every verdict is recomputed from what was kept, and what was changed is said."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden.report.kept import FAILED, PROMOTED, as_here, case, copied, rewritten

from deployer.errors import ExitCode, StoreError, UsageError
from deployer.gate.record import RULE
from deployer.ports.evidence import Case, Look, Match
from deployer.stores.file import FileJournal, JournalChangedError


def matches(found: Case) -> set[Match]:
    return {look.match for look in found.looks}


@pytest.mark.parametrize("name", [FAILED, PROMOTED])
def test_every_look_of_a_real_rollout_recomputes_to_its_verdict(name: str) -> None:
    found = case(name)
    assert len(found.looks) >= 4
    assert matches(found) == {Match.SAME}


def test_without_recomputing_only_the_looks_that_decided_are_judged_again() -> None:
    found = case(PROMOTED, recompute=False)
    assert {look.match for look in found.looks if look.decided} == {Match.SAME}
    assert {look.match for look in found.looks if not look.decided} == {Match.WHOLE}


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_line_of_the_journal_is_found(tmp_path: Path, place: int) -> None:
    folder = copied(tmp_path)
    path = folder / f"{FAILED}.jsonl"
    lines = path.read_text().split("\n")[:-1]
    lines[place] = lines[place].replace("ci@runner", "ci@other")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalChangedError, match="the journal was changed"):
        case(FAILED, folder)


def test_a_line_taken_out_of_the_journal_is_found(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    path = folder / f"{FAILED}.jsonl"
    lines = path.read_text().split("\n")
    del lines[3]
    path.write_text("\n".join(lines))
    with pytest.raises(JournalChangedError):
        case(FAILED, folder)


def whole(folder: Path) -> list[Path]:
    return sorted((folder / f"{FAILED}.evidence").glob("*.json.gz"))


def test_changed_evidence_is_found_by_its_hash(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for path in whole(folder):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"fail"', b'"pass"'), mtime=0))
    found = case(FAILED, folder)
    assert Match.CHANGED in matches(found)
    assert next(look for look in found.looks if look.decided).why == "its SHA-256 is not the one in the journal"


def test_evidence_that_cannot_be_unpacked_is_changed_evidence(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for path in whole(folder):
        path.write_bytes(b"nothing of the kind")
    assert matches(case(FAILED, folder)) == {Match.CHANGED}


def test_evidence_that_the_journal_says_was_kept_and_is_gone_is_missing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for path in (folder / f"{FAILED}.evidence").iterdir():
        path.unlink()
    assert matches(case(FAILED, folder)) == {Match.MISSING}


def test_of_an_older_version_only_the_looks_that_decided_left_evidence(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    rewritten(folder, FAILED, lambda _, event: {key: each for key, each in event.items() if key != "kept"})
    for path in (folder / f"{FAILED}.evidence").iterdir():
        path.unlink()
    found = case(FAILED, folder)
    assert {look.match for look in found.looks if look.decided} == {Match.MISSING}
    assert {look.match for look in found.looks if not look.decided} == {Match.NOT_KEPT}


def test_a_verdict_that_was_changed_in_journal_and_chain_alike_does_not_fit_its_evidence(tmp_path: Path) -> None:
    def milder(_: int, event: dict[str, Any]) -> dict[str, Any]:
        if event["type"] == "judged":
            event["verdict"]["candidate"]["requests"] += 1
        return event

    folder = copied(tmp_path)
    rewritten(folder, FAILED, milder)
    found = case(FAILED, folder)
    assert matches(found) == {Match.CHANGED}
    assert found.looks[0].why == "its verdict is not the one in the journal"


def judged_otherwise(folder: Path, change: Callable[[Any], Any], **more: Any) -> Look:
    """Change the verdict of the look that decided, in its evidence and in the journal, and read the rollout again."""
    decided = next(look for look in case(FAILED).looks if look.decided).evidence or ""
    record = json.loads(FileJournal(folder).kept(FAILED, decided) or b"")
    changed = json.dumps(record | {"verdict": change(record["verdict"]), **more}, separators=(",", ":")).encode()
    name = hashlib.sha256(changed).hexdigest()
    FileJournal(folder).keep(FAILED, name, changed)

    def forge(_: int, event: dict[str, Any]) -> dict[str, Any]:
        is_it = event.get("evidence") == decided
        return event | {"evidence": name, "verdict": change(event["verdict"])} if is_it else event

    rewritten(folder, FAILED, forge)
    return next(look for look in as_here(FAILED, folder).looks if look.decided)


def test_evidence_that_gives_another_verdict_today_says_which(tmp_path: Path) -> None:
    look = judged_otherwise(copied(tmp_path), lambda verdict: verdict | {"result": "pass"})
    assert look.match is Match.OTHER
    assert look.recomputed is not None
    assert look.recomputed.result.value == "fail"
    assert look.why.startswith("this deployer answers fail: ")


def test_a_verdict_by_another_rule_of_the_gate_is_nobodys_fault(tmp_path: Path) -> None:
    look = judged_otherwise(copied(tmp_path), lambda verdict: verdict | {"result": "pass"}, rule=1)
    assert look.match is Match.OTHER_RULE
    assert look.why.startswith(f"rule 1 of the gate judged it; by its rule {RULE} this deployer answers fail: ")


@pytest.mark.parametrize(("by", "match"), [(1e-9, Match.SAME), (1e-4, Match.OTHER)])
def test_a_processor_that_rounds_otherwise_has_the_same_verdict(tmp_path: Path, by: float, match: Match) -> None:
    def rounded(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: rounded(value) for name, value in part.items()}
        if isinstance(part, list):
            return [rounded(value) for value in part]
        return part * (1 + by) if isinstance(part, float) else part

    look = judged_otherwise(copied(tmp_path), rounded)
    assert look.match is match
    assert ("last digits" in look.why) == (match is Match.SAME)


def test_evidence_in_a_form_of_another_version_is_unreadable_not_changed(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    content = b'{"version":99}'
    name = hashlib.sha256(content).hexdigest()
    FileJournal(folder).keep(FAILED, name, content)
    rewritten(folder, FAILED, lambda _, event: event | ({"evidence": name} if "evidence" in event else {}))
    found = case(FAILED, folder)
    assert matches(found) == {Match.UNREADABLE}
    assert "another version of deployer wrote it" in found.looks[0].why


def test_an_event_that_this_version_does_not_know_names_the_version_that_wrote_it(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    later = {0: {"deployer": "9.1.0"}, 3: {"type": "teleported"}}
    rewritten(folder, FAILED, lambda place, event: event | later.get(place, {}))
    with pytest.raises(StoreError, match=r"written by deployer 9\.1\.0") as refused:
        case(FAILED, folder)
    assert refused.value.exit_code is ExitCode.INCONCLUSIVE


def test_a_rollback_by_hand_has_no_report(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    rewritten(folder, FAILED, lambda place, event: {"type": "manual_rollback", "to": "blue"} if not place else event)
    with pytest.raises(UsageError, match="rollback by hand"):
        case(FAILED, folder)
