"""A load test as JUnit XML: one case a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from junitparser import Error, Failure, TestCase, TestSuite

from deployer.report.harmless import plain
from deployer.report.junit import written
from deployer.report.loadtest.text import text_of


def junit_of(record: Mapping[str, Any]) -> str:
    """Write the XML: a missed target is a failure, one that is not shown an error, since neither lets a build pass.

    A run that was interrupted or thrown away is an error of its own.
    """
    test = record["test"]
    name = plain(test["endpoint"] + (f"/{test['deployment']}" if test["deployment"] else ""))
    suite = TestSuite(f"load test of {name}")
    for target in record["targets"]:
        suite.add_testcase(_case(target["metric"], name, target["result"], target["text"], record))
    if not record["targets"] or (record["partial"] and record["result"] != "missed"):
        suite.add_testcase(_case("load test", name, "inconclusive", record["text"], record))
    suite.add_property("summary", plain(text_of(record)))
    return written(suite)


def _case(metric: str, name: str, result: str, text: str, record: Mapping[str, Any]) -> TestCase:
    case = TestCase(metric, classname=f"loadtest.{name}", time=record["seconds_measured"])
    if result != "passed":
        case.result = [(Failure if result == "missed" else Error)(plain(text))]
    return case
