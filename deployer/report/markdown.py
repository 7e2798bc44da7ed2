"""Text from outside inside Markdown: shown as it was written, on one line, whatever it holds.

A backslash keeps Markdown from reading a character. It does not keep GitHub from reading the rendered text: a name
after ``@`` is notified, ``#1`` and an address become links. An invisible space in between keeps those from happening.
"""

from __future__ import annotations

import re

from deployer.report.harmless import plain

MOST_BYTES = 500_000
"""Of one Markdown document: half of what a step summary may hold on GitHub (1 MiB a step)."""
COMMENT_MOST = 65_000
"""Characters of a comment on GitHub: at most 65,536."""
_GAP = "&#8203;"
_MARKS = re.compile(r"([\\`*_\[\]!|~$#])")
_FIRST = re.compile(r"\A(\d*)([-+=.)])")
"""Marks that begin a list or a heading, and mean nothing in the middle of a line."""
_READ = re.compile(r"[@#](?=[\w#])|(?:GH(?=-)|www(?=\.)|(?:https?|ftp|mailto)(?=:))", re.IGNORECASE)
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: str) -> str:
    """Write ``text`` so that Markdown, HTML and GitHub's links show it literally, on one line.

    Source: spec.commonmark.org/0.31.2, backslash escapes; github.github.com/gfm, autolinks; read 2026-11-25.
    """
    apart = _READ.sub(lambda found: found[0] + "\0", plain(text).replace("\n", " ").strip())
    marked = _MARKS.sub(r"\\\1", "".join(_HTML.get(character, character) for character in apart))
    return _FIRST.sub(r"\1\\\2", marked).replace("\0", _GAP)


def code(text: str) -> str:
    """Write ``text`` as a code span, in which nothing is read."""
    harmless = plain(text).replace("\n", " ").replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", harmless)), default=0))
    pad = " " if harmless[:1] in "` " or harmless[-1:] in "` " else ""
    return f"{fence}{pad}{harmless}{pad}{fence}"


def block(text: str, language: str = "text") -> str:
    """Write ``text`` as a code block, in which nothing is read."""
    harmless = plain(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", harmless)), default=0))
    return f"{fence}{language}\n{harmless}\n{fence}\n"


def row(*cells: str) -> str:
    """Write one row of a table; cells are Markdown already."""
    return f"| {' | '.join(cells)} |"


def bounded(markdown: str, most: int = MOST_BYTES) -> str:
    """Cut ``markdown`` after the last line that ends within ``most`` bytes of UTF-8, and say so."""
    raw = markdown.encode()
    if len(raw) <= most:
        return markdown
    kept = raw[: most - 100].rpartition(b"\n")[0] or raw[: most - 100]
    return f"{kept.decode(errors='ignore')}\n\nThe rest is left out here: it is too long.\n"
