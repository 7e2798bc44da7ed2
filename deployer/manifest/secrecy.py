"""Secrets in texts from outside: what a model answers, a service complains of or a log holds is told without them.

Only what is certain by its form is taken out, so that no word of an error is lost. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

LEFT_OUT = "(secret left out)"
_NAMES = (
    r"sig|AccountKey|SharedAccessKey|SharedAccessSignature|InstrumentationKey|password|passwd|pwd|client[_-]?secret|secret"
    r"|api[_-]?key|x-api-key|(?:access|refresh|id|sas|auth)[_-]?token"
)
_VALUE = r"[^\s\"'\\&;,(){}\[\]<>]{4,}"
_FORMS = re.compile(
    rf"(?P<name>\b(?:{_NAMES})\b\\*[\"']?\s?[=:]\s?\\*[\"']?){_VALUE}"
    rf"|(?P<bearer>\bBearer\s+)(?!(?:auth|authentication|authorization|tokens?)\b){_VALUE}"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|-{5}BEGIN [A-Z ]*PRIVATE KEY-{5}.*?(?:-{5}END [A-Z ]*PRIVATE KEY-{5}|\Z)"
    r"|(?P<user>://[^/@\s:\"']{0,80}:)[^/@\s\"']{1,200}(?=@)"
    r"|(?P<hook>\bhooks\.slack(?:-gov)?\.com/(?:services|triggers|workflows)/|\.webhook\.office\.com/webhookb2/)[^\s\"'(]+"
    r"|\b(?:gh[opsur]_|(?:github)_pat_|glpat-|hf_|xox[abps]-|sk-|AKIA|AIza|dapi)[\w-]{12,}",
    re.IGNORECASE | re.DOTALL,
)


def without_secrets(text: str) -> str:
    """Take out of ``text`` whatever has the form of a known kind of secret, and say so in its place."""
    return _FORMS.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    before = next((value for value in found.groupdict().values() if value), "")
    return before + LEFT_OUT


def record_without_secrets(value: Any) -> Any:
    """The same in every text of JSON-able data."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: record_without_secrets(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [record_without_secrets(each) for each in cast("list[Any]", value)]
    return value
