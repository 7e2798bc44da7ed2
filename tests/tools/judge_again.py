"""Judges the kept rollouts of tests/golden/report again: after a change of the gate, what is kept says what it says now.

Usage: python tests/tools/judge_again.py && UPDATE_GOLDEN=1 pytest tests/unit/report

Refuses when a verdict turns into another one: then the rollouts would have gone another way, and are to be run again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from golden.report.kept import FAILED, FOLDER, PROMOTED  # noqa: E402

from deployer.gate.record import RULE, Record  # noqa: E402
from deployer.ports.store import Entry  # noqa: E402
from deployer.rollout.events import Judged, from_record, to_record  # noqa: E402
from deployer.stores.file import FileJournal  # noqa: E402


def judge_again(name: str, old: Path, new: Path) -> None:
    """Write the journal ``name`` of ``old`` into ``new``, each look with the verdict of this gate."""
    before, after = FileJournal(old), FileJournal(new)
    said: dict[str, str] = {}
    for entry in before.read(name):
        event: dict[str, Any] = json.loads(json.dumps(dict(entry.event)))
        judged = from_record(entry.event)
        content = before.kept(name, judged.evidence) if isinstance(judged, Judged) and judged.evidence else None
        if isinstance(judged, Judged) and content is not None:
            record = Record.from_json(content.decode())
            verdict = record.recompute()
            if verdict.text != record.verdict.text and record.rule == RULE:
                sys.exit(f"{name}: rule {RULE} judges otherwise now: raise RULE in deployer/gate/record.py")
            if verdict.result is not judged.verdict.result:
                sys.exit(f"{name}: {judged.verdict.result.value} becomes {verdict.result.value}: run it again")
            renewed = replace(record, verdict=verdict, rule=RULE).to_json().encode()
            digest = hashlib.sha256(renewed).hexdigest()
            after.keep(name, digest, renewed)
            event |= to_record(Judged(verdict, digest))
            said[judged.verdict.text] = verdict.text
        elif event.get("reason") in said:
            event["reason"] = said[event["reason"]]
        else:
            _keep_as_it_is(event, before, after, name)
        after.append(name, Entry(entry.at, entry.actor, event))


def _keep_as_it_is(event: dict[str, Any], before: FileJournal, after: FileJournal, name: str) -> None:
    """Copy what an event that is no look keeps, such as the specification."""
    for value in event.values():
        if isinstance(value, str) and len(value) == 64 and (content := before.kept(name, value)) is not None:
            after.keep(name, value, content)


def main() -> None:
    """Replace the kept journals."""
    new = FOLDER.with_name("again")
    for name in (PROMOTED, FAILED):
        judge_again(name, FOLDER, new)
    shutil.rmtree(FOLDER)
    new.rename(FOLDER)


if __name__ == "__main__":
    main()
