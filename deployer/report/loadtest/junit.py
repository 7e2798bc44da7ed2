"""A load test as JUnit XML: one case a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from deployer.report.words import plain


def junit_of(record: Mapping[str, Any]) -> str:
    """Write the XML: a missed target is a failure, one that is not shown is skipped, a run to throw away an error."""
    suite = TestSuite(f"load test of {record['test']['endpoint']}")
    for target in record["targets"]:
        case = TestCase(target["metric"], classname=record["test"]["endpoint"])
        if target["result"] == "missed":
            case.result = [Failure(plain(target["text"]))]
        elif target["result"] != "passed":
            case.result = [Skipped(plain(target["text"]))]
        suite.add_testcase(case)
    if not record["targets"]:
        case = TestCase("load test", classname=record["test"]["endpoint"])
        case.result = [Error(plain(record["text"]))]
        suite.add_testcase(case)
    whole = JUnitXml()
    whole.add_testsuite(suite)
    whole.update_statistics()
    return cast("bytes", whole.tostring()).decode()
