"""Secrets in texts from outside: what a model answers, a service complains of or a log holds is told without them.

Only what is certain by its form is taken out, so that no word of an error is lost. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

LEFT_OUT = "(secret left out)"
_NAMES = (
    r"sig|SharedAccessSignature|InstrumentationKey|password|passwd|pwd|(?:client[_-]?)?secret"
    r"|(?:account|shared[_-]?access|access|api|primary|secondary|subscription|storage)[_-]?key"
    r"|(?:access|refresh|id|sas|auth)[_-]?token"
)
_VALUE = r"[^\s\"'\\&;,(){}\[\]<>]{4,}"
_WORDS = (
    r"(?:null|none|true|false|wrong|missing|invalid|incorrect|required|expected|unknown|empty|expired|must|should|input)\b"
    r"|\d*\.\d"
)
"""What follows a name in a sentence, or a score of that name."""
_PEM = r"-{5}BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-{5}"
_FORMS = re.compile(
    rf"(?P<name>(?<![A-Za-z0-9])(?:{_NAMES})\\*[\"']?\s{{0,8}}[=:]\s{{0,8}})(?!\\*[\"']?{_PEM})"
    rf"(?:(?P<quote>\\*[\"'])(?:(?!(?P=quote))[^\n]){{4,}}|{{[^}}\n]{{4,}}}}|(?!{_WORDS}){_VALUE})"
    rf"|(?P<bearer>\bBearer\s+)(?=\S{{0,400}}\d){_VALUE}"
    r"|(?P<basic>\bBasic\s+)(?-i:(?=[A-Za-z0-9+/][A-Za-z+/]*[A-Z0-9=])[A-Za-z0-9+/=]{8,})"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    rf"|{_PEM}.*?(?:{_PEM.replace('BEGIN', 'END')}|\Z)"
    r"|(?P<user>://[^/@\s:\"']{0,80}:)[^/@\s\"']{1,200}(?=@)"
    r"|(?P<hook>\bhooks\.slack(?:-gov)?\.com/(?:services|triggers|workflows)/|\.webhook\.office\.com/webhookb2/)[^\s\"'(]+"
    # Tokens known by how they begin: longer than a deployment's or an endpoint's name may be, or written with "_".
    r"|(?<![\w-])(?-i:gh[opsur]_[A-Za-z0-9]{20,}|(?:github)_pat_\w{20,}|hf_[A-Za-z0-9]{30,}|xox[abps]-\d{6,}[\w-]{20,}"
    r"|(?:sk-|glpat-)[\w-]{32,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|dapi[0-9a-f]{32})",
    re.IGNORECASE | re.DOTALL,
)
WITH_USER = (re.compile(r"(://)[^/@\s:\"']{0,200}:[^/\s]{1,200}@"), rf"\1{LEFT_OUT}@")
"""For texts that may lose a word: also the user of an address, who may be a token, and any character of a password."""


def without_secrets(text: str) -> str:
    """Take out of ``text`` whatever has the form of a known kind of secret, and say so in its place."""
    return _FORMS.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    return "".join(filter(None, found.groups())) + LEFT_OUT


def record_without_secrets(value: Any) -> Any:
    """The same in every text of JSON-able data."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: record_without_secrets(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [record_without_secrets(each) for each in cast("list[Any]", value)]
    return value
