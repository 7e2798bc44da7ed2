"""Texts that people agreed on: ``UPDATE_GOLDEN=1 pytest`` writes them anew, and the review reads the difference."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent


def check(name: str, text: str) -> None:
    """Compare ``text`` with the golden file ``name``, or write it."""
    path = HERE / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{name} does not exist yet: UPDATE_GOLDEN=1 writes it"
    assert text == path.read_text(), f"{name} is no longer what is drawn: UPDATE_GOLDEN=1 writes it anew"
