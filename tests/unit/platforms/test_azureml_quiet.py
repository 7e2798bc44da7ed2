"""What azure-ai-ml does to the process around it stays inside."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest

from deployer.platforms.online.azureml_quiet import _Bar, apart, silence, telling

CLOUD = "AZUREML_CURRENT_CLOUD"


def run(script: str, *, timeout_s: float = 60) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
    )
    return done.stdout


@dataclass
class Response:
    """Of azure-storage, as its ``raw_response_hook`` gets it."""

    context: dict[str, Any] = field(default_factory=dict)


def test_importing_the_adapter_imports_no_azure_module() -> None:
    loaded = run("""
        import sys, deployer.platforms.online.azureml
        print([name for name in sys.modules if name.startswith("azure")])
    """)
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("before", [None, "AzureChinaCloud"])
def test_the_cloud_of_the_sdk_does_not_leak(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before:
        monkeypatch.setenv(CLOUD, before)
    with apart():
        os.environ[CLOUD] = "Mine"
    assert os.environ.get(CLOUD) == before


def test_a_bar_of_a_directory_tells_tenths() -> None:
    told: list[str] = []
    with telling(told.append), _Bar(desc="\x1b[32mUploading src (0.1 MBs)", total=100, ascii=False) as bar:
        for size in (5, 5, 5, 5, 80, 0):
            bar.update(size)
    assert told == ["uploading src (0.1 MBs): 10 %", "uploading src (0.1 MBs): 20 %", "uploading src (0.1 MBs): 100 %"]


def test_a_bar_of_a_file_tells_tenths_of_what_storage_says() -> None:
    told: list[str] = []
    with telling(told.append), _Bar(msg="\x1b[32mUploading model.bin\x1b[32m (2.0 MBs)") as bar:
        for current in (None, 1_000_000, 1_000_001, 2_000_000):
            bar.update_to(Response({"upload_stream_current": current, "data_stream_total": 2_000_000}))
    assert told == ["uploading model.bin (2.0 MBs): 50 %", "uploading model.bin (2.0 MBs): 100 %"]


def test_a_bar_of_nothing_tells_nothing() -> None:
    told: list[str] = []
    with telling(told.append), _Bar(desc="Uploading empty", total=0) as bar:
        bar.update(0)
        bar.update_to(Response({"upload_stream_current": None, "data_stream_total": None}))
    assert told == []


def test_a_bar_of_another_thread_of_the_process_tells_nobody() -> None:
    told: list[str] = []

    def upload() -> None:
        with _Bar(desc="Uploading", total=1) as bar:
            bar.update(1)

    with telling(told.append):
        other = Thread(target=upload)
        other.start()
        other.join()
    assert told == []


@pytest.mark.azure
def test_the_log_of_the_sdk_goes_to_the_program_and_not_to_its_own_stderr(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import azure.ai.ml  # noqa: F401, PLC0415

    silence()
    with caplog.at_level(logging.INFO, "azure.ai.ml"):
        logging.getLogger("azure.ai.ml").warning("Class X: This is an experimental class")
    assert "experimental" in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.azure
def test_warnings_of_the_sdk_do_not_reach_stderr_as_a_last_resort() -> None:
    errors = run("""
        import contextlib, io, logging, sys
        sys.stderr = heard = io.StringIO()
        import azure.ai.ml
        from deployer.platforms.online.azureml_quiet import silence
        silence()
        for name in ("azure.ai.ml", "azure.ai.ml._utils._endpoint_utils", "azure.identity", "azure.core"):
            logging.getLogger(name).warning("noise")
        print(repr(heard.getvalue()))
    """)
    assert errors.strip() == "''"


STUCK = """
    import sys, threading, time
    from concurrent.futures import ThreadPoolExecutor
    from deployer.platforms.online.azureml_quiet import abandon_uploads

    def upload():
        with ThreadPoolExecutor(max_workers=2) as pool:
            pool.submit(time.sleep, 30)

    threading.Thread(target=upload, daemon=True).start()
    time.sleep(0.5)
    {given_up}
    print("end", flush=True)
"""


def test_a_process_ends_though_uploads_that_were_given_up_still_hang() -> None:
    assert run(STUCK.format(given_up="abandon_uploads()"), timeout_s=15) == "end\n"


def test_without_giving_up_it_would_wait_for_them() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(STUCK.format(given_up="pass"), timeout_s=2)
