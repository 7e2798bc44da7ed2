"""Answer over truth on servers of known capacity, beside other methods on the same servers.

``python tests/bench/profile/run.py [--full] [--seeds N] [--first N] [--only NAME]`` (quick: 5 seeds, minutes on one core;
full: 20). Seeds below 1000 were used while the method was tuned; reports start at 1000.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from baselines import BASELINES
from ours import search
from servers import SERVERS, Live, Server

LOW, HIGH = 0.95, 1.02


def ours(server: Server, truth: float, seeds: range) -> dict[str, float]:
    ratios, covered, load, cpu, refused, flat = [], [], [], [], 0, 0
    for seed in seeds:
        began = time.process_time()
        capacity = search(server, seed)
        cpu.append(time.process_time() - began)
        refused += capacity.infeasible
        flat += "flat" in capacity.note
        ratios.append(capacity.sustainable_rps / truth if truth else capacity.sustainable_rps)
        covered.append(capacity.lower <= truth <= capacity.upper)
        load.append(capacity.load_seconds)
        print(f"    {server.name}, seed {seed}: {ratios[-1]:.3f}, {load[-1]:.0f} s of load"
              f"{'' if covered[-1] else ', truth outside the interval'}", file=sys.stderr, flush=True)  # fmt: skip
    return {"mean": np.mean(ratios), "min": min(ratios), "max": max(ratios), "within": np.mean([LOW <= r <= HIGH for r in ratios]),
            "covered": np.mean(covered), "load": np.mean(load), "cpu": np.mean(cpu), "infeasible": refused, "flat": flat}  # fmt: skip


def theirs(server: Server, truth: float, method, seeds: range) -> tuple[float, float, float, float]:
    ratios, load = [], []
    for seed in seeds:
        live = Live(server, seed)
        ratios.append(method(server, live, seed) / (truth or 1))
        load.append(live.load_s)
    return float(np.mean(ratios)), min(ratios), max(ratios), float(np.mean(load))


def show(server: Server, truth: float, seeds: range) -> bool:
    """Print one server's rows; True: every bar is met."""
    mine = ours(server, truth, seeds)
    print(f"\n{server.name}: truth {truth:.4g} rps" if truth else f"\n{server.name}: infeasible")
    said = (
        f"infeasible said {mine['infeasible']}/{len(seeds)}" if not truth else f"interval covers {mine['covered']:.0%}"
    )
    flat = f"  nearly flat said {mine['flat']}/{len(seeds)}" if server.flat else ""
    unit = "" if truth else " rps"
    print(f"  {'deployer profile':18s} {mine['mean']:.3f} ({mine['min']:.3f}-{mine['max']:.3f}){unit}  {mine['load']:.0f} s of load  "
          f"{mine['cpu']:.1f} s CPU  within {mine['within']:.0%}  {said}{flat}")  # fmt: skip
    reference = 0.0
    for name, method in BASELINES.items():
        mean, low, high, load = theirs(server, truth, method, seeds[:5])
        reference = reference or load
        print(f"  {name:18s} {mean:.3f} ({low:.3f}-{high:.3f}){unit}  {load:.0f} s of load", flush=True)
    is_quick = mine["load"] < 0.5 * reference
    if not truth:
        is_met = mine["infeasible"] == len(seeds)
    elif server.flat:
        is_met = mine["flat"] >= 0.8 * len(seeds)
    else:
        is_met = mine["within"] == 1.0 and mine["covered"] >= 0.9 and is_quick
    print(f"  load {mine['load'] / reference:.2f} of LoadGen's; {'bars met' if is_met else 'BARS MISSED'}", flush=True)
    return is_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--only")
    asked = parser.parse_args()
    count = asked.seeds or (20 if asked.full else 5)
    truths = json.loads(Path(__file__).with_name("truths.json").read_text())
    servers = [server for server in SERVERS if asked.only in (None, server.name)]
    met = [show(server, truths[server.name]["rps"], range(asked.first, asked.first + count)) for server in servers]
    print(f"\nbars met on {sum(met)} of {len(met)} servers, {count} seeds each")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
