"""Plain data that may be anything is read without an exception."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.manifest.document import mapping_of


@pytest.mark.parametrize(("value", "found"), [({"a": 1}, {"a": 1}), ({}, {}), ([1], {}), (None, {}), ("a", {})])
def test_what_is_no_mapping_is_an_empty_one(value: Any, found: dict[str, Any]) -> None:
    assert mapping_of(value) == found
