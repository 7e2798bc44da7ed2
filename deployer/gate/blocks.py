"""Short blocks of event time in which the two arms are compared.

Within a block the arms saw the same minutes, so load, bursts and shared incidents cancel. Where a block ends depends on
total traffic and on the clock only, never on outcomes or on which arm answered: given a block, its labels are a draw.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deployer.gate.histogram import RAW_BINS, Counts, spread
from deployer.gate.ledger import CANDIDATE, CLIENT, ERROR, OK, SERVED, STABLE, THROTTLED, TIMEOUT, Ledger
from deployer.gate.verdict import Moment
from deployer.manifest.schema import Gate

LONGEST_S = 600.0
"""A block ends here however little traffic there was."""
ENOUGH = 60
"""Requests of both arms at which a block may end."""
LOOKS = 3
"""A block is at least so many looks long, within 1-30 s."""
FRESH = 20
"""The same for the breaker, which waits for nothing."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Counts by (block) or (block, arm), oldest first."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    paired: NDArray[np.bool_]
    """The stable had traffic at the same time."""
    warm: NDArray[np.bool_]
    """Latency counts (not within ``warm_up``)."""
    n: NDArray[np.int64]
    errors: NDArray[np.int64]
    throttled: NDArray[np.int64]
    client: NDArray[np.int64]
    timed: NDArray[np.int64]
    """Answers with a latency (ok ones and time-outs)."""
    late: NDArray[np.int64]
    """By (block, arm, limit)."""
    fine: tuple[Counts, Counts]
    """Latency of ok answers and time-outs on the fine grid, by (block, bin), for each arm."""

    @property
    def length_s(self) -> NDArray[np.float64]:
        """Seconds of each block."""
        return self.ends - self.starts

    def reached(self) -> NDArray[np.int64]:
        """Answers of both arms up to each bin of the fine grid."""
        return np.cumsum(self.fine[CANDIDATE].sum(axis=0) + self.fine[STABLE].sum(axis=0))


def fetch_block_s(gate: Gate) -> float:
    """Length of the cells that telemetry should count by, in seconds: a whole part of a block, about a look."""
    cell = min(max(gate.look, 1.0), 10.0)
    if gate.block is None:
        return cell
    return gate.block / max(1, round(gate.block / cell))


def least_s(gate: Gate) -> float:
    """Least length of an automatic block: three looks, within 1-30 s."""
    return min(max(LOOKS * gate.look, 1.0), 30.0)


def seconds(moment: Moment) -> tuple[list[float], list[int]]:
    """When the weights of this rollout began (seconds since the epoch), and the weights in percent."""
    return [shift.at.timestamp() for shift in moment.shifts], [shift.weight_pct for shift in moment.shifts]


def score_blocks(ledger: Ledger, gate: Gate, moment: Moment, until_s: float) -> Blocks:
    """Blocks to be scored: complete cells between weight changes up to ``until_s``; the last may be unfinished."""
    at, weights = seconds(moment)
    pieces: list[tuple[int, int, float, float, bool, bool]] = []
    warm_s = at[0] + gate.warm_up
    shortest = least_s(gate) if gate.block is None else gate.block
    longest = LONGEST_S if gate.block is None else gate.block
    edges: list[float] = sorted({*at, warm_s} if gate.warm_up else set(at))
    totals = ledger.served(CANDIDATE) + ledger.served(STABLE)
    for low, high in zip(edges, [*edges[1:], math.inf], strict=True):
        weight = weights[bisect_right(at, low) - 1]
        paired = moment.stable is not None and (moment.mirrored or weight < 100)
        rows = ledger.rows(low, min(high, until_s))
        enough = ENOUGH if gate.block is None else 0
        for first, last, start, end in _group(ledger, totals, rows, low, (shortest, longest, enough)):
            pieces.append((first, last, start, min(end, high), paired, low >= warm_s))
    return _collect(ledger, pieces, timed=True)


def fresh_blocks(ledger: Ledger, gate: Gate, moment: Moment) -> Blocks:
    """Blocks of everything since the first exposure, complete or not: for the breaker only (counts, no latency)."""
    at, weights = seconds(moment)
    totals = ledger.served(CANDIDATE) + ledger.served(STABLE)
    pieces: list[tuple[int, int, float, float, bool, bool]] = []
    shortest = max(ledger.cell_s, min(gate.look, least_s(gate)))
    edges = [at[0] - ledger.cell_s, *at[1:], math.inf]
    for (low, high), weight in zip(pairwise(edges), weights, strict=True):
        paired = moment.stable is not None and (moment.mirrored or weight < 100)
        first, last = np.searchsorted(ledger.starts, [low + ledger.cell_s * 1e-6, high])
        rows = slice(int(first), int(last))
        groups = _group(ledger, totals, rows, max(low, 0.0), (shortest, LONGEST_S, FRESH))
        pieces.extend((*group, paired, True) for group in groups)
    return _collect(ledger, pieces, timed=False)


