import os
from pathlib import Path

from deployer.local.logs import LOG_MAX, cap_logs, read_tail
from deployer.local.servers import last_error

TORN = """2026-11-22 02:41:49,764 E [8535] azmlinfsrv - User's init function failed
2026-11-22 02:41:49,765 E [8536] azmlinfsrv - Encountered Exception Traceback (most recent call last):
  File "/server/user_script.py", line 119, in invoke_init
    self._user_init()
  File "/code/score.py", line 2, in init
    raise RuntimeError("weights file is torn")
RuntimeError: weights file is torn

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/server/aml_blueprint.py", line 109, in setup
    self.user_script.invoke_init()
azureml_inference_server_http.server.user_script.UserScriptException: Caught an unhandled exception from the user script

2026-11-22 02:41:49,765 I [8536] azmlinfsrv - Model Directory Contents:
[2026-11-22 02:41:50 +0000] [8534] [ERROR] Reason: Worker failed to boot.
"""


def test_the_reason_of_a_failure_is_the_last_exception_of_the_users_code(tmp_path: Path):
    log = tmp_path / "blue-0.log"
    log.write_text("  earlier\nValueError: earlier\n" + TORN)
    assert last_error(log) == "RuntimeError: weights file is torn"


def test_without_an_exception_the_reason_is_the_last_line(tmp_path: Path):
    log = tmp_path / "blue-0.log"
    log.write_text("one\n two \n\n")
    assert last_error(log) == "two"


def test_without_a_log_the_reason_says_so(tmp_path: Path):
    assert last_error(tmp_path / "none.log") == "no log"
    (tmp_path / "empty.log").touch()
    assert last_error(tmp_path / "empty.log") == "no output"


def test_the_last_lines_of_several_logs_have_headings(tmp_path: Path):
    paths = [tmp_path / "blue-0.log", tmp_path / "blue-1.log", tmp_path / "gone.log"]
    paths[0].write_text("a\nb\nc\n")
    paths[1].write_bytes(b"\xff\n")
    assert read_tail(paths, 2) == "==> blue-0 <==\nb\nc\n==> blue-1 <==\n\N{REPLACEMENT CHARACTER}"
    assert read_tail(paths[:1], 1) == "c"
    assert read_tail(paths[:1], 0) == ""
    assert read_tail([], 5) == ""


def test_a_log_is_cut_while_it_is_written_and_keeps_its_end(tmp_path: Path):
    path = tmp_path / "blue-0.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"x" * LOG_MAX + b"end")
        cap_logs(tmp_path)
        log.write(b"next")
    assert path.read_bytes() == b"next"
    assert (tmp_path / "blue-0.log.1").read_bytes().endswith(b"xend")


def test_the_oldest_logs_beyond_a_number_are_forgotten(tmp_path: Path):
    for age in range(65):
        path = tmp_path / f"old-{age}.log"
        path.touch()
        os.utime(path, (age, age))
    cap_logs(tmp_path)
    assert len(list(tmp_path.iterdir())) == 60
    assert not (tmp_path / "old-4.log").exists()
    assert (tmp_path / "old-5.log").exists()
