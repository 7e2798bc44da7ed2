import json
from pathlib import Path

import pytest

from deployer.errors import PlatformError
from deployer.local.layout import Layout
from deployer.local.record import Deployed, Record, load_record, save_record

RECORD = Record(
    uid="u",
    port=20000,
    key="k",
    document={"name": "digits"},
    tags={"a": "1"},
    traffic={"blue": 100},
    mirror={"green": 10},
    deployments={"blue": Deployed("ab" * 32, 2, "2026-01-01T00:00:00+00:00")},
    serial=7,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.of(tmp_path, "digits")
    layout.prepare()
    return layout


def test_what_is_saved_is_what_is_loaded(layout: Layout):
    save_record(layout, RECORD)
    assert load_record(layout) == RECORD
    assert layout.record.stat().st_mode & 0o777 == 0o600


def test_there_is_no_record_of_what_was_never_created(layout: Layout):
    assert load_record(layout) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "deployments": {"a": 1}}'])
def test_a_damaged_record_is_named_and_never_guessed_at(layout: Layout, text: str):
    layout.record.write_text(text)
    with pytest.raises(PlatformError, match=r"endpoint\.json") as caught:
        load_record(layout)
    assert str(layout.root) in caught.value.hint


def test_a_record_of_another_version_is_left_alone(layout: Layout):
    save_record(layout, RECORD)
    layout.record.write_text(json.dumps(json.loads(layout.record.read_text()) | {"version": 2}))
    with pytest.raises(PlatformError, match="version 2"):
        load_record(layout)
