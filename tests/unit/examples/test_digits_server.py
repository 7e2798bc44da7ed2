"""The example under Azure ML's own inference server, a real process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployer.engine.http import ScoringClient
from deployer.ports.platform import ScoringTarget

ROOT = Path(__file__).parents[3] / "manifests" / "local"
DIGIT = (ROOT / "samples" / "digit.json").read_bytes()

pytestmark = pytest.mark.local


@contextmanager
def serving(log: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], ScoringTarget]]:
    """Gunicorn with the server's app, on a port of its own; the target is usable once it listens."""
    fixed = {
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "AML_APP_ROOT": str(ROOT / "digits" / "code"),
        "AZUREML_MODEL_DIR": str(ROOT / "digits" / "v2"),
    }
    with log.open("wb") as out:
        options = ["--no-control-socket", "-b", "127.0.0.1:0", "-w", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "azureml_inference_server_http.server.entry:app"],
            env={**os.environ, **fixed, **variables},
            stdout=out,
            stderr=out,
        )
        try:
            end = time.monotonic() + 30
            while not (found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
            yield process, ScoringTarget(f"http://127.0.0.1:{found[1]}/score", {})
        finally:
            process.terminate()
            process.wait(10)


def test_it_answers_refuses_and_raises_with_the_codes_that_azure_ml_reads(tmp_path: Path) -> None:
    client, started = ScoringClient(), time.monotonic()
    with serving(tmp_path / "log", DIGITS_FAIL_SHARE="0.05", DIGITS_DELAY_MS="50") as (_, target):
        answer = client.score(target, DIGIT)
        print(f"ready and answered in {time.monotonic() - started:.2f}s")
        assert (answer.status, answer.body.strip()) == (200, b'{"predictions": [6]}')
        assert float(answer.headers["x-ms-run-fn-exec-ms"]) >= 50
        refused = client.score(target, b"nope")
        assert (refused.status, refused.headers["x-ms-run-function-failed"]) == (400, "False")
        broken = (ROOT / "samples" / "digits.jsonl").read_bytes().splitlines()[60]
        raised = client.score(target, broken)
        assert (raised.status, raised.headers["x-ms-run-function-failed"]) == (500, "True")


def test_without_its_weights_it_ends_before_it_serves(tmp_path: Path) -> None:
    with serving(tmp_path / "log", DIGITS_WEIGHTS="weights-v3.json") as (process, _):
        assert process.wait(20) == 3
    assert "expected one weights-v3.json" in (tmp_path / "log").read_text()
