"""``${NAME}`` is replaced for listed names only, never by a shell, and messages never show the value."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.manifest.expansion import expand
from deployer.manifest.problems import Finding, dotted, shown

ENV = {"SUB": "s-1", "EMPTY": "", "SECRET": "hunter2", "EVIL": "a\x1b[31m", "HOME": "/root"}


def expanded(value: Any, *, env: Any = ("SUB", "EMPTY", "SECRET", "EVIL", "UNSET")) -> tuple[Any, list[Finding]]:
    content, findings = expand({"env": list(env) if isinstance(env, tuple) else env, "v": value}, ENV)
    return content["v"], findings


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${SUB}", "s-1"),
        ("a-${SUB}-${SUB}b", "a-s-1-s-1b"),
        ("${UNSET:-d}", "d"),
        ("${UNSET:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${SUB:-d}", "s-1"),
        ("$${SUB}", "${SUB}"),
        ("$$", "$"),
        ("$$$$", "$$"),
        ("$5", "$5"),
        ("$SUB", "$SUB"),
        ("100%", "100%"),
        ("$(id) `id`", "$(id) `id`"),
        (["${SUB}", {"k": "${SUB}"}], ["s-1", {"k": "s-1"}]),
        (5, 5),
        (None, None),
    ],
)
def test_references(written: Any, value: Any) -> None:
    assert expanded(written) == (value, [])


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("${HOME}", "v: ${HOME} is not listed under env", "add HOME to the list env"),
        ("${SUBB}", "v: ${SUBB} is not listed under env", "did you mean SUB?"),
        ("${HOME:-x}", "v: ${HOME} is not listed under env", "add HOME to the list env"),
        ("${UNSET}", "v: the environment variable UNSET is not set", "set it, or write ${UNSET:-default}"),
        ("${EVIL}", "v: the environment variable EVIL holds the control character U+001B", "set it anew"),
        ("${SUB", "v: '${SUB' is no reference", None),
        ("${}", "v: '${}' is no reference", None),
        ("${SUB-x}", "v: '${SUB-x}' is no reference", None),
        ("${{ inputs.x }}", "v: '${{ inputs.x }}' is no reference", None),
        ("${SUB:-${SECRET}}", "v: '${SUB:-${SECRET}}' is no reference", None),
    ],
)
def test_what_cannot_be_replaced_is_said_and_left(written: str, message: str, hint: str | None) -> None:
    dollar = "write ${NAME} or ${NAME:-default}; a dollar sign itself is written $$"
    assert expanded(written) == (written, [Finding(("v",), message, hint or dollar)])


def test_the_list_itself_and_keys_are_left_alone() -> None:
    content, findings = expand({"env": ["${SUB}"], "${SUB}": 1}, ENV)
    assert content == {"env": ["${SUB}"], "${SUB}": 1}
    assert not findings


@pytest.mark.parametrize("env", [None, "SUB", {"SUB": 1}, 5])
def test_without_a_list_no_name_is_listed(env: Any) -> None:
    value, findings = expanded("${SUB}", env=env)
    assert value == "${SUB}"
    assert findings[0].message == "v: ${SUB} is not listed under env"


def test_messages_quote_what_was_written_and_not_the_secret() -> None:
    value, _ = expanded("key=${SECRET}")
    assert value == "key=hunter2"
    assert shown(value) == "'key=${SECRET}'"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ({}, "a mapping"),
        ([1], "a list"),
        ((), "a list"),
        (1.5, "1.5"),
        ("a'\n", '"a\'\\n"'),
        ("x" * 1000, f"'{'x' * 59}...'"),
        (10**100, f"1{'0' * 59}..."),
    ],
)
def test_values_are_shown_short_and_without_control_characters(value: object, text: str) -> None:
    assert shown(value) == text


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("a", "steps", 0, "nvidia.com/gpu", "b")) == "a.steps[0].'nvidia.com/gpu'.b"
    assert dotted(()) == ""
