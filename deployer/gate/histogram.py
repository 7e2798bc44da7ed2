"""Latency as counts on a fixed grid: how a cell of one millisecond is read, and what "slower by a margin" does to it.

Why: telemetry counts whole milliseconds. Where a millisecond is wide (3 ms against 4 ms is a third), a cell stands
for the interval it was rounded from, so its answers are spread evenly, and always the same way, over that interval.
Never reads single requests: everything later sees only counts per bin.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

RATIO = 1.025
"""Width of a bin: fine enough for a margin of 5 % (two bins). Source: the design of the gate, measured there."""

LINEAR_MS = 64
"""Below this a cell of one millisecond is wider than about a bin and is kept as it is in the raw grid."""

MAX_MS = 10_000_000
"""Anything slower (2.8 hours) is counted as this."""

_STEP = float(np.log(RATIO))
_LOG_BINS = int(np.log(MAX_MS / LINEAR_MS) / _STEP) + 1
_BELOW = 196  # bins between the lowest value (half a millisecond) and LINEAR_MS
_PARTS = 8  # a cell of one millisecond is spread over so many parts

RAW_BINS = LINEAR_MS + _LOG_BINS + 1
"""Raw grid: 0..63 ms one by one, then logarithmic, then time-outs (slower than anything)."""

FINE_BINS = _BELOW + _LOG_BINS + 1
"""Fine grid: logarithmic from half a millisecond on, the last bin for time-outs."""

FLOOR_MS = LINEAR_MS * RATIO**-_BELOW
_CENTRES_MS = FLOOR_MS * RATIO ** (np.arange(FINE_BINS - 1) + 0.5)


def raw_bins(duration_ms: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Raw bin of each duration in ms (negative ones count as 0)."""
    clipped = np.clip(duration_ms, 0, MAX_MS)
    logs = np.floor(np.log(np.maximum(clipped, LINEAR_MS) / LINEAR_MS) / _STEP).astype(np.int64)
    linear = np.minimum(clipped, LINEAR_MS).astype(np.int64)
    return np.where(clipped < LINEAR_MS, linear, LINEAR_MS + np.minimum(logs, _LOG_BINS - 1))


def fine_bins(value_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fine bin of each value in ms; ``inf`` gets the last bin."""
    finite = np.clip(np.nan_to_num(value_ms, posinf=float(MAX_MS)), FLOOR_MS, float(MAX_MS))
    bins = np.minimum(np.floor(np.log(finite / FLOOR_MS) / _STEP + 1e-9).astype(np.int64), FINE_BINS - 2)
    return np.where(np.isinf(value_ms), FINE_BINS - 1, bins)


def end_ms(place: int) -> float:
    """Upper end in ms of a bin of the fine grid that holds no time-outs."""
    return float(FLOOR_MS * RATIO ** (place + 1))


@lru_cache(maxsize=1)
def _parts_of_linear() -> NDArray[np.int64]:
    values = np.arange(LINEAR_MS)[:, None] + (np.arange(_PARTS) + 0.5) / _PARTS
    return fine_bins(values.ravel())


def spread(raw: NDArray[np.integer]) -> Counts:
    """Counts on the fine grid, shape (rows, FINE_BINS), of raw counts, shape (rows, RAW_BINS). Totals are kept."""
    rows = raw.shape[0]
    fine = np.zeros((rows, FINE_BINS), np.int64)
    fine[:, _BELOW:] = raw[:, LINEAR_MS:]
    used = np.flatnonzero(raw[:, :LINEAR_MS].any(axis=0))
    linear = raw[:, used].astype(np.int64)
    reached = (linear[:, :, None] * np.arange(_PARTS + 1) * 2 + _PARTS) // (2 * _PARTS)
    parts = np.diff(reached, axis=2).reshape(rows, used.size * _PARTS)
    targets = _parts_of_linear().reshape(LINEAR_MS, _PARTS)[used].ravel()
    _add_columns(fine, targets, parts)
    return fine


def _add_columns(out: Counts, targets: NDArray[np.int64], columns: Counts) -> None:
    """Add ``columns`` to the columns ``targets`` of ``out``; targets rise, and may repeat."""
    if targets.size:
        starts = np.flatnonzero(np.diff(targets, prepend=-1))
        out[:, targets[starts]] += np.add.reduceat(columns, starts, axis=1)


@lru_cache(maxsize=64)
def _shrunk(factor: float, less_ms: float) -> NDArray[np.int64]:
    moved = np.minimum(_CENTRES_MS / factor, _CENTRES_MS - less_ms)
    return np.append(fine_bins(np.maximum(moved, FLOOR_MS)), FINE_BINS - 1)


def shrink(fine: Counts, factor: float, less_ms: float) -> Counts:
    """Counts as if every latency x were min(x / factor, x - less_ms): the margin granted to the candidate.

    "The candidate, shrunk, is stochastically not slower than the stable" says exactly "the candidate is not slower
    than max(factor * stable, stable + less_ms)". Time-outs stay time-outs.

    Args:
        fine: shape (rows, FINE_BINS).
        factor: >= 1.
        less_ms: >= 0.
    """
    out = np.zeros_like(fine)
    filled = np.flatnonzero(fine.any(axis=0))
    if filled.size:
        used = slice(int(filled[0]), int(filled[-1]) + 1)
        _add_columns(out, _shrunk(factor, less_ms)[used], fine[:, used])
    return out


def slide(fine: Counts, bins: int) -> Counts:
    """Counts as if every latency were RATIO ** bins times what it was; time-outs stay, ends pile up."""
    out = np.zeros_like(fine)
    last = FINE_BINS - 1
    _add_columns(out, np.clip(np.arange(last, dtype=np.int64) + bins, 0, last - 1), fine[:, :last])
    out[:, last] += fine[:, last]
    return out
