"""Recorded traffic for ``gate backtest``: a Parquet or CSV file of requests, read as counts in bounded memory.

DuckDB groups the rows by look, cell of time, deployment, code and latency bin (spilling to disk if it must); Python
sees only groups, in the order in which they became visible.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np

from deployer.errors import UsageError
from deployer.gate.backtest import LAG_BINS, Arrivals, Outcome, Replay, backtest
from deployer.gate.blocks import fetch_block_s
from deployer.gate.evidence import named_targets
from deployer.gate.histogram import LINEAR_MS, MAX_MS, RATIO
from deployer.gate.ledger import CANDIDATE, STABLE, class_codes, utc
from deployer.gate.permutation import Ints
from deployer.gate.samples import classify
from deployer.gate.simulate import World, picture, simulate
from deployer.gate.verdict import Shift
from deployer.manifest.schema import Gate, Slo

COLUMNS = ("timestamp", "ingested_at", "deployment", "duration_ms", "status")
MEMORY = "1GB"
_BATCH = 200_000
_TRAILING = 1000
"""Looks without anything new, after which nothing can change: what was late has come, or will be seen when it does."""
_SHIFTS = 100
"""More changes of weight than this were made by nobody: they are shares that were seen."""
_BESIDE = 0.05
"""A stable that gave more than this share of the answers had traffic."""


class Trace:
    """One recorded file; use as a context manager."""

    def __init__(self, path: Path, *, stable: str, candidate: str) -> None:
        self.path = path
        if stable == candidate:
            raise UsageError(
                f"--stable and --candidate are both {stable}", hint="Name two deployments of the recording."
            )
        self._arms = {stable: STABLE, candidate: CANDIDATE}
        self._scratch = tempfile.TemporaryDirectory(prefix="deployer-trace-")
        self._db = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": self._scratch.name, "threads": 2})
        self._db.execute("SET TimeZone = 'UTC'")
        try:
            self._open(stable, candidate)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and remove what was spilled."""
        self._db.close()
        self._scratch.cleanup()

    def _open(self, stable: str, candidate: str) -> None:
        name = str(self.path)
        try:
            if self.path.suffix.lower() == ".csv":
                rows = self._db.read_csv(name, header=True)
            else:
                rows = self._db.read_parquet(name)
            missing = [column for column in COLUMNS if column not in rows.columns]
            if missing:
                raise UsageError(
                    f"{name}: no column {', '.join(missing)}",
                    hint=f"Write one row a request with {', '.join(COLUMNS)}.",
                )
            weight = "nullif(CAST(weight AS DOUBLE), 'NaN')" if "weight" in rows.columns else "NULL"
            rows.create_view("file")
            self._db.execute(
                f"""CREATE VIEW trace AS SELECT epoch(CAST(timestamp AS TIMESTAMPTZ)) AS answered_s,
                epoch(CAST(ingested_at AS TIMESTAMPTZ)) AS seen_s, CAST(deployment AS VARCHAR) AS deployment,
                CASE CAST(duration_ms AS DOUBLE) WHEN 'inf' THEN {MAX_MS} ELSE CAST(duration_ms AS DOUBLE) END AS ms,
                CAST(status AS INTEGER) AS status, {weight} AS weight FROM file
                WHERE status IS NULL OR CAST(status AS INTEGER) NOT BETWEEN 100 AND 199"""  # noqa: S608  # fixed names
            )
            self._check(stable, candidate)
        except duckdb.Error as exc:
            raise UsageError(
                f"{name} cannot be read as a telemetry trace: {str(exc).splitlines()[0]}",
                hint=f"Give a Parquet or CSV file with {', '.join(COLUMNS)} (times in UTC).",
            ) from exc

    def _check(self, stable: str, candidate: str) -> None:
        bad, odd, names = self._db.execute(
            "SELECT count(*) FILTER (answered_s + seen_s + status + ms IS NULL OR deployment IS NULL "
            "OR isnan(ms) OR ms < 0), min(weight) FILTER (weight NOT BETWEEN 0 AND 100), "
            "list(DISTINCT deployment) FROM trace"
        ).fetchall()[0]
        if bad:
            raise UsageError(
                f"{self.path}: {bad} rows lack a value or have a negative duration", hint="Remove or repair these rows."
            )
        if odd is not None:
            raise UsageError(
                f"{self.path}: a weight is {odd:g}",
                hint="Write weights in whole percent, 0 to 100, or leave the column out.",
            )
        absent = [name for name in (stable, candidate) if name not in (names or [])]
        if absent and names != [candidate]:
            raise UsageError(
                f"{self.path}: no rows of {', '.join(absent)}; it holds {', '.join(sorted(names or [])) or 'nothing'}",
                hint="Name the deployments as the file does, with --stable and --candidate.",
            )

    @property
    def has_stable(self) -> bool:
        """Whether anything but the candidate answered."""
        stable, _ = self._arms
        return bool(self._db.execute("SELECT count(*) FROM trace WHERE deployment = ?", [stable]).fetchall()[0][0])

    def shifts(self, candidate: str) -> tuple[tuple[Shift, ...], bool]:
        """Weight changes from the first exposure on, and whether they are recorded (else only the first is known)."""
        rows = self._db.execute(
            "SELECT floor(answered_s) AS second, mode(weight) AS weight, min(answered_s) FROM trace "
            "WHERE weight IS NOT NULL GROUP BY second ORDER BY second"
        ).fetchall()
        found: list[Shift] = []
        for _, weight, first in rows:
            now = round(weight)
            if (found or now > 0) and (not found or found[-1].weight_pct != now):
                found.append(Shift(utc(first), now))
        if self._are_set(found):
            return tuple(found), True
        first = self._db.execute("SELECT min(answered_s) FROM trace WHERE deployment = ?", [candidate]).fetchall()[0][0]
        return (Shift(utc(first), 50),), False

    def _are_set(self, shifts: list[Shift]) -> bool:
        """Whether recorded weights can be those that somebody set, in percent: few, and no stable traffic at 100 %."""
        stable, candidate = self._arms
        mine, other, are_shares = self._db.execute(
            "SELECT count(*) FILTER (deployment = ? AND weight > 99.5), "
            "count(*) FILTER (deployment = ? AND weight > 99.5), "
            "coalesce(max(weight) <= 1 AND bool_or(weight != round(weight)), false) FROM trace",
            [candidate, stable],
        ).fetchall()[0]
        return 0 < len(shifts) <= _SHIFTS and other <= _BESIDE * (mine + other) and not are_shares

    def arrivals(self, since_s: float, every_s: float, cell_s: float, slo: Slo) -> Iterator[Arrivals]:
        """Counts by look, oldest first; a look at which nothing new was visible is there too."""
        limits = ", ".join(f"CAST(ms > {limit!r} AS TINYINT)" for _, limit in named_targets(slo)) or "0"
        look = f"greatest(1, CAST(ceil((seen_s - {since_s!r}) / {every_s!r}) AS BIGINT))"
        arms = "CASE deployment " + " ".join(f"WHEN ? THEN {arm}" for arm in self._arms.values()) + " END"
        # the smallest duration of a bin stands for it: a group lies within one bin, on one side of each target
        logs = f"{LINEAR_MS} + floor(ln(ms / {LINEAR_MS}) / ln({RATIO}))"
        size = f"CASE WHEN ms < {LINEAR_MS} THEN floor(ms) ELSE {logs} END"
        rest = "count(*) AS n FROM trace WHERE deployment IN (?, ?) GROUP BY ALL ORDER BY look"
        groups = f"""SELECT {look} AS look, floor(answered_s / {cell_s!r}) * {cell_s!r} AS cell, {arms} AS arm, status,
            {size} AS bin, [{limits}] AS over, min(ms) AS ms, {rest}"""
        lag = f"greatest(0, least({LAG_BINS - 1}, CAST(floor(seen_s - answered_s) AS BIGINT)))"
        lags = f"SELECT {look} AS look, {arms} AS arm, {lag} AS lag, {rest}"
        names = [*self._arms, *self._arms]
        late = _by_look(self._batches(lags, names), ("arm", "lag", "n"))
        coming = next(late, None)
        most = min(int(LAG_BINS / every_s) + 2, _TRAILING)
        found = _by_look(self._batches(groups, names), ("cell", "arm", "status", "ms", "n"))
        for at, columns in _filled(found, most):
            seen = np.zeros((2, LAG_BINS), np.int64)
            if coming is not None and coming[0] == at:
                np.add.at(seen, (coming[1]["arm"].astype(np.int64), coming[1]["lag"]), coming[1]["n"])
                coming = next(late, None)
            yield _arrivals(since_s + at * every_s, columns, seen)

    def _batches(self, query: str, names: list[str]) -> Iterator[Any]:
        reader: Any = self._db.cursor().sql(query, params=names).to_arrow_reader(_BATCH)
        yield from reader


