"""What of a container's log is worth showing: harmless, without secrets, and short.

A log is text from outside, written by code that may print anything: terminal codes, keys, whole payloads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from deployer.manifest.secrecy import LEFT_OUT, WITH_USER, without_secrets

EXCERPT_LINES = 20
"""Lines of an excerpt: a traceback's last frames and its message fit."""

_LINE_CHARS = 300
_LOG_CHARS = 200_000
"""Of the end of each log: more than 1,000 lines, which is more than Azure hands out."""
_FRAMES = 3
_AROUND = 4

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[PX^_][^\x1b\n]*(?:\x1b\\)?|[@-Z\\-_])"
)
_NEW = rf"(?!{re.escape(LEFT_OUT)})"
_STRICTER = (
    WITH_USER,
    (
        re.compile(
            rf"([?&;](?:sig|se|st|sp|sv|skoid|sktid|code|token|key|t|c|s|h)=){_NEW}[^&\s\"'<>)]{{1,4000}}",
            re.IGNORECASE,
        ),
        rf"\1{LEFT_OUT}",
    ),
    (
        re.compile(r"\b(bearer|basic|sharedkey|sharedaccesssignature)(\s+)[\w.~+/=%&:-]{6,8000}", re.IGNORECASE),
        rf"\1\2{LEFT_OUT}",
    ),
    (
        re.compile(
            r"((?:\b|_)(?:\w{0,40}(?:key|token|secret|passw(?:or)?d|pwd|assertion|signature|credential|connectionstring|sig))"
            rf"[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?)(?!\s|None\b|null\b|-{{5}}BEGIN ){_NEW}[^\s\"',;&]{{4,8000}}",
            re.IGNORECASE,
        ),
        rf"\1{LEFT_OUT}",
    ),
    (re.compile(r"\b(?:hf_|ghp_|gho_|github_pa[t]_|sk-|xox[bp]-)[\w-]{16,400}"), LEFT_OUT),
    (re.compile(r"(?<![\w/+])(?=[\w/+]{0,86}\d)[A-Za-z0-9+/]{86}==(?!=)"), LEFT_OUT),
)
"""Beyond what is certain (``without_secrets``): users of addresses, all of a SAS, `…key=`, account keys and short
tokens of known services.
"""

_HEAD = re.compile(r"^(?:\S.{0,160}?)?Traceback \(most recent call last\):$")
_FRAME = re.compile(r'^\s*File "[^"]{1,400}", line \d+')
_FOREIGN = re.compile(r'\s*File "(?:<frozen |[^"]*/(?:site|dist)-packages/)')
_RAISED = re.compile(r"^(?:[A-Za-z_]\w{0,80}\.){0,8}(?P<name>[A-Z]\w{1,80})(?:: ?(?P<text>.*))?$")
_WRAPPERS = ("UserScriptException", "UserScriptImportException")
"""What the inference server raises from the exception of the user's code; it says nothing of its own."""
_TROUBLE = re.compile(
    r"error|exception|fatal|critical|killed|failed|refused|denied|unauthorized|segmentation|timeout", re.IGNORECASE
)


def harmless(text: str) -> str:
    """Take terminal codes, control and format characters and secrets out of ``text``; line ends stay."""
    text = _ESCAPE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).expandtabs(4)
    text = "".join(_plain(character) for character in text)
    for pattern, kept in _STRICTER:
        text = pattern.sub(kept, text)
    return without_secrets(text)


def one_line(text: str, longest: int = _LINE_CHARS) -> str:
    """Make ``text`` one harmless line of at most ``longest`` characters."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def lines_of(logs: Mapping[str, str]) -> dict[str, list[str]]:
    """Cut the end of each container's log into harmless lines."""
    return {
        one_line(name, 60): [line.rstrip() for line in harmless(text[-_LOG_CHARS:]).split("\n")]
        for name, text in logs.items()
    }


def raised(lines: Sequence[str]) -> tuple[str, str] | None:
    """Find the last exception that a traceback in ``lines`` ends in: its name and its message."""
    found = [match for _, end in _tracebacks(lines) if (match := _RAISED.match(lines[end]))]
    return (found[-1]["name"], found[-1]["text"] or "") if found else None


def excerpt(logs: Mapping[str, Sequence[str]], decisive: tuple[str, int] | None) -> str:
    """Choose the lines that matter: around the decisive one or, with none, the last that tell of trouble.

    Args:
        logs: what ``lines_of`` made.
        decisive: container and index of the line that gave the cause away.
    """
    chosen = [decisive[0]] if decisive else [name for name, lines in logs.items() if any(lines)]
    parts: list[str] = []
    for name in chosen:
        kept = _chosen(logs[name], decisive[1] if decisive else None)
        if kept:
            heading = [f"==> {name} <=="] if len(logs) > 1 else []
            parts += [*heading, *(line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 1]}…" for line in kept)]
    return "\n".join(parts[:EXCERPT_LINES] if decisive else parts[-EXCERPT_LINES:])


def _chosen(lines: Sequence[str], index: int | None) -> list[str]:
    traceback = next(
        (each for each in reversed(_tracebacks(lines)) if index is None or each[0] <= index <= each[1]), None
    )
    if traceback is not None:
        return _short(lines[traceback[0] : traceback[1] + 1])
    if index is not None:
        return [line for line in lines[max(0, index - _AROUND) : index + _AROUND + 1] if line]
    told = [line for line in lines if line and _TROUBLE.search(line)]
    return (told or [line for line in lines if line])[-EXCERPT_LINES // 2 :]


def _short(traceback: Sequence[str]) -> list[str]:
    """Keep of a traceback its head, its last frames in the user's own code and what it raised."""
    starts = [n for n, line in enumerate(traceback) if _FRAME.match(line)]
    if not starts:
        return list(traceback)[-EXCERPT_LINES:]
    frames = [traceback[start:end] for start, end in zip(starts, [*starts[1:], len(traceback) - 1], strict=True)]
    own = [frame for frame in frames if not _FOREIGN.match(frame[0])] or frames
    kept = [line for frame in own[-_FRAMES:] for line in frame]
    return [traceback[0], *kept, traceback[-1]][-EXCERPT_LINES:]


def _tracebacks(lines: Sequence[str]) -> list[tuple[int, int]]:
    """First and last line of each Python traceback, without the server's own around the user's."""
    found = list(_each_traceback(lines))
    return [(start, end) for start, end in found if not any(name in lines[end] for name in _WRAPPERS)] or found


def _each_traceback(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = None
    for n, line in enumerate(lines):
        if _HEAD.match(line):
            start = n
        elif start is not None and line and not line.startswith(" "):
            yield start, n
            start = None


def _plain(character: str) -> str:
    if character == "\n" or (character.isascii() and character.isprintable()):
        return character
    category = unicodedata.category(character)
    return " " if category[0] == "Z" else "" if category[0] == "C" else character
