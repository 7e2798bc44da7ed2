"""Faults on the wire of a rollout with the real SDKs over HTTPS: 300 histories, each ends whole and converges."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_histories import history
from https_rollouts import FAULTS, https_world, undisturbed

from deployer.errors import ExitCode

pytestmark = pytest.mark.azure

OPERATIONS = ("lro_failed", "lro_half", "lro_canceled", "lro_gone", "lro_never")
ON_READS = (
    *("401", "403", "404", "429", "429 absurd", "500", "503", "504", "cut", "lost", "invalid_json", "truncated"),
    *("token_expired", "stale", "missing", "list_misses", "still_updating", "no properties"),
)
ON_WRITES = (
    *("400", "401", "403", "404", "409", "409 retry after", "412", "429", "429 seconds", "429 date", "429 absurd"),
    *("500", "502", "503", "504", "cut", "lost", "invalid_json", "truncated", "token_expired"),
)
PASSING = frozenset({*ON_READS, *ON_WRITES, "lro_canceled", "lro_gone"} - {"400", "403"})
"""Faults of a moment. A 404 to a write and a failed operation are none, nor is a deployment whose making was cancelled."""
WRITES = ("PUT", "PATCH", "DELETE")


def is_main(method: str, path: str) -> bool:
    """It moves traffic, or makes or deletes a deployment."""
    return method in ("PUT", "DELETE") and "/onlineEndpoints/" in path


def singles() -> Iterator[tuple[int, str]]:
    """Every request at least once, the writes that matter with every fault."""
    for number, (method, path) in enumerate(undisturbed()):
        if is_main(method, path):
            yield from ((number, fault) for fault in (*ON_WRITES, *OPERATIONS))
        elif method in WRITES:
            yield from ((number, ON_WRITES[(number * 7 + turn * 5) % len(ON_WRITES)]) for turn in range(2))
        else:
            yield number, ON_READS[number * 5 % len(ON_READS)]


def _passes(fault: str, method: str, path: str) -> bool:
    if fault == "404" and method in WRITES:
        return False
    return fault in PASSING and not (fault == "lro_canceled" and "/deployments/" in path)


def check(home: Path, faults: dict[int, str], *, bad: bool = False, kind: str = "managed") -> None:
    home.mkdir()
    with https_world(home, bad=bad, kind=kind) as world:
        ended = history(home, faults, bad=bad, world=world)
        asked = undisturbed(bad=bad)
        rides = all(_passes(fault, *asked[number]) for number, fault in faults.items() if number < len(asked))
        smoked = "smoke test" in str(ended)  # it is sent once, so a fault on its request is a verdict
        if len(faults) == 1 and rides and not smoked:
            assert ended.exit_code is (ExitCode.GATE_FAILED if bad else ExitCode.OK), f"{faults}: {ended}"


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_on_kubernetes_a_rollout_that_nothing_happens_to_ends_as_on_managed(tmp_path: Path, *, bad: bool) -> None:
    check(tmp_path / "none", {}, bad=bad, kind="kubernetes")


def planned(seed: int, *, bad: bool) -> dict[int, str]:
    """Two faults, or one that lasts."""
    rng, asked = random.Random(seed), undisturbed(bad=bad)
    faults: dict[int, str] = {}
    for _ in range(2):
        start = rng.randrange(len(asked))
        for number in range(start, start + rng.choice((1, 1, 1, 4))):
            method, path = asked[min(number, len(asked) - 1)]
            kinds = (*ON_WRITES, *OPERATIONS) if is_main(method, path) else ON_WRITES if method in WRITES else ON_READS
            faults[number] = rng.choice(kinds)
    return faults


def test_all_faults_of_the_double_are_met() -> None:
    assert {fault for _, fault in singles()} == set(FAULTS)


@pytest.mark.parametrize("turn", range(8))
def test_a_fault_on_the_wire_ends_whole_and_the_next_run_converges(turn: int, tmp_path: Path) -> None:
    some = list(singles())[turn * 5 :: 41]
    number, fault = some[turn % len(some)]
    check(tmp_path / f"{number}", {number: fault})


@pytest.mark.slow
@pytest.mark.parametrize("part", range(24))
def test_every_fault_on_the_wire_ends_whole_and_the_next_run_converges(part: int, tmp_path: Path) -> None:
    for number, fault in list(singles())[part::24]:
        check(tmp_path / f"{number}-{fault}", {number: fault})


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_on_kubernetes_a_fault_on_the_wire_ends_whole_and_the_next_run_converges(part: int, tmp_path: Path) -> None:
    for number, fault in list(singles())[part * 3 :: 24]:
        home = tmp_path / f"{number}-{fault}"
        home.mkdir()
        with https_world(home, kind="kubernetes") as world:  # its calls are not quite the same ones
            history(home, {number: fault}, world=world)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_two_faults_on_the_wire_end_whole_and_the_next_run_converges(seed: int, tmp_path: Path) -> None:
    bad = seed % 2 == 1
    check(tmp_path / "two", planned(seed, bad=bad), bad=bad)
