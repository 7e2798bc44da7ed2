"""Every fault at every call of a rollout on Azure: it ends whole, says why, and the next run converges.

The engine, the adapter and azure-core are real; the service is in memory and its clock costs nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from azure_histories import ON_READS, ON_WRITES, PASSING, history
from azure_rollouts import undisturbed
from faulty_wire import FAULTS, Call

from deployer.errors import ExitCode


def strikes(fault: str, call: Call) -> bool:
    if fault == "list misses" and not call.path.endswith("/deployments"):
        return False
    return fault in (ON_WRITES if call.is_write else ON_READS)


def test_every_fault_strikes_something() -> None:
    assert set(FAULTS) - {"409 registration"} == {*ON_READS, *ON_WRITES}


def check(fault: str, call: Call, home: Path, *, bad: bool = False) -> None:
    ended = history(home / str(call.number), {call.number: fault}, bad=bad)
    wanted = ExitCode.GATE_FAILED if bad else ExitCode.OK
    assert ended.exit_code is wanted or fault not in PASSING, f"{fault} at {call}: {ended}"


def is_traffic(call: Call) -> bool:
    return call.method == "PUT" and call.path.endswith("/digits")


@pytest.mark.parametrize(("turn", "fault"), list(enumerate(ON_WRITES)))
def test_a_fault_at_a_write_ends_whole_and_the_next_run_converges(turn: int, fault: str, tmp_path: Path) -> None:
    writes = [call for call in undisturbed() if call.is_write and not is_traffic(call)]
    traffic = [call for call in undisturbed() if is_traffic(call)]
    check(fault, traffic[turn % len(traffic)], tmp_path)
    check(fault, writes[turn % len(writes)], tmp_path)


@pytest.mark.parametrize(("turn", "fault"), list(enumerate(ON_READS)))
def test_a_fault_at_a_read_ends_whole_and_the_next_run_converges(turn: int, fault: str, tmp_path: Path) -> None:
    reads = [call for call in undisturbed() if strikes(fault, call)]
    for call in reads[turn :: len(reads) // 3]:
        check(fault, call, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("fault", sorted({*ON_READS, *ON_WRITES}))
def test_a_fault_at_any_call_ends_whole_and_the_next_run_converges(fault: str, tmp_path: Path, *, bad: bool) -> None:
    for call in undisturbed(bad=bad):
        if strikes(fault, call):
            check(fault, call, tmp_path, bad=bad)
