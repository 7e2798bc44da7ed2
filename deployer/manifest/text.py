"""YAML files to documents, strictly, with all that is wrong at once.

What two readers could understand differently is refused, and what could exhaust the machine is refused before it is
built: ``scalars`` says which values, ``compose`` which structures, and this module which bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from deployer.manifest.compose import Composer
from deployer.manifest.document import Document
from deployer.manifest.problems import MAX_PROBLEMS, Problem
from deployer.manifest.scalars import FORBIDDEN

MAX_BYTES = 256 * 1024


def read_yaml(data: bytes, file: str) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read one YAML document whose top is a mapping.

    Args:
        data: the whole file, UTF-8, at most ``MAX_BYTES``.
        file: its name in messages.

    Returns:
        The document, and its problems in the order of the text (at most ``MAX_PROBLEMS``). With problems the document
        holds what could be made out all the same, so that its content can be checked too, or is None.
    """
    text, problems = _decode(data, file)
    if text is None:
        return None, problems
    composer = Composer(text, file)
    document = composer.compose()
    return document, tuple(sorted(composer.problems)[:MAX_PROBLEMS])


def _decode(data: bytes, file: str) -> tuple[str | None, tuple[Problem, ...]]:
    if len(data) > MAX_BYTES:
        return None, (Problem(file, 1, 1, f"the file has over {MAX_BYTES} bytes", "a manifest is far smaller"),)
    if data.startswith(b"\xef\xbb\xbf"):
        return None, (Problem(file, 1, 1, "the file starts with a byte order mark", "save it as UTF-8 without BOM"),)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"byte 0x{data[exc.start]:02x} is not UTF-8"
        return None, (Problem(file, line, column, message, "save the file as UTF-8"),)
    problems = tuple(islice(_forbidden(text, file), MAX_PROBLEMS))
    return (None if problems else text), problems


def _forbidden(text: str, file: str) -> Iterator[Problem]:
    """The first character of each line that may not stand in a file."""
    for number, line in enumerate(text.split("\n"), 1):
        match = FORBIDDEN.search(line.removesuffix("\r"))
        if match is None:
            continue
        if match[0] == "\t":
            yield Problem(file, number, match.start() + 1, "a tab: YAML readers disagree about it", "use spaces")
        else:
            message = f"the control character U+{ord(match[0]):04X}"
            yield Problem(file, number, match.start() + 1, message, "remove it")
