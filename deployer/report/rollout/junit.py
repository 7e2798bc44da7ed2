"""One rollout as JUnit XML: a case for each step, and for each decision of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from junitparser import Failure, Skipped, TestCase, TestSuite

from deployer.report.harmless import plain
from deployer.report.junit import written

LONGEST = 10_000
"""Characters of one message: what reads the file keeps it in memory."""


def junit_of(record: Mapping[str, Any]) -> str:
    """Write the XML: the rollout itself is a case that fails unless the candidate was promoted."""
    rollout = record["rollout"]
    suite = TestSuite(plain(f"rollout of {rollout['endpoint']}"))
    whole = TestCase("rollout", classname=plain(rollout["endpoint"]), time=record["seconds"])
    if rollout["phase"] != "promoted":
        whole.result = [Failure(plain(f"{record['headline']}: {record['reason']}"[:LONGEST]))]
    suite.add_testcase(whole)
    for step in record["steps"]:
        case = TestCase(
            plain(f"step {step['name']}"), classname=plain(rollout["endpoint"]), time=step["seconds"] or 0.0
        )
        if step["seconds"] is None:
            case.result = [Skipped("not reached")]
        suite.add_testcase(case)
    for look in record["looks"]:
        if look["decided"]:
            case = TestCase(plain(f"gate at {look['step']}"), classname=plain(rollout["endpoint"]))
            if look["verdict"]["result"] != "pass":
                case.result = [Failure(plain(look["verdict"]["text"][:LONGEST]))]
            suite.add_testcase(case)
    return written(suite)
