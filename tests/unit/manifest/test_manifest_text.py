"""YAML text is read strictly, all problems at once with their places, and nothing in it can exhaust the machine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployer.manifest import compose
from deployer.manifest.compose import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES
from deployer.manifest.document import Mark
from deployer.manifest.expansion import expand
from deployer.manifest.problems import MAX_PROBLEMS, FieldError, Finding
from deployer.manifest.quantities import parse_duration, parse_growth, parse_share
from deployer.manifest.text import MAX_BYTES, read_yaml


def problems(data: bytes | str) -> list[str]:
    _, found = read_yaml(data.encode() if isinstance(data, str) else data, "m.yaml")
    return [str(problem) for problem in found]


def content(text: str) -> dict[str, Any]:
    document, found = read_yaml(text.encode(), "m.yaml")
    assert not found
    assert document is not None
    return document.content


def bomb(levels: int, width: int = 9) -> str:
    """The classic: each line holds the line before nine times."""
    lines = [f"a: &a [{','.join(['x'] * width)}]"]
    for n in range(levels):
        one, before = chr(ord("b") + n), chr(ord("a") + n)
        lines.append(f"{one}: &{one} [{','.join(['*' + before] * width)}]")
    return "\n".join(lines) + "\n"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """PyYAML with libyaml and without it: wheels have it, other builds may not."""
    monkeypatch.setattr(compose, "_LOADER", getattr(yaml, request.param))
    return request.param


def test_data_and_places(loader: str) -> None:
    document, found = read_yaml("# é\na: 1\nb:\n  - x\n  - {c: ü, d: [true]}\n".encode(), "m.yaml")
    assert not found
    assert document is not None
    assert document.content == {"a": 1, "b": ["x", {"c": "ü", "d": [True]}]}
    assert document.keys[("b", 1, "d")] == Mark(5, 12)
    assert document.values[("b", 1, "d", 0)] == Mark(5, 16)
    assert document.values[()] == Mark(2, 1)


def test_a_problem_stands_at_the_value_the_key_or_the_nearest_key_above() -> None:
    document, _ = read_yaml(b"a:\n  b: 1\n", "m.yaml")
    assert document is not None
    at_value = document.problem(Finding(("a", "b"), "x", "y"))
    assert str(at_value) == "m.yaml:2:6: x (y)"
    assert document.problem(Finding(("a", "b"), "x", key=True)).column == 3
    assert str(document.problem(Finding(("a", "c", 0), "missing"))) == "m.yaml:1:1: missing"
    assert str(document.problem(Finding(("z",), "missing"))) == "m.yaml:1:1: missing"
    assert document.problem(Finding(("b",), "x"), ("a",)).column == 6


PLAINLY = "without quotes is"


def test_all_problems_are_reported_together_in_the_order_of_the_text(loader: str) -> None:
    assert problems("a: no\nb: 012\na: 2\n1: x\n<<: {q: 1}\nc: !x 1\nd: *e\n") == [
        f"m.yaml:1:4: 'no' {PLAINLY} a boolean to some YAML readers and text to others (write true or false, or quote it)",
        f"m.yaml:2:4: '012' {PLAINLY} octal to some YAML readers and decimal to others (drop the leading zero, or quote it)",
        "m.yaml:3:1: the key 'a' is given twice (it is also in line 1)",
        "m.yaml:4:1: a key is text, not 1 (quote it)",
        "m.yaml:5:1: the merge key << is not allowed (write the keys out)",
        "m.yaml:6:4: the tag '!x' is not allowed (remove it, and quote the value if it is text)",
        "m.yaml:7:4: no anchor &e before (write the value out)",
    ]


def test_content_is_made_out_in_spite_of_problems() -> None:
    document, found = read_yaml(b"a: no\nb: 1\nb: 2\n", "m.yaml")
    assert len(found) == 2
    assert document is not None
    assert document.content == {"a": "no", "b": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "m.yaml:1:1: the file is empty (write at least one key)"),
        ("# only this\n", "m.yaml:1:1: the file is empty (write at least one key)"),
        ("---\n", "m.yaml:1:1: the file is empty (write at least one key)"),
        ("- a\n", "m.yaml:1:1: there is no mapping at the top (write keys and values, as name: digits)"),
        ("digits\n", "m.yaml:1:1: there is no mapping at the top (write keys and values, as name: digits)"),
        ("a: 1\n---\nb: 2\n", "m.yaml:2:1: a second document starts here (keep one document in a file)"),
        ("a: 1\n...\n--- {b: 2}\n", "m.yaml:3:1: a second document starts here (keep one document in a file)"),
        ("%YAML 1.1\n---\na: 1\n", "m.yaml:1:1: YAML directives are not allowed (remove the line that starts with %)"),
        (
            "%TAG ! tag:evil,2000:\n---\na: 1\n",
            "m.yaml:1:1: YAML directives are not allowed (remove the line that starts with %)",
        ),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "m.yaml:1:4: the tag '!!python/object/apply:os.system' is not allowed (remove it, and quote the value if it is text)",
        ),
        ("a: !!str 012\n", "m.yaml:1:4: the tag '!!str' is not allowed (remove it, and quote the value if it is text)"),
        ("a: ! x\n", "m.yaml:1:4: the tag '!' is not allowed (remove it, and quote the value if it is text)"),
        ("a: !t {b: 1}\n", "m.yaml:1:4: the tag '!t' is not allowed (remove it, and quote the value if it is text)"),
        ("{? [a] : 1}\n", "m.yaml:1:4: a key is text, not a list (quote it)"),
        ("{? {a: b} : 1}\n", "m.yaml:1:4: a key is text, not a mapping (quote it)"),
        ("true: 1\n", "m.yaml:1:1: a key is text, not true (quote it)"),
        ("~: 1\n", "m.yaml:1:1: a key is text, not null (quote it)"),
        ("a: &a {b: *a}\n", "m.yaml:1:11: *a stands inside its own anchor (write the value out)"),
        ("a: &x 1\nb: &x 2\n", "m.yaml:2:4: the anchor &x is given twice (rename one of them)"),
        ('a: "\\e[31m"\n', "m.yaml:1:4: the value holds the control character U+001B (remove it)"),
        ('"a\\0": 1\n', "m.yaml:1:1: the value holds the control character U+0000 (remove it)"),
        ('a: "\\u202Egnp"\n', "m.yaml:1:4: the value holds the control character U+202E (remove it)"),
    ],
)
def test_what_is_refused(loader: str, text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xef\xbb\xbfa: 1", "m.yaml:1:1: the file starts with a byte order mark (save it as UTF-8 without BOM)"),
        (b"a: 1\nb: \xc3\xa9\xff", "m.yaml:2:5: byte 0xff is not UTF-8 (save the file as UTF-8)"),
        ("a: é".encode("utf-16"), "m.yaml:1:1: byte 0xff is not UTF-8 (save the file as UTF-8)"),
        (b"a: 1\nb:\tx\n", "m.yaml:2:3: a tab: YAML readers disagree about it (use spaces)"),
        (b"a: \x00\n", "m.yaml:1:4: the control character U+0000 (remove it)"),
        (b"a: \x1b[0m\n", "m.yaml:1:4: the control character U+001B (remove it)"),
        (b"a: 1\rb: 2\n", "m.yaml:1:5: the control character U+000D (remove it)"),
        ("a: x\u2028y\n".encode(), "m.yaml:1:5: the control character U+2028 (remove it)"),
        ("a: \u202egnp\n".encode(), "m.yaml:1:4: the control character U+202E (remove it)"),
        (b"a: " + b"x" * MAX_BYTES, f"m.yaml:1:1: the file has over {MAX_BYTES} bytes (a manifest is far smaller)"),
    ],
)
def test_bytes_that_are_refused(data: bytes, problem: str) -> None:
    assert problems(data) == [problem]


def test_each_line_with_a_forbidden_character_is_named_once() -> None:
    assert [text.split(": ")[0] for text in problems("a:\t\t1\nb: 1\n\tc: 2\n")] == ["m.yaml:1:3", "m.yaml:3:1"]


def test_only_so_many_problems_are_reported_as_anybody_reads() -> None:
    assert len(problems("\t\n" * 1000)) == MAX_PROBLEMS
    assert len(problems("a: [" + "no," * 1000 + "]")) == MAX_PROBLEMS


def test_windows_line_ends_are_fine() -> None:
    assert content("a: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("load: {rps: ${RPS}}\n", "m.yaml:1:14", "quote ${...} inside braces"),
        ("a: 'x\n", "m.yaml:2:1", "look at indentation"),
        ("a: b: c\n", "m.yaml:1:5", "look at indentation"),
        ("a: [1\nb: 2\n", "m.yaml:2:2", "look at indentation"),
        ("a: @x\n", "m.yaml:1:4", "look at indentation"),
    ],
)
def test_what_is_no_yaml_is_placed(text: str, place: str, hint: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: this is not YAML: ")
    assert hint in problem


def test_an_error_that_says_no_place_stands_at_the_start() -> None:
    composer = compose.Composer("a: 1", "m.yaml")
    composer._syntax(yaml.MarkedYAMLError(problem="unknown"))
    assert [str(problem) for problem in composer.problems] == [
        "m.yaml:1:1: this is not YAML: unknown (look at indentation, colons and quotes here and above)"
    ]


def test_quoted_and_block_text_stays_text() -> None:
    assert content('a: \'no\'\nb: "012"\nc: |\n  on\nd: >-\n  1:30\n"<<": x\n') == {
        "a": "no",
        "b": "012",
        "c": "on\n",
        "d": "1:30",
        "<<": "x",
    }


def test_aliases_within_bounds_are_what_they_stand_for() -> None:
    assert content("a: &a {x: [1, 2]}\nb: *a\nc: [*a, *a]\n") == {
        "a": {"x": [1, 2]},
        "b": {"x": [1, 2]},
        "c": [{"x": [1, 2]}, {"x": [1, 2]}],
    }


TOO_MANY = f"more than {MAX_NODES} values or {MAX_CHARACTERS} characters once aliases are expanded"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(4, 9), TOO_MANY),
        (bomb(20, 9), TOO_MANY),
        ("x: &x " + "y" * 200_000 + "\nz: [*x, *x, *x, *x, *x, *x]\n", TOO_MANY),
        ("x: &x {? " + "y" * 200_000 + " : 1}\nz: [*x, *x, *x, *x, *x, *x]\n", TOO_MANY),
        ("x: [" + "1," * (MAX_NODES + 1) + "]\n", TOO_MANY),
        ("[" * 200_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("{a: " * 50_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("? " * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("\t\n" * 100_000, "a tab"),
    ],
    ids=["bomb", "deep bomb", "long text", "long key", "many values", "lists", "mappings", "dashes", "keys", "tabs"],
)
def test_what_would_exhaust_the_machine_is_refused_at_once(loader: str, text: str, problem: str) -> None:
    start = time.process_time()
    found = problems(text)
    assert time.process_time() - start < 10  # in pure Python, traced for coverage, on a busy machine
    assert problem in found[0]


LONG = ("1", "1_", "1:", "0", ".", "1-", "1e", "${", "$", "2024-01-01 ")


@pytest.mark.parametrize("piece", LONG)
def test_no_scalar_takes_long_to_understand(piece: str) -> None:
    start = time.process_time()
    scalar = piece * (200_000 // len(piece)) + "x"
    read_yaml(f"a: '{scalar}'\nb: x\n".encode(), "m.yaml")
    problems(f"a: {scalar}\n")
    for quantity in (parse_duration, parse_share, parse_growth):
        with pytest.raises(FieldError):
            quantity(scalar)
    expand({"env": ["A"], "a": scalar}, {})
    assert time.process_time() - start < 5


def test_the_keys_of_an_alias_count_too() -> None:
    keys = ",".join(f"k{n}: 1" for n in range(100))
    assert problems(f"x: &x {{{keys}}}\nz: [{','.join(['*x'] * 90)}]\n") == []
    assert TOO_MANY in problems(f"x: &x {{{keys}}}\nz: [{','.join(['*x'] * 110)}]\n")[0]


def test_a_bomb_of_258_bytes_is_refused_at_once() -> None:
    text = bomb(6, 8).replace("x", "1")[:-1]
    text += "#" * (258 - len(text)) if len(text) < 258 else ""
    start = time.process_time()
    assert TOO_MANY in problems(text)[0]
    assert time.process_time() - start < 0.5


def test_depth_and_size_up_to_the_limits_are_read() -> None:
    deep = "x: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert problems(deep) == []
    assert problems(deep.replace("[]", "[[]]"))
    assert problems("x: [" + ", ".join(["1"] * (MAX_NODES - 3)) + "]\n") == []  # with the top, the key and the list
    assert problems("x: [" + ", ".join(["1"] * (MAX_NODES - 2)) + "]\n")


PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**15), 10**15),
        st.integers(-(10**9), 10**9).map(lambda number: number / 1000),
        st.text(st.characters(min_codepoint=32, max_codepoint=0x7E), max_size=10),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=0x7E), max_size=6), inner, max_size=3),
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, min_size=1, max_size=4))
def test_json_is_read_as_itself(data: dict[str, Any]) -> None:
    """JSON is YAML, and its numbers and strings are the ones that all readers agree on (exponents apart)."""
    text = json.dumps(data)
    if "e-" not in text and "e+" not in text:
        assert content(text) == data


@given(st.one_of(st.binary(max_size=200), st.text("ab:-?*&!|>'\"%@`{}[],#\n $<0:1._", max_size=60).map(str.encode)))
def test_no_input_makes_it_crash(data: bytes) -> None:
    document, found = read_yaml(data, "m.yaml")
    assert document is not None or found
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found)
