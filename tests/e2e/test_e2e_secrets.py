"""Planted secrets, from a webhook's key to a token in a model's error: none of them is in anything that a run leaves."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import psutil
import pytest
from doubles.collector import Collector, collecting
from doubles.webhook import PATH, Receiver, receiving
from typer.testing import CliRunner

from deployer.cli import app
from deployer.manifest.secrecy import LEFT_OUT
from tests.e2e.stage import Stage

pytestmark = pytest.mark.e2e

WEBHOOK_KEY = "planted" + "-webhook-key-41d8cd98f00b"
CLIENT_SECRET = "planted" + "~client.secret-77b1"
ACCOUNT_KEY = "planted" + "AccountKeyZm9vYmFyMTIz"
COLLECTOR_KEY = "planted" + "-collector-header-5e7f"
CONNECTION_KEY = "00000000-dead-beef-0000-" + "planted00001"
MODEL_TOKEN = "planted" + "-token-of-the-model-9c1185"
MODEL_PASSWORD = "planted" + "-password-of-a-database"
ERROR = f"401 from upstream: Authorization: Bearer {MODEL_TOKEN}, postgres://svc:{MODEL_PASSWORD}@db:5432/x"
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={ACCOUNT_KEY};EndpointSuffix=core.windows.net"
SECRETS = (
    *(WEBHOOK_KEY, CLIENT_SECRET, ACCOUNT_KEY, COLLECTOR_KEY, CONNECTION_KEY),
    *(MODEL_TOKEN, MODEL_PASSWORD, PATH.rpartition("/")[2]),
)


class Watched:
    """Arguments of every process while something runs: whoever is on the machine can read them."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._done = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._done.wait(0.2):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    self.seen.add(" ".join(process.cmdline()))


def texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below ``folder`` as it would be read, with its name."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_socket():
            with suppress(OSError):
                content = path.read_bytes()
                yield str(path), gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def found(where: Iterable[tuple[str, bytes]], secrets: Iterable[str]) -> set[tuple[str, str]]:
    """Which secret stands where."""
    wanted = [(secret, secret.encode()) for secret in secrets]
    return {(name, secret) for name, content in where for secret, raw in wanted if raw in content}


def environment(receiver: Receiver, collector: Collector, folder: Path) -> dict[str, str]:
    """A CI job's, with everything secret that deployer is given or might be shown."""
    own = f"http://127.0.0.1:{collector.port}"
    return {
        "HOOK_URL": receiver.url,
        "HOOK_KEY": WEBHOOK_KEY,
        "AZURE_CLIENT_SECRET": CLIENT_SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": own,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={COLLECTOR_KEY}",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={CONNECTION_KEY};IngestionEndpoint={own}/",
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(folder / "outputs"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }


def told(*words: object) -> bytes:
    """What a command prints that only reads."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code in (0, 11), done.output
    return done.output.encode()


@pytest.mark.parametrize(
    "changes", [{}, pytest.param({"smoke": None}, marks=pytest.mark.slow)], ids=["smoke test", "gate"]
)
def test_no_secret_is_in_anything_that_a_run_leaves(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    left = tmp_path / "left"
    left.mkdir()
    with receiving(Receiver()) as receiver, collecting(Collector()) as collector, Watched() as watched:
        for name, value in environment(receiver, collector, left).items():
            monkeypatch.setenv(name, value)
        stage.seed()
        key = stage.platform.scoring_target().headers["Authorization"].removeprefix("Bearer ")
        variables = {"RAISES": ERROR, "STORAGE": CONNECTION, "API_KEY": CLIENT_SECRET}
        hooks = [{"webhook": "${HOOK_URL}", "format": form} for form in ("slack", "teams")]
        hooks.append({"webhook": "${HOOK_URL}", "format": "generic", "secret": "${HOOK_KEY}"})
        manifest = stage.manifest(environment=variables, env=["HOOK_URL", "HOOK_KEY"], notify=hooks, **changes)
        rolled = stage.run("rollout", manifest, "--debug")
        assert rolled.code == 10, rolled.text
        receiver.wait_for(3)
    printed = {"rollout": rolled.text.encode()}
    for form in ("html", "json", "junit", "markdown"):
        printed[form] = told("report", stage.endpoint, "--format", form, "--output", left / f"report.{form}")
    for name in ("status", "history", "explain"):
        printed[name] = told(name, stage.endpoint)
        printed[f"{name} --json"] = told(name, stage.endpoint, "--json")
    received = [(f"notification {place}", body) for place, (_, body) in enumerate(receiver.got)]
    exported = [
        ("telemetry", repr((collector.spans, collector.metrics, collector.resources, collector.envelopes)).encode())
    ]
    arguments = [(f"arguments: {line[:60]}", line.encode()) for line in watched.seen]
    kept = [(name, content) for name, content in texts(stage.home) if (stage.home / "local") not in Path(name).parents]
    secrets = (*SECRETS, key)
    assert LEFT_OUT.encode() in printed["rollout"]
    assert any(name.endswith(".jsonl") for name, _ in kept)
    assert found([*printed.items(), *received, *exported, *arguments, *texts(left), *kept], secrets) == set()
    tags = [(name, value.encode()) for name, value in stage.observe().tags.items()]
    assert found(tags, secrets) == set()
    # the embedded platform knows what it starts deployments with, and keeps what models print, as Azure's service does
    platforms_own = {secret for _, secret in found(texts(stage.home / "local"), secrets)}
    assert platforms_own <= {key, ACCOUNT_KEY, CLIENT_SECRET, MODEL_TOKEN, MODEL_PASSWORD}


def test_a_secret_that_is_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(f"x {MODEL_TOKEN}".encode()))
    assert found(texts(tmp_path), SECRETS) == {(str(tmp_path / "a.gz"), MODEL_TOKEN)}