def _group(
    ledger: Ledger, totals: NDArray[np.int64], rows: slice, origin_s: float, limits: tuple[float, float, int]
) -> list[tuple[int, int, float, float]]:
    """Cut ``rows`` into (first row, last row + 1, start, end): each at least so long and so full, at most so long."""
    shortest, longest, enough = limits
    cell, slack = ledger.cell_s, ledger.cell_s * 1e-3
    groups: list[tuple[int, int, float, float]] = []
    opened, start, seen = rows.start, origin_s, 0
    cells = zip(range(rows.start, rows.stop), ledger.starts[rows].tolist(), totals[rows].tolist(), strict=True)
    for row, begin, answers in cells:  # lists: this loop runs over every cell at every look
        if begin + cell > start + longest + slack and row > opened:
            groups.append((opened, row, start, start + longest))
            opened, start, seen = row, start + longest, 0
        if row == opened:
            start += max(0.0, math.floor((begin - start + slack) / shortest)) * shortest
        seen += answers
        end = begin + cell
        if seen >= enough and end >= start + shortest - slack:
            groups.append((opened, row + 1, start, end))
            opened, start, seen = row + 1, end, 0
    if opened < rows.stop:
        groups.append((opened, rows.stop, start, float(ledger.starts[rows.stop - 1]) + cell))
    return groups


Pieces = tuple[tuple[int, int, float, float, bool, bool], ...]
"""Blocks to be: first row, last row + 1, start, end, paired, warm."""
Latencies = tuple[NDArray[np.int64], tuple[Counts, Counts]]


def _collect(ledger: Ledger, pieces: Sequence[tuple[int, int, float, float, bool, bool]], *, timed: bool) -> Blocks:
    running = np.concatenate([np.zeros((1, 2, 5), np.int64), np.cumsum(ledger.counts, axis=0)])
    firsts = np.array([piece[0] for piece in pieces], np.int64)
    lasts = np.array([piece[1] for piece in pieces], np.int64)
    counts = running[lasts] - running[firsts]

    late, fine = _latencies(ledger, tuple(pieces)) if timed else _latencies_of(ledger, ())
    return Blocks(
        starts=np.array([piece[2] for piece in pieces], np.float64),
        ends=np.array([piece[3] for piece in pieces], np.float64),
        paired=np.array([piece[4] for piece in pieces], np.bool_),
        warm=np.array([piece[5] for piece in pieces], np.bool_),
        n=counts[:, :, list(SERVED)].sum(axis=2),
        errors=counts[:, :, ERROR] + counts[:, :, TIMEOUT],
        throttled=counts[:, :, THROTTLED],
        client=counts[:, :, CLIENT],
        timed=counts[:, :, OK] + counts[:, :, TIMEOUT],
        late=late,
        fine=fine,
    )


def _latencies(ledger: Ledger, pieces: Pieces) -> Latencies:
    """Late answers and latencies of each piece; those whose cells did not change since the last look are kept."""
    before, late, fine = ledger.kept or ((), *_latencies_of(ledger, ()))
    same = 0
    for piece, known in zip(pieces, before, strict=False):
        if piece != known or float(ledger.starts[piece[1] - 1]) >= ledger.changed_from:
            break
        same += 1
    more, finer = _latencies_of(ledger, pieces[same:])
    late = np.concatenate([late[:same], more])
    fine = (np.concatenate([fine[0][:same], finer[0]]), np.concatenate([fine[1][:same], finer[1]]))
    ledger.kept, ledger.changed_from = (pieces, late, fine), math.inf
    return late, fine


def _latencies_of(ledger: Ledger, pieces: Pieces) -> Latencies:
    edges = np.array([piece[:2] for piece in pieces], np.int64).reshape(-1, 2)
    begin = int(edges[0, 0]) if pieces else 0
    rows = slice(begin, int(edges[-1, 1]) if pieces else 0)
    edges = (edges - begin).ravel()[:-1]  # reduceat sums the last one to the end by itself

    def total(counts: NDArray[np.integer]) -> NDArray[np.int64]:
        if not pieces:
            return np.zeros((0, *counts.shape[1:]), np.int64)
        return np.add.reduceat(counts[rows].astype(np.int64), edges, axis=0)[::2]

    raw = np.zeros((len(pieces), 2, RAW_BINS), np.int64)
    for used in (slice(*ledger.used), slice(RAW_BINS - 1, RAW_BINS)):
        raw[:, :, used] = total(ledger.raw[:, :, used])
    return total(ledger.late), (spread(raw[:, CANDIDATE]), spread(raw[:, STABLE]))
