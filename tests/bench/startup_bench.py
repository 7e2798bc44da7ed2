"""What it costs to start: whole processes, from exec to exit, each beside the interpreter alone and what it imports.

Run: ``python tests/bench/startup_bench.py [RUNS]``. Prints medians and ratios; asserts nothing.

The commands take turns, so that whatever else the machine does meets all of them alike. Wall time is what a user waits;
processor time is what remains comparable on a busy machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MANIFEST = "manifests/local/quickstart.yaml"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import typer'": ["-c", "import typer"],
    "deployer --help": ["-m", "deployer", "--help"],
    f"deployer validate {MANIFEST}": ["-m", "deployer", "validate", MANIFEST],
    "python -c 'import azure.ai.ml'": ["-W", "ignore", "-c", "import azure.ai.ml"],
}
HEAVY = ("azure", "numpy", "scipy", "duckdb", "locust", "rich", "jsonschema", "pydantic")
IMPORTED = """
import sys
from deployer.cli import main
try:
    main()
except SystemExit:
    pass
roots = {name.partition(".")[0] for name in sys.modules}
print(len(sys.modules), *sorted(roots), file=sys.stderr)
"""


def run(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime


def imported(arguments: list[str]) -> tuple[int, list[str]]:
    """How many modules a deployer command imports, and which of the heavy ones."""
    found = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    count, *roots = found.stderr.split()
    return int(count), [name for name in HEAVY if name in roots]


def main(runs: int) -> None:
    print(
        f"{runs} runs of each, taking turns, after one to warm up; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, arguments in COMMANDS.items():
            measured = run(arguments)
            if turn:
                times[name].append(measured)
    base = statistics.median(wall for wall, _ in times["python -c pass"])
    sdk = statistics.median(wall for wall, _ in times["python -c 'import azure.ai.ml'"])
    print(f"{'':52} wall median (min)     processor median   x pass   of the SDK's import")
    for name, measured in times.items():
        walls, processors = zip(*measured, strict=True)
        wall = statistics.median(walls)
        print(
            f"{name:52} {wall:.3f} s ({min(walls):.3f} s)   {statistics.median(processors):.3f} s"
            f"            {wall / base:5.1f}   {wall / sdk:6.1%}"
        )
    for arguments in (["--help"], ["validate", MANIFEST]):
        count, heavy = imported(arguments)
        azure = "azure is imported" if "azure" in heavy else "azure is not imported"
        print(f"deployer {arguments[0]}: {count} modules, {azure}; of the heavy ones: {', '.join(heavy) or 'none'}")
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
