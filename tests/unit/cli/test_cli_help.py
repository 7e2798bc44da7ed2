"""Every command explains itself the same way."""

from __future__ import annotations

import os
import re
from importlib.metadata import version

import pytest
from commands import COMMANDS, call
from golden.compare import HERE, check

DRAWN_BY = f"typer {version('typer')}, rich {version('rich')}\n"
"""Other versions draw other boxes around the same words: the words are ours, the boxes theirs."""


@pytest.fixture(scope="module")
def _same_boxes() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        check("help/drawn-by.txt", DRAWN_BY)
    drawn_by = (HERE / "help" / "drawn-by.txt").read_text()
    if drawn_by != DRAWN_BY:
        pytest.skip(f"the golden texts were drawn by {drawn_by.strip()}, here is {DRAWN_BY.strip()}")


@pytest.mark.usefixtures("_same_boxes")
@pytest.mark.parametrize("name", ["", "gate", "local", *COMMANDS])
def test_the_help_of_every_command_is_as_agreed(name: str) -> None:
    done = call(*name.split(), "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    text = "\n".join(line.rstrip() for line in done.stdout.strip("\n").split("\n")) + "\n"
    check(f"help/{name.replace(' ', '-') or 'deployer'}.txt", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_debug(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--json", "--debug"} <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_it_would_take(name: str) -> None:
    epilog = COMMANDS[name].epilog or ""
    assert epilog.startswith(f"Example: deployer {name}")
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", epilog)) <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_is_explained(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None) or parameter.name == "help", parameter.name
        assert "help" not in (getattr(parameter, "help", "") or "").split()[:1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_sentences(name: str) -> None:
    text = (COMMANDS[name].help or "").strip()
    assert text[0].isupper()
    assert text.endswith(".")
