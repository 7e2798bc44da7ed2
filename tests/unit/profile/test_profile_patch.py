"""A recommended configuration written into a deployment file: values change, everything else is kept byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.errors import ManifestError
from deployer.manifest.configuration import Configuration
from deployer.profile.patch import patch_text, patched

FILE = """\
# what users have
$schema: https://example.org/x.json   # for editors
model: {path: digits/v2}
environment_variables:
  # as many as cores
  WORKER_COUNT: "2"      # quoted
  OTHER: 'x'

instance_type: Standard_F2s_v2   # small
instance_count: 2
# about requests
request_settings:
    request_timeout_ms: 3000
    max_concurrent_requests_per_instance: 2 # each
# the end
"""
BIGGER = Configuration(3, 4, 8, "Standard_F4s_v2")


def test_only_the_values_change() -> None:
    pairs = zip(FILE.splitlines(), patched(FILE, BIGGER).splitlines(), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ('  WORKER_COUNT: "2"      # quoted', '  WORKER_COUNT: "4"      # quoted'),
        ("instance_type: Standard_F2s_v2   # small", "instance_type: Standard_F4s_v2   # small"),
        ("instance_count: 2", "instance_count: 3"),
        ("    max_concurrent_requests_per_instance: 2 # each", "    max_concurrent_requests_per_instance: 8 # each"),
    ]


def test_a_file_that_says_it_already_is_left_alone() -> None:
    once = patched(FILE, BIGGER)
    assert patched(once, BIGGER) == once
    assert patch_text(BIGGER, yaml.safe_load(once)) == ""


def test_line_ends_of_windows_stay() -> None:
    text = FILE.replace("\n", "\r\n")
    assert patched(text, BIGGER).replace("\r\n", "") == patched(FILE, BIGGER).replace("\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "model: {path: x}\n",
        "model: {path: x}",
        "model: {path: x}   # a comment\n# another\n",
        "{model: {path: x}, request_settings: {}}\n",
        "request_settings: {request_timeout_ms: 1}\nmodel: {path: x}\n",
        "environment_variables:\n  A: |\n    text\n    more\nmodel: {path: x}\n",
        "environment_variables:\n  A: |\n    text\n    more\n",
        "request_settings:\nmodel: {path: x}\n",
        "model:\n  path: x\n\n\n",
        "request_settings:\n  request_timeout_ms: 1\n\n  # below\n",
        "tags:\n- a\n- b\n",
        'instance_type: "Standard_F2s_v2"\ninstance_count: 1\n',
        "environment_variables:\n  WORKER_COUNT: 2\n",
        "{}\n",
        "environment_variables: {A: b,}\nmodel: {path: x,}\n",
        "environment_variables: {\n  A: b,\n}\n",
        "environment_variables: {\n  A: b   # of the model\n}\n",
        "environment_variables: {\n  A: b,   # of the model\n  # more\n}\nrequest_settings: &limits { }\n",
        "request_settings: &limits\n  request_timeout_ms: 3\nenvironment_variables: !!map {A: b}\n",
        '{"environment_variables": {\n    "A": "1"\n  }\n}\n',
    ],
)
def test_what_is_missing_is_added(text: str) -> None:
    found = patched(text, BIGGER)
    assert yaml.safe_load(found) == BIGGER.applied(yaml.safe_load(text))
    for line in text.splitlines():
        if "#" in line:
            assert line[line.index("#") :] in found


def test_resources_of_a_cluster_are_replaced_as_a_whole() -> None:
    text = 'resources:\n  requests: {cpu: "1", memory: 1Gi}\n  # not more\n  limits: {cpu: "2"}\n# below\ninstance_count: 1\n'
    wanted = Configuration(2, 1, 1, None, '{"limits":{"cpu":"4"},"requests":{"cpu":"500m","memory":"2Gi"}}')
    found = patched(text, wanted)
    assert yaml.safe_load(found) == wanted.applied(yaml.safe_load(text))
    assert "# below" in found


@pytest.mark.parametrize(
    "text",
    [
        "a: &shared {WORKER_COUNT: '1'}\nenvironment_variables: *shared\n",
        "instance_type: |\n  Standard_F2s_v2\n",
        "instance_count: 1\ndescription: |+\n  kept\n\n\n",
        "environment_variables:\n  ? A\n  : b\n",
    ],
)
def test_what_cannot_be_changed_safely_is_refused(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        patched(text, BIGGER)
    assert "by hand" in caught.value.hint


def test_the_patch_is_yaml_of_what_changes() -> None:
    text = patch_text(Configuration(2, 4, 2, "Standard_F2s_v2"), yaml.safe_load(FILE))
    assert yaml.safe_load(text) == {"environment_variables": {"WORKER_COUNT": "4"}}


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[3] / "manifests").glob("*/deployment*.yml")))
def test_every_example_can_be_changed(path: Path) -> None:
    text = path.read_text()
    found = patched(text, BIGGER)
    assert yaml.safe_load(found) == BIGGER.applied(yaml.safe_load(text))
    assert [line for line in text.splitlines() if line.lstrip().startswith("#")] == [
        line for line in found.splitlines() if line.lstrip().startswith("#")
    ]


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.text("ab #:'\"\n", max_size=6), st.integers(0, 9), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text("xyz", min_size=1), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=max(30, settings.default.max_examples // 4))
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": _VALUES,
            "instance_count": st.integers(1, 9),
            "instance_type": st.text("AB_ #'", min_size=1, max_size=5),
            "environment_variables": st.dictionaries(
                st.sampled_from(["A", "WORKER_COUNT"]), st.text("12\n", max_size=3)
            ),
            "request_settings": st.dictionaries(st.sampled_from(["request_timeout_ms"]), st.integers(1, 9)),
            "zone": _VALUES,
        },
    ),
    st.booleans(),
)
def test_whatever_the_file_holds_it_says_the_configuration_or_is_left_alone(
    document: dict[str, Any], flow: bool
) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, sort_keys=False)
    try:
        found = patched(text, BIGGER)
    except ManifestError:
        return
    assert yaml.safe_load(found) == BIGGER.applied(document)
