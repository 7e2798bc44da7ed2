"""Text from outside, made harmless for terminals and CI systems. Apart, because every command needs it."""

from __future__ import annotations

import re
import unicodedata

from deployer.manifest.secrecy import without_secrets

_STRANGE = "\N{REPLACEMENT CHARACTER}"
_ASCII = {code: _STRANGE for code in (*range(32), 127) if code != ord("\n")}
_COMMANDS = (
    (re.compile(r"#(?=#(?:vso)?\[)", re.IGNORECASE), "# "),
    (re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE), r"\1: "),
)


def plain(text: str) -> str:
    """Make text from outside harmless: it steers neither a terminal nor the CI system that reads the log.

    Control and format characters (escapes, right-to-left marks) are replaced, tabs are expanded and line ends kept.
    What a runner would take for a command is broken by a space, and what has the form of a secret is left out.

    Source: learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands (``##vso[`` and ``##[`` in any line);
    docs.github.com, workflow commands for GitHub Actions (``::`` at the beginning of a line). Read 2026-11-22.
    """
    text = without_secrets(text).replace("\r\n", "\n").expandtabs(4)
    if text.isascii():  # nearly all of it, and twenty times as fast
        text = text.translate(_ASCII)
    else:
        text = "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else _STRANGE for c in text)
    for command, broken in _COMMANDS:
        text = command.sub(broken, text)
    return text
