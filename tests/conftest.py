"""What every test gets: a home of its own, nobody's credentials, and as many examples as the place can afford."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FOREIGN = (
    "AZURE",
    "AML_",
    "ARM_",
    "APPLICATIONINSIGHTS_",
    "GITHUB_",
    "TF_BUILD",
    "ACTIONS_",
    "PYTEST_ADDOPTS",
    "PYTEST_XDIST",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
)
"""Prefixes of variables that would let a test reach, or depend on, the place where it happens to run."""

_homes = count()

# A slow machine is no bug of the code: no deadline per example. The gate always tries the same examples (a change that
# breaks nothing never turns it red); development and the nightly run look for new ones.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well (minutes)")


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or "slow" in config.getoption("markexpr"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes that test (``-n 2 --dist loadfile``) one has every file that loads or measures the machine.

    Two endpoints at once would take each other's cores, and rates and latencies would say so.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 only here is it sure to be installed

    class ByMachine(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(config.rootpath / nodeid.partition("::")[0])

    return ByMachine(config, log)


@cache
def _scope(file: Path) -> str:
    text = file.read_text()
    alone = "mark.local" in text or ("mark.e2e" in text and "mark.azure" not in text)
    return "the machine" if alone else str(file)


def _live_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_HOME", str(home))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(home / "az"))  # else the defaults of `az configure` are read


@pytest.fixture(scope="session", autouse=True)
def _home_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what module and session fixtures start before the first test has its own home."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _live_in(tmp_path_factory.getbasetemp() / "home", monkeypatch)
        yield


@pytest.fixture(autouse=True)
def _home_of_the_test(
    _home_of_the_session: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that does not exist yet, short enough for the sockets in it, and different in every test."""
    _live_in(tmp_path_factory.getbasetemp() / f"home{next(_homes)}", monkeypatch)


@pytest.fixture(autouse=True)
def _nobody_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal has every entry on the disk before it goes on; in this process no test cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
