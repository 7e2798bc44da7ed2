"""Each fragment in .changes/ is what .changes/README.md asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CHANGES = REPOSITORY / ".changes"
README = (CHANGES / "README.md").read_text()
CATEGORIES = set(re.findall(r"^\| (\w+) \|", README, flags=re.MULTILINE)) - {"category"}
PACKAGES = {path.stem for path in (REPOSITORY / "deployer").iterdir() if not path.name.startswith("_")}
AREAS = PACKAGES | {"cli", "loadtests", "manifests", "tests", "ci"}
FRAGMENTS = sorted(CHANGES.rglob("*.toml"))


def test_the_example_of_the_readme_is_a_fragment() -> None:
    example = re.findall(r"```toml\n(.+?)```", README, flags=re.DOTALL)
    assert [set(tomllib.loads(text)) for text in example] == [{"category", "area", "text"}]


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_a_fragment_says_category_area_and_one_line(path: Path) -> None:
    fragment = tomllib.loads(path.read_text())
    assert set(fragment) == {"category", "area", "text"}
    assert fragment["category"] in CATEGORIES
    assert fragment["area"] in AREAS
    assert path.stem.startswith(fragment["area"] + "-")
    assert re.fullmatch(r"[A-Z][^\n]{15,250}[.)]", fragment["text"])


def test_nothing_else_lies_among_the_fragments() -> None:
    files = {path for path in CHANGES.rglob("*") if path.is_file()}
    assert files - set(FRAGMENTS) == {CHANGES / "README.md"}
