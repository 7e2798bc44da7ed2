"""The JSON schema for editors says the same as the models, in the words that users write."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_documents import BLUE_GREEN, FULL, MANIFEST, changed

from deployer.manifest.document import at
from deployer.manifest.jsonschema import json_schema
from deployer.manifest.problems import Finding
from deployer.manifest.schema import Manifest
from deployer.manifest.validation import check

COMMITTED = Path(__file__).parents[3] / "manifests" / "rollout.schema.json"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

BEYOND = (
    # limits of quantities, which are text to a schema
    "must be over",
    "must be under",
    "is below",
    "is over",
    # rules that need several keys, or several entries of a list
    "takes no",
    "needs subscription_id",
    "needs resource_group",
    "needs workspace",
    "needs compute",
    "names no target",
    "quantiles rise",
    "in one step",
    "weights must rise",
    "nothing may follow weight 100",
    "is longer than max",
    "mirror comes before",
    "has both canary and blue_green",
    "strategy needs canary or blue_green",
    "the deadline is shorter",
    "tolerate must be below rule_out",
    "bake is shorter",
    "a smoke step without",
)
"""What only the models refuse (see the docstring of jsonschema.py)."""


def beyond_a_schema(finding: Finding) -> bool:
    return any(words in finding.message for words in BEYOND)


def test_the_committed_schema_is_the_models() -> None:
    text = json.dumps(SCHEMA, indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        COMMITTED.write_text(text, encoding="utf-8")
    assert COMMITTED.read_text(encoding="utf-8") == text, "run this test with UPDATE_GOLDEN=1 and read the diff"


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def test_every_key_is_described() -> None:
    for model in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, schema in model.get("properties", {}).items():
            assert schema.get("description") or "$ref" in schema, f"{model['title']}.{name}"


def test_defaults_and_examples_are_what_may_be_written() -> None:
    for node in walk(SCHEMA):
        local = {**node, "$defs": SCHEMA["$defs"]}
        for value in [*node.get("examples", []), *([node["default"]] if "default" in node else [])]:
            assert jsonschema.Draft202012Validator(local).is_valid(value), (node, value)


def test_defaults_are_the_models_defaults() -> None:
    strategy, gate = SCHEMA["$defs"]["Strategy"]["properties"], SCHEMA["$defs"]["Gate"]["properties"]
    assert (strategy["deadline"]["default"], strategy["retire"]["default"]) == ("3h", "delete")
    assert (gate["block"]["default"], gate["look"]["default"], gate["false_rollback"]["default"]) == (
        "auto",
        "10s",
        "1%",
    )
    assert SCHEMA["$defs"]["LatencyMargin"]["properties"]["rule_out"]["default"] == "1.25x"


@pytest.mark.parametrize("document", [MANIFEST, FULL, BLUE_GREEN])
def test_what_is_valid_is_valid_to_an_editor(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"platform": "managed"},
        {"strategy__canary__steps": [{"weight": 5, "mirror": "1%"}]},
        {"strategy__canary__steps": [0]},
        {"strategy__canary__steps": []},
        {"strategy__canary__steps": ["5%"]},
        {"gate__block": "soon"},
        {"gate__compare__latency": "25%"},
        {"gate__look": 10},
        {"slo__error_rate": 0.01},
        {"slo__latency__p96": "1s"},
        {"name": "a_b"},
        {"version": 2},
        {"tags__a": 1},
        {"nonsense": 1},
    ],
)
def test_what_an_editor_marks(changes: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(changed(FULL, **changes))


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        5,
        100,
        101,
        -1,
        1.5,
        "",
        "x",
        "auto",
        "5m",
        "1h30m",
        "30m1h",
        "80ms",
        "5",
        "1%",
        "200%",
    ),
    *("+5%", "1.3x", "0.5x", "local", "managed", "rollback", "pause", "delete", "p50", "green", "a_b", "${A}"),
    *(
        [],
        {},
        ["p50"],
        [5],
        [5, 25],
        [{"pause": {}}],
        [{"weight": 5}],
        [{"request": "a"}],
        {"weight": 5},
        {"a": "b"},
        {"a": 1},
    ),
    *(
        {"pause": {}},
        {"type": "local"},
        {"rule_out": "2x"},
        {"request": "a"},
        {"canary": {"steps": [5]}},
        {"blue_green": {}},
    ),
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from([path for document in (FULL, BLUE_GREEN) for path in paths(document) if path]),
        st.one_of(st.sampled_from(VALUES), st.just(...)),
    ),
    min_size=1,
    max_size=3,
)


@given(st.sampled_from([MANIFEST, FULL, BLUE_GREEN]), EDITS)
def test_schema_and_models_accept_and_refuse_the_same(
    base: dict[str, Any], edits: list[tuple[tuple[Any, ...], Any]]
) -> None:
    """Except what is named above: there the schema accepts and the loader refuses. Never the other way round."""
    document = copy.deepcopy(base)
    for path, value in edits:
        above = at(document, path[:-1]) if all(not isinstance(step, int) for step in path[:-1]) else None
        if not isinstance(above, dict):
            continue
        if value is ...:
            above.pop(path[-1], None)
        else:
            above[path[-1]] = copy.deepcopy(value)
    manifest, findings = check(Manifest, document)
    if manifest is not None:
        assert VALIDATOR.is_valid(document)
    elif not all(beyond_a_schema(finding) for finding in findings):
        assert not VALIDATOR.is_valid(document)