def _by_look(batches: Iterator[Any], names: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Regroup Arrow record batches (sorted by look) into one group a look; they have no type stubs, hence Any."""
    held: list[dict[str, Any]] = []
    current = 0
    for batch in batches:
        looks: Ints = batch.column("look").to_numpy()
        columns: dict[str, Any] = {name: batch.column(name).to_numpy() for name in names}
        edges = [0, *(np.flatnonzero(np.diff(looks)) + 1).tolist(), len(looks)]
        for first, last in pairwise(edges):
            if first == last:
                continue
            if held and int(looks[first]) != current:
                yield current, _joined(held)
                held = []
            current = int(looks[first])
            held.append({name: column[first:last] for name, column in columns.items()})
    if held:
        yield current, _joined(held)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _filled(groups: Iterator[tuple[int, dict[str, Any]]], most: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Add the looks at which nothing new was visible: the first ``most`` of a silence, the others are like them."""
    last = 0
    for look, columns in groups:
        for quiet in range(last + 1, min(look, last + 1 + most)):
            yield quiet, {}
        yield look, columns
        last = look


def _arrivals(now_s: float, columns: dict[str, Any], lags: Ints) -> Arrivals:
    if not columns:
        none = np.zeros(0, np.int64)
        return Arrivals(now_s, np.zeros(0), none, none, none, none, lags)
    codes, places = np.unique(columns["status"], return_inverse=True)
    classes = class_codes([classify(int(code)) for code in codes])[places]
    return Arrivals(now_s, columns["cell"], columns["arm"].astype(np.int64), classes, columns["ms"], columns["n"], lags)


def replay_trace(
    slo: Slo, gate: Gate, path: Path, *, stable: str, candidate: str, every_s: float, least_s: float = 0.0
) -> Outcome:
    """Replay a recorded file through the gate.

    Args:
        slo: targets of the manifest.
        gate: rules of the manifest.
        path: Parquet or CSV.
        stable: name of the stable's deployment in the file.
        candidate: name of the candidate's.
        every_s: seconds between looks.
        least_s: no PASS before the candidate has had traffic for so long (``strategy.canary.each.min``).

    Raises:
        UsageError: the file cannot be read, lacks columns, values or one of the deployments.
    """
    with Trace(path, stable=stable, candidate=candidate) as trace:
        shifts, known = trace.shifts(candidate)
        replay = Replay(slo, gate, fetch_block_s(gate), shifts, least_s, stable=trace.has_stable, weights_known=known)
        since_s = shifts[0].at.timestamp()

        def looks() -> Iterator[Arrivals]:
            now_s = since_s
            for arrivals in trace.arrivals(since_s, every_s, replay.cell_s, slo):
                now_s = arrivals.now_s
                yield arrivals
            settle_s = replay.lags.settle_s(careful=True) if gate.settle is None else gate.settle
            for look in range(1, min(int(settle_s / every_s) + 2, _TRAILING)):
                yield _arrivals(now_s + look * every_s, {}, np.zeros((2, LAG_BINS), np.int64))

        return backtest(looks(), replay)


def run_simulation(
    slo: Slo,
    gate: Gate,
    *,
    rps: float,
    weight_pct: int = 10,
    duration_s: float = 1800.0,
    runs: int = 20,
    seed: int = 1,
    lag_s: tuple[float, float] = (0.0, 0.0),
    every_s: float | None = None,
) -> dict[str, Any]:
    """Simulate the gate at this traffic (``gate.simulate``), with its picture under ``picture``."""
    world = World(slo, gate, rps, weight_pct, duration_s, lag_s, every_s)
    result = simulate(world, np.random.default_rng(seed), runs)
    return {**result, "picture": picture(result)}
