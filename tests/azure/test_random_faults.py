"""Several faults in one rollout on Azure, by seed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from azure_histories import ON_READS, ON_WRITES, history
from azure_rollouts import undisturbed


def planned(seed: int, *, bad: bool) -> dict[int, str]:
    """Two to five faults, some of them one after the other."""
    rng, calls = random.Random(seed), undisturbed(bad=bad)
    faults: dict[int, str] = {}
    for _ in range(rng.randint(2, 5)):
        start = rng.randrange(len(calls))
        for number in range(start, start + rng.choice((1, 1, 1, 3, 6))):
            call = calls[min(number, len(calls) - 1)]
            faults[number] = rng.choice(ON_WRITES if call.is_write else ON_READS)
    return faults


@pytest.mark.parametrize("seed", range(8))
def test_some_faults_together_end_whole_and_the_next_run_converges(seed: int, tmp_path: Path) -> None:
    bad = seed % 2 == 1
    history(tmp_path, planned(seed, bad=bad), bad=bad)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 400))
def test_many_faults_together_end_whole_and_the_next_run_converges(seed: int, tmp_path: Path) -> None:
    bad = seed % 2 == 1
    history(tmp_path, planned(seed, bad=bad), bad=bad)
