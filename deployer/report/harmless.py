"""Text from outside, made harmless for terminals and CI systems. Apart, because every command needs it."""

from __future__ import annotations

import re
import unicodedata

from deployer.manifest.secrecy import without_secrets

_STRANGE = "\N{REPLACEMENT CHARACTER}"
_ASCII = {code: _STRANGE for code in (*range(32), 127) if code != ord("\n")}
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that steer, or that only some readers take for the end of a line."""
_COMMANDS = (
    (re.compile(r"#(?=#(?:vso)?\[)", re.IGNORECASE), "# "),
    (re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE), r"\1: "),
)


def plain(text: str) -> str:
    """Make text from outside harmless: it steers neither a terminal nor the CI system that reads the log.

    Control and format characters (escapes, right-to-left marks) are replaced, tabs are expanded and line ends kept; a
    character that only some readers take for one is replaced. What a runner would take for a command is broken, and
    what has the form of a secret is left out.
    """
    text = without_secrets(text).replace("\r\n", "\n").expandtabs(4)
    if text.isascii():  # nearly all of it, and twenty times as fast
        text = text.translate(_ASCII)
    else:
        text = "".join(c if c == "\n" or unicodedata.category(c) not in _UNSHOWN else _STRANGE for c in text)
    return without_commands(text)


def without_commands(text: str) -> str:
    """Break by a space what a runner would take for a command: once more wherever lines were made anew.

    Source: learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands (``##vso[`` and ``##[`` in any line);
    docs.github.com, workflow commands for GitHub Actions (``::`` at the beginning of a line). Read 2026-11-22.
    """
    for command, broken in _COMMANDS:
        text = command.sub(broken, text)
    return text
