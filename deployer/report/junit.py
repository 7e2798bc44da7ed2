"""JUnit XML as a text, for every report that is written in it."""

from __future__ import annotations

from typing import cast

from junitparser import JUnitXml, TestSuite


def written(suite: TestSuite) -> str:
    """Write a file that holds ``suite`` alone, with its counts."""
    whole = JUnitXml()
    whole.add_testsuite(suite)
    whole.update_statistics()
    return cast("bytes", whole.tostring()).decode()
