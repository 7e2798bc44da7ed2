"""A profile as JUnit XML: one case for the question, one for each candidate that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from junitparser import Error, Failure, Skipped, TestCase, TestSuite

from deployer.report.harmless import plain
from deployer.report.junit import written
from deployer.report.profile.text import headline, is_undecided, rate_words


def junit_of(record: Mapping[str, Any]) -> str:
    """Write the XML: without a recommendation the first case fails, or is an error when the profile was cut short."""
    suite = TestSuite(plain(f"profile {record['name']}"))
    first = TestCase(plain(f"a candidate carries {record['rate']:g} rps"), classname=plain(record["name"]))
    said = plain(f"{headline(record)}. {record['text']}")
    if is_undecided(record):
        first.result = [Error(said)]
    elif record["recommended"] is None:
        first.result = [Failure(said)]
    suite.add_testcase(first)
    for each in record["candidates"]:
        case = TestCase(plain(each["name"]), classname=plain(record["name"]))
        if each["why"]:  # not chosen is no failure of the build
            case.result = [Skipped(plain(f"{rate_words(each)}: {each['why']}"))]
        suite.add_testcase(case)
    return written(suite)
