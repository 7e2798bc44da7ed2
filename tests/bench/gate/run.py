"""The gate against its bar: false rollbacks, misses, wrong passes, time and requests to decide, beside peers and an oracle.

    python tests/bench/gate/run.py            # quick: a minute or two on one core
    python tests/bench/gate/run.py --full     # an hour or more; seeds are kept, so numbers repeat
    python tests/bench/gate/run.py --false 5 200    # only false rollbacks: requests a second, rollouts of each kind

Streams are disjoint from those that tests use. Times are medians in seconds from the first exposure, telemetry lag
(30-180 s) and a look every 30 s included; the oracle sees and looks alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import oracle
import peers
import replaying
import streams

from deployer.manifest.schema import Gate, Slo

SLO = Slo(latency={"p95": "330ms", "p99": "930ms"}, error_rate="1%")
GATE = Gate()
FIRST_SEED = 5000


def median(values):
    return f"{np.median(values):6.0f}" if len(values) else "     -"


def judge(names, rps, seeds, weight=0.1):
    """Rows of (name, results, oracle) for every scenario."""
    for name in names:
        made = [streams.make(name, rps, FIRST_SEED + seed, weight=weight) for seed in range(seeds)]
        yield name, [replaying.run(stream, SLO, GATE, weight_pct=round(100 * weight)) for stream in made], made


def report(rps, seeds, weight, names):
    print(f"\n## {rps:g} requests/s, weight {weight:.0%}, {seeds} rollouts each")
    print(
        f"{'candidate':<16} {'fail':>6} {'pass':>6} {'time s':>6} {'reqs':>6} {'oracle':>6} {'ratio':>6}  first pass s"
    )
    ratios, false, good = [], 0, 0
    for name, results, made in judge(names, rps, seeds, weight):
        failed = [row for row in results if row[0] == "fail"]
        best = [found for stream in made if (found := oracle.sprt(stream))] if name in streams.BAD else []
        ratio = "     -"
        if name in streams.BAD and failed and best:
            value = np.median([row[1] for row in failed]) / np.median([found[0] for found in best])
            ratios.append(value)
            ratio = f"{value:6.2f}"
        if name in streams.GOOD:
            false, good = false + len(failed), good + len(results)
        passed = [row[3] for row in results if row[3]]
        print(
            f"{name:<16} {len(failed) / seeds:6.1%} {sum(row[0] == 'pass' for row in results) / seeds:6.1%}"
            f" {median([row[1] for row in failed])} {median([row[2] for row in failed])}"
            f" {median([found[0] for found in best])} {ratio}  {median(passed)}",
            flush=True,
        )
    if good:
        print(f"false rollbacks over all good: {false} of {good} = {false / good:.2%}")
    if ratios:
        print(f"median time over the oracle's: {np.median(ratios):.2f}")


def false_rollbacks(rps, seeds):
    """Good candidates that are rolled back; a look every minute, every two where a block lasts five."""
    every_s, total = (60.0 if rps >= 1 else 120.0), 0
    print(f"\n## false rollbacks, {rps:g} requests/s, {seeds} rollouts each, a look every {every_s:g} s")
    for name in streams.GOOD:
        made = (streams.make(name, rps, FIRST_SEED + seed) for seed in range(seeds))
        found = [replaying.run(stream, SLO, GATE, every_s=every_s, prove=False)[0] == "fail" for stream in made]
        total += sum(found)
        print(f"{name:<16} {sum(found):>4} {sum(found) / seeds:6.2%}", flush=True)
    print(f"{'all':<16} {total:>4} {total / seeds / len(streams.GOOD):6.2%}")


def compare(rps):
    """One stream of every scenario: the gate beside its peers."""
    made = {name: streams.make(name, rps, FIRST_SEED) for name in (*streams.GOOD, *streams.BAD)}
    rules = {"this gate": lambda stream: replaying.run(stream, SLO, GATE)[:2], **peers.PEERS}
    print(f"\n## peers on one stream of each kind, {rps:g} requests/s")
    print(
        f"{'rule':<20} {'false of ' + str(len(streams.GOOD)):>12} {'caught of ' + str(len(streams.BAD)):>12} {'median s':>9}"
    )
    for rule, decide in rules.items():
        found = {name: decide(stream) for name, stream in made.items()}
        false = sum(found[name][0] == "fail" for name in streams.GOOD)
        caught = [found[name][1] for name in streams.BAD if found[name][0] == "fail"]
        print(f"{rule:<20} {false:>12} {len(caught):>12} {median(caught):>9}", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--full", action="store_true")
    options.add_argument("--false", nargs=2, type=float, metavar=("RPS", "RUNS"))
    given = options.parse_args()
    full = given.full
    began = time.monotonic()
    everything = (*streams.GOOD, *streams.BAD, *streams.NEITHER)
    if given.false:
        false_rollbacks(given.false[0], int(given.false[1]))
    elif full:
        report(0.2, 1000, 0.1, everything)
        report(5, 1000, 0.1, everything)
        report(5, 100, 0.5, ("identical", *streams.BAD))
        report(200, 50, 0.1, everything)
        for rps in (5, 50):
            compare(rps)
    else:
        report(0.2, 3, 0.1, ("identical", "incident", "slower_50", "errors_100"))
        report(
            5,
            3,
            0.1,
            ("identical", "incident", "lag_by_arm", "slower_20", "slower_50", "errors_5", "errors_100", "leak"),
        )
        report(200, 1, 0.1, ("identical", "stall", "slower_50", "errors_1"))
        compare(5)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
