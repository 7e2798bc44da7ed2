"""A profile as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def page_of(record: Mapping[str, Any]) -> str:
    """Make the page of ``report.profile.record``'s record."""
    return str(record)
