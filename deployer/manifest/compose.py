"""YAML events to data, in a way that no input can exhaust: limits hold before anything is expanded.

PyYAML's own composer recurses as deep as the input says, keeps the last of two equal keys and obeys tags and merge
keys. This one does none of that, and goes on after an error so that all of them are reported together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from deployer.manifest.document import Document, Mark
from deployer.manifest.problems import FieldError, KeyPath, Problem, shown
from deployer.manifest.scalars import CONTROL, read_plain

MAX_DEPTH = 32
MAX_NODES = 20_000
"""Most keys and values in a document, each alias counted as all that it expands to."""
MAX_CHARACTERS = 1024 * 1024
"""Most characters in the values of a document, counted likewise."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class _Node:
    """A value, what it holds and where; sizes count aliases expanded."""

    mark: Mark
    content: Any
    children: tuple[tuple[str | int, Mark, _Node], ...] = ()
    nodes: int = 1
    characters: int = 0


class _StopComposing(Exception):  # noqa: N818 - control flow; what is wrong has been reported
    """Nothing sound can be made of the rest."""


class Composer:
    """Makes one document of YAML text; ``problems`` tells all that is wrong with it."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._events: Iterator[yaml.Event] = iter(())
        self._anchors: dict[str, _Node | None] = {}
        self._nodes = 0
        self._characters = 0
        self.problems: list[Problem] = []

    def compose(self) -> Document | None:
        """The document as far as it could be made out; None when nothing sound could."""
        try:
            root = self._root()
        except _StopComposing:
            return None
        except yaml.MarkedYAMLError as exc:
            self._syntax(exc)
            return None
        if root is None or root.content is None:
            self._report(Mark(), "the file is empty", "write at least one key")
            return None
        if not isinstance(root.content, dict):
            self._report(root.mark, "there is no mapping at the top", "write keys and values, as name: digits")
            return None
        keys: dict[KeyPath, Mark] = {}
        values: dict[KeyPath, Mark] = {}
        _place(root, (), keys, values)
        return Document(self._file, cast("dict[str, Any]", root.content), keys, values)

    def _root(self) -> _Node | None:
        # PyYAML's stubs leave the events untyped
        self._events = iter(cast("Iterator[yaml.Event]", yaml.parse(self._text, Loader=_LOADER)))  # pyright: ignore[reportUnknownMemberType]
        root: _Node | None = None
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if root is not None:
                self._report(_mark(event), "a second document starts here", "keep one document in a file")
                raise _StopComposing
            if event.version or event.tags:
                self._report(_mark(event), "YAML directives are not allowed", "remove the line that starts with %")
            root = self._node(self._next(), 1)
        return root

    def _next(self) -> yaml.NodeEvent:
        return cast("yaml.NodeEvent", next(self._events))

    def _node(self, event: yaml.NodeEvent, depth: int) -> _Node:
        mark = _mark(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        if depth > MAX_DEPTH:
            self._too_deep(mark)
            raise _StopComposing
        anchor: str | None = event.anchor
        if anchor in self._anchors:
            self._report(mark, f"the anchor &{anchor} is given twice", "rename one of them")
        if anchor is not None:
            self._anchors[anchor] = None  # begun: an alias to it would contain itself
        node = self._value(event, mark, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _value(self, event: yaml.NodeEvent, mark: Mark, depth: int) -> _Node:
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            name = tag.replace("tag:yaml.org,2002:", "!!")
            self._report(mark, f"the tag {shown(name)} is not allowed", "remove it, and quote the value if it is text")
        if isinstance(event, yaml.ScalarEvent):
            self._count(mark, 1, len(event.value))
            return _Node(mark, self._scalar(event, mark), characters=len(event.value))
        self._count(mark, 1, 0)
        return self._sequence(mark, depth) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(mark, depth)

    def _alias(self, event: yaml.AliasEvent, mark: Mark) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self._anchors
            message = f"*{event.anchor} stands inside its own anchor" if inside else f"no anchor &{event.anchor} before"
            self._report(mark, message, "write the value out")
            return _Node(mark, None)
        self._count(mark, node.nodes, node.characters)
        return node

    def _count(self, mark: Mark, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > MAX_CHARACTERS:
            most = f"{MAX_NODES} values or {MAX_CHARACTERS} characters"
            self._report(mark, f"more than {most} once aliases are expanded", "write less, or use fewer aliases")
            raise _StopComposing

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> str | float | bool | None:
        text: str = event.value
        if match := CONTROL.search(text):
            self._report(mark, f"the value holds the control character U+{ord(match[0]):04X}", "remove it")
        if not event.implicit[0]:  # quoted, or a block
            return text
        try:
            return read_plain(text)
        except FieldError as exc:
            self._report(mark, str(exc), exc.hint)
            return text

    def _sequence(self, mark: Mark, depth: int) -> _Node:
        items: list[_Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        content = [item.content for item in items]
        return _sized(mark, content, [(index, item.mark, item) for index, item in enumerate(items)])

    def _mapping(self, mark: Mark, depth: int) -> _Node:
        children: dict[str, tuple[str | int, Mark, _Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key_mark = _mark(event)
            key = self._key(event, depth)
            value = self._node(self._next(), depth + 1)
            if key in children:
                first = children[key][1]
                self._report(key_mark, f"the key {shown(key)} is given twice", f"it is also in line {first.line}")
            elif key is not None:
                children[key] = (key, key_mark, value)
        content = {key: value.content for key, (_, _, value) in children.items()}
        return _sized(mark, content, list(children.values()))

    def _key(self, event: yaml.NodeEvent, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
            self._report(_mark(event), "the merge key << is not allowed", "write the keys out")
            return None
        key = self._node(event, depth + 1).content
        if isinstance(key, str):
            return key
        self._report(_mark(event), f"a key is text, not {shown(key)}", "quote it")
        return None

    def _syntax(self, exc: yaml.MarkedYAMLError) -> None:
        place = exc.problem_mark or exc.context_mark
        mark = Mark(place.line + 1, place.column + 1) if place is not None else Mark()
        if "maximum nesting depth" in (exc.problem or ""):  # libyaml of PyYAML 6.0.4 reads ahead, and has a limit too
            self._too_deep(mark)
            return
        line = "".join(self._text.splitlines()[mark.line - 1 : mark.line])
        hint = "quote ${...} inside braces" if "${" in line else "look at indentation, colons and quotes here and above"
        reason = " ".join(part for part in (exc.context, exc.problem) if part)
        self._report(mark, f"this is not YAML: {reason}", hint)

    def _too_deep(self, mark: Mark) -> None:
        self._report(mark, f"nested deeper than {MAX_DEPTH} levels", "flatten it")

    def _report(self, mark: Mark, message: str, hint: str) -> None:
        self.problems.append(Problem(self._file, mark.line, mark.column, message, hint))


def _mark(event: yaml.Event) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _sized(mark: Mark, content: Any, children: list[tuple[str | int, Mark, _Node]]) -> _Node:
    keys = [step for step, _, _ in children if isinstance(step, str)]
    nodes = 1 + len(keys) + sum(child.nodes for _, _, child in children)
    characters = sum(map(len, keys)) + sum(child.characters for _, _, child in children)
    return _Node(mark, content, tuple(children), nodes, characters)


def _place(node: _Node, path: KeyPath, keys: dict[KeyPath, Mark], values: dict[KeyPath, Mark]) -> None:
    values[path] = node.mark
    for step, mark, child in node.children:
        keys[*path, step] = mark
        _place(child, (*path, step), keys, values)
