"""Plain data that knows where each of its keys and values stands in the file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from deployer.manifest.problems import Finding, KeyPath, Problem


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; both count from 1, in characters."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file, a mapping, as dict, list, str, int, float, bool and None."""

    file: str
    """As messages name it."""
    content: dict[str, Any]
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict[KeyPath, Mark])
    values: Mapping[KeyPath, Mark] = field(default_factory=dict[KeyPath, Mark])

    def problem(self, finding: Finding, below: KeyPath = ()) -> Problem:
        """Where ``finding``, made in what stands ``below`` the top, is in the file (or the nearest key above it)."""
        path, key = (*below, *finding.path), finding.key
        while path not in self.values and path:
            path, key = path[:-1], True
        mark = self.values.get(path, Mark())
        if key:
            mark = self.keys.get(path, mark)
        return Problem(self.file, mark.line, mark.column, finding.message, finding.hint)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """``value`` where it is a mapping, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def at(content: Any, path: KeyPath) -> Any:
    """What stands at ``path`` in plain data; None when nothing does."""
    for step in path:
        if isinstance(content, dict):
            content = cast("dict[Any, Any]", content).get(step)
        elif isinstance(content, list) and isinstance(step, int):
            content = cast("list[Any]", content)[step]
        else:
            return None
    return content
