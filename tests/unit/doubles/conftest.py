"""A double of Azure for each test, and the unpatched SDK before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from doubles.arm import AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE
from unit.doubles.client import Client


@pytest.fixture
def azure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureDouble]:
    """``digits`` has blue and green, all traffic on blue; parametrize indirectly with switches."""
    with AzureDouble(**getattr(request, "param", {})) as double:
        double.create("digits", "blue", "green", traffic={"blue": 100})
        for name, value in double.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "")  # so that it is put back
        monkeypatch.delenv("AZUREML_CURRENT_CLOUD")
        yield double


@pytest.fixture
def arm(azure: AzureDouble) -> Client:
    return Client(azure)


class Clocked:
    """The double by a clock that the test moves."""

    def __init__(self, azure: AzureDouble) -> None:
        self.azure = azure
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        azure.world.now = lambda: self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clocked(azure: AzureDouble) -> Clocked:
    return Clocked(azure)


@pytest.fixture
def ml(azure: AzureDouble) -> Iterator[Any]:
    from azure.ai.ml import MLClient  # noqa: PLC0415 - it takes 2 s

    yield MLClient(DefaultAzureCredential(), SUBSCRIPTION, GROUP, WORKSPACE, polling_interval=0.05, retry_total=0)
    os.environ.pop("AZUREML_CURRENT_CLOUD", None)
