"""Which settings look like secrets and therefore are never written down where others can read them. Pure.

A guess: it rather takes a harmless value for a secret than the other way round. What only *refers* to a secret
(Azure ML's secret injection, Key Vault references) is none.
"""

from __future__ import annotations

import re

_REFERENCE = re.compile(
    r"\$\{\{azureml://[^{}]*\}\}|keyvaultref:https://\S+|@Microsoft\.KeyVault\([^()]*\)", re.IGNORECASE
)
_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|PWD|CREDENTIAL|CONN(ECTION)?_?STR|CONNECTION|KEYS?(_|\d|$)|(^|_)(SAS|PASS|AUTH|DSN|PAT|PEM|PIN)(_|$)"
    r"|BEARER|COOKIE|SIGNATURE|PRIVATE|CREDS"
)
_COUNTED = re.compile(r"TOKEN|KEY")
"""Words that also name what is counted or switched: MAX_TOKENS, TOKENIZERS_PARALLELISM."""
_SWITCH = re.compile(r"|true|false|yes|no|on|off|none|auto", re.IGNORECASE)
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_CERTAIN = re.compile(
    r"[?&;]sig=|\bsig=[\w%]{20}|AccountKey=|SharedAccess(Key|Signature)|InstrumentationKey=|\beyJ[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN|://[^/@\s:]*:[^/@\s]+@"
    r"|(?<!ssh)(?<!abfs)(?<!abfss)(?<!wasb)(?<!wasbs)://[^/@\s:]{8,}@"  # there a user or a container
    r"|\bBearer\s+(?!(auth|authentication|authorization|tokens?)\b)\S"
    r"|(\b|_)(password|passwd|pwd|secret|api[_-]?key)\\*[\"']?\s*[=:]\s*\S"
    r"|://hooks\.slack(-gov)?\.com/(services|triggers|workflows)/\w|\.webhook\.office\.com/webhookb2/\w"
    r"|://(\w+\.)?discord(app)?\.com/api/webhooks/\d"
    r"|\b(gh[opsur]_|github_pa[t]_|glpat-|hf_|xox[abps]-|sk-|AKIA|AIza|dapi)[\w-]{12}",
    re.IGNORECASE,
)
_CERTAIN_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PWD|PASSPHRASE|SECRET|AUTHORIZATION|CONNECTION_STRING|CREDENTIALS"
    r"|(API|ACCESS|ACCOUNT|PRIVATE|SECRET)_?KEY|(ACCESS|REFRESH|SAS|API|AUTH|BEARER)_?TOKEN)$|^TOKEN$"
)
"""What names nothing but a secret, also where names are not the users' own."""
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_TURN = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[a-z])(?=[A-Z])")
_TURNS_OF_CHANCE = 0.27
"""Share of places where letters turn to digits or upper case: 0.47 in random hexadecimal, 0.45 in random base 62,
below 0.25 in words (by counting; 95 % of random keys of 32 characters lie above this limit)."""


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable looks like a secret, by its name or by its value."""
    if _REFERENCE.fullmatch(value):
        return False
    return _is_telling(name, value) or holds_secret(value) or _has_random_run(value)


def holds_secret(text: str) -> bool:
    """Whether ``text`` has the form of a known kind of secret: SAS, JWT, PEM, web hook, password in an address."""
    return _CERTAIN.search(text) is not None


def is_named_secret(name: str, value: str) -> bool:
    """Whether ``name`` is a secret's for certain, and ``value`` neither a switch nor a reference to one."""
    return (
        _CERTAIN_NAME.search(_words(name)) is not None
        and _SWITCH.fullmatch(value) is None
        and _REFERENCE.fullmatch(value) is None
    )


def _words(name: str) -> str:
    return "_".join(word for word in _WORD_BREAK.split(name) if word).upper()


def _is_telling(name: str, value: str) -> bool:
    words = _words(name)
    hit = _NAME.search(words)
    if hit is None or _SWITCH.fullmatch(value):
        return False
    is_count = value.isdecimal() and len(value) <= 6 and all(_COUNTED.match(each[0]) for each in _NAME.finditer(words))
    return not is_count


def _has_random_run(value: str) -> bool:
    """Whether there is a long run of characters that turn as only chance lets them."""
    return any(len(_TURN.findall(run)) >= _TURNS_OF_CHANCE * len(run) for run in _RUN.findall(value))
