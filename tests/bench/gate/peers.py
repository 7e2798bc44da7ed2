"""Rules of other tools, re-implemented from their documentation, as baselines. Each: stream -> (result, seconds).

They see what had been ingested, at one look a minute, over windows of event time; targets are those of the bench.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

P95_MS, P99_MS, ERRORS = 330.0, 930.0, 0.01


def _minutes(stream, lag_s=180.0):
    """(end of look, candidate mask, stable mask) of each whole minute once it is complete."""
    for minute in range(int(stream.at_s[-1] // 60) + 1):
        inside = (stream.at_s >= 60 * minute) & (stream.at_s < 60 * (minute + 1))
        yield 60 * (minute + 1) + lag_s, inside & (stream.arm == 0), inside & (stream.arm == 1)


def _breach(stream, rows):
    if not rows.any():
        return None
    slow = np.quantile(stream.ms[rows], 0.95) > P95_MS
    return bool(slow or (stream.status[rows] >= 500).mean() > ERRORS)


def argo(stream, limit):
    """Argo Rollouts: one measurement a minute, more than ``failureLimit`` bad ones abort."""
    bad = 0
    for now, mine, _ in _minutes(stream):
        bad += _breach(stream, mine) is True
        if bad > limit:
            return "fail", now
    return "pass", 1800.0


def flagger(stream, threshold=5):
    """Flagger: success rate and p99 of the last minute; ``threshold`` failed checks roll back."""
    bad = 0
    for now, mine, _ in _minutes(stream):
        if not mine.any():
            continue
        slow = np.quantile(stream.ms[mine], 0.99) > P99_MS
        bad += bool(slow or (stream.status[mine] >= 500).mean() > ERRORS)
        if bad >= threshold:
            return "fail", now
    return "pass", 1800.0


def kayenta(stream):
    """Kayenta: Mann-Whitney on minutes (p95, errors) at the end, 98 %, and a quarter's difference."""
    series = {"p95": ([], []), "errors": ([], [])}
    for _, *arms in _minutes(stream):
        for place, rows in enumerate(arms):
            if rows.any():
                series["p95"][place].append(np.quantile(stream.ms[rows], 0.95))
                series["errors"][place].append((stream.status[rows] >= 500).mean())
    for mine, other in series.values():
        if len(mine) < 3 or len(set(mine) | set(other)) == 1:
            continue
        p = stats.mannwhitneyu(mine, other, alternative="greater").pvalue
        if p < 0.01 and np.mean(mine) > 1.25 * np.mean(other):
            return "fail", 1800.0
    return "pass", 1800.0


def repeated_z(stream):
    """A z-test of errors and of mean ln latency at every look, 5 %, no correction."""
    for now in np.arange(60.0, 1801.0, 30.0):
        seen = stream.seen_s <= now
        mine, other = seen & (stream.arm == 0), seen & (stream.arm == 1)
        if min(mine.sum(), other.sum()) < 20:
            continue
        if max(_z_errors(stream, mine, other), _z_latency(stream, mine, other)) > 1.645:
            return "fail", now
    return "pass", 1800.0


def msprt(stream, tau=0.2, alpha=0.05):
    """Mixture SPRT on ln latency and errors (normal mixture), always valid if answers are independent."""
    for now in np.arange(60.0, 1801.0, 30.0):
        seen = stream.seen_s <= now
        mine, other = seen & (stream.arm == 0), seen & (stream.arm == 1)
        if min(mine.sum(), other.sum()) < 20:
            continue
        for z, scale in ((_z_latency(stream, mine, other), 0.8), (_z_errors(stream, mine, other), 0.1)):
            v = scale**2 * (1 / mine.sum() + 1 / other.sum())
            ratio = tau**2 / (tau**2 + v)
            if z > 0 and 0.5 * np.log(1 - ratio) + 0.5 * z**2 * ratio > np.log(2 / alpha):
                return "fail", now
    return "pass", 1800.0


def burn_rate(stream, factor=14.4):
    """Google's fast burn: errors over 5 minutes and over an hour both burn the budget ``factor`` times too fast."""
    for now in np.arange(300.0, 1801.0, 60.0):
        seen = (stream.seen_s <= now) & (stream.arm == 0)
        last = seen & (stream.at_s > now - 300)
        if last.sum() and seen.sum():
            rates = ((stream.status[rows] >= 500).mean() for rows in (last, seen))
            if min(rates) > factor * ERRORS:
                return "fail", now
    return "pass", 1800.0


def _z_errors(stream, mine, other):
    a, b = (stream.status[mine] >= 500).mean(), (stream.status[other] >= 500).mean()
    pooled = (stream.status[mine | other] >= 500).mean()
    sd = np.sqrt(pooled * (1 - pooled) * (1 / mine.sum() + 1 / other.sum()))
    return (a - b) / sd if sd else 0.0


def _z_latency(stream, mine, other):
    a, b = np.log(stream.ms[mine]), np.log(stream.ms[other])
    sd = np.sqrt(a.var() / a.size + b.var() / b.size)
    return (a.mean() - b.mean()) / sd if sd else 0.0


PEERS = {
    "Argo default": lambda stream: argo(stream, 0),
    "Argo failureLimit 3": lambda stream: argo(stream, 3),
    "Flagger": flagger,
    "Kayenta at the end": kayenta,
    "repeated z-test": repeated_z,
    "mixture SPRT": msprt,
    "burn rate": burn_rate,
}
