"""Locust's page may watch a load, and not start one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOADTESTS = Path(__file__).parents[3] / "loadtests"
WATCHED = """
import scoring
from argparse import Namespace
from locust.env import Environment
environment = Environment(parsed_options=Namespace(autostart=True))
web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
web_ui.app.testing = True
scoring._only_watch(environment)
print(web_ui.app.test_client().post("/swarm", data={"user_count": 5, "spawn_rate": 5}).status_code)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=LOADTESTS, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.local
def test_a_load_is_not_started_from_the_web_ui() -> None:
    ended = python("-m", "locust", "-f", "scoring.py", "--host", "http://127.0.0.1:9/score", "--payload", "scoring.py")
    assert ended.returncode == 1
    assert "load generator: give --headless" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.local
@pytest.mark.slow
def test_a_web_ui_that_only_watches_starts_nothing() -> None:
    ended = python("-c", WATCHED)
    assert ended.stdout.split() == ["409"], ended.stderr
