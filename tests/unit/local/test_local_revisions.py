import os
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import NotFoundError, PlatformError
from deployer.local.layout import Layout
from deployer.local.revisions import KEPT, load_revision, prune_revisions, revision_path, take_revision

DIGEST = "ab" * 32
DOCUMENT: dict[str, Any] = {
    "name": "blue",
    "code_configuration": {"code": "src", "scoring_script": "score.py"},
    "model": {"path": "weights"},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.of(tmp_path / "home", "digits")
    layout.prepare()
    return layout


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "project"
    (base / "src" / "lib").mkdir(parents=True)
    (base / "src" / "score.py").write_text("v1")
    (base / "src" / "lib" / "util.py").write_text("util")
    (base / "src" / "__pycache__").mkdir()
    (base / "weights").mkdir()
    (base / "weights" / "w.bin").write_bytes(b"\0\1")
    return base


def test_files_that_change_later_do_not_reach_the_snapshot(layout: Layout, base: Path):
    revision = take_revision(layout, DOCUMENT, base, DIGEST)
    (base / "src" / "score.py").write_text("v2")
    assert take_revision(layout, DOCUMENT, base, DIGEST) == revision == load_revision(layout, DIGEST)
    assert (revision.code / "score.py").read_text() == "v1"
    assert (revision.code / "lib" / "util.py").read_text() == "util"
    assert not (revision.code / "__pycache__").exists()


def test_the_model_lies_under_its_own_name_as_on_azure(layout: Layout, base: Path):
    assert (take_revision(layout, DOCUMENT, base, DIGEST).model / "weights" / "w.bin").read_bytes() == b"\0\1"
    one_file = {**DOCUMENT, "model": "weights/w.bin"}
    assert (take_revision(layout, one_file, base, "cd" * 32).model / "w.bin").read_bytes() == b"\0\1"


def test_a_deployment_without_model_has_an_empty_model_directory(layout: Layout, base: Path):
    revision = take_revision(layout, {**DOCUMENT, "model": None}, base, DIGEST)
    assert list(revision.model.iterdir()) == []


def test_links_inside_become_copies(layout: Layout, base: Path):
    (base / "src" / "again.py").symlink_to("score.py")
    (base / "src" / "lib2").symlink_to("lib", target_is_directory=True)
    code = take_revision(layout, DOCUMENT, base, DIGEST).code
    assert (code / "again.py").read_text() == "v1"
    assert (code / "lib2" / "util.py").read_text() == "util"
    assert not any(path.is_symlink() for path in code.rglob("*"))


def _file_outside(base: Path) -> None:
    (base / "secret").write_text("s")
    (base / "src" / "link").symlink_to(base / "secret")


def _directory_outside(base: Path) -> None:
    (base / "src" / "link").symlink_to(base / "weights", target_is_directory=True)


def _link_to_itself(base: Path) -> None:
    (base / "src" / "lib" / "loop").symlink_to(base / "src", target_is_directory=True)


def _nested_link_outside(base: Path) -> None:
    (base / "src" / "lib" / "up").symlink_to(base / "src" / "score.py")
    (base / "src" / "lib2").symlink_to("lib", target_is_directory=True)


def _broken_link(base: Path) -> None:
    (base / "src" / "link").symlink_to("nothing")


def _pipe(base: Path) -> None:
    os.mkfifo(base / "src" / "pipe")


def _no_script(base: Path) -> None:
    (base / "src" / "score.py").unlink()


def _no_code(base: Path) -> None:
    (base / "src").rename(base / "elsewhere")


@pytest.mark.parametrize(
    "spoil",
    [
        _file_outside,
        _directory_outside,
        _link_to_itself,
        _nested_link_outside,
        _broken_link,
        _pipe,
        _no_script,
        _no_code,
    ],
)
def test_what_cannot_be_copied_safely_is_refused_and_leaves_nothing(layout: Layout, base: Path, spoil: Any):
    spoil(base)
    with pytest.raises(PlatformError) as caught:
        take_revision(layout, DOCUMENT, base, DIGEST)
    assert str(base) in caught.value.message or "src" in caught.value.message or "score.py" in caught.value.message
    assert list(layout.revisions.iterdir()) == []


@pytest.mark.parametrize("script", ["../weights/w.bin", "lib"])
def test_the_scoring_script_is_a_file_of_the_code(layout: Layout, base: Path, script: str):
    document = {**DOCUMENT, "code_configuration": {"code": "src", "scoring_script": script}}
    with pytest.raises(PlatformError, match="not in the code directory"):
        take_revision(layout, document, base, DIGEST)


def test_what_was_never_taken_is_not_found(layout: Layout):
    with pytest.raises(NotFoundError, match="abababab"):
        load_revision(layout, DIGEST)


@pytest.mark.parametrize("digest", ["", "../../etc", "AB" * 32, "ab" * 33, "xyz"])
def test_only_a_digest_becomes_a_path(layout: Layout, digest: str):
    with pytest.raises(PlatformError, match="not a digest"):
        revision_path(layout, digest)


def test_the_oldest_snapshots_that_nothing_runs_from_are_forgotten(layout: Layout, base: Path):
    digests = [f"{number:064x}" for number in range(KEPT + 3)]
    for age, digest in enumerate(digests):
        path = take_revision(layout, DOCUMENT, base, digest).path
        os.utime(path, (age, age))
    prune_revisions(layout, {digests[0]})
    assert sorted(path.name for path in layout.revisions.iterdir()) == [digests[0], *digests[3:]]
