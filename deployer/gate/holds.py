"""What forbids a PASS without being the candidate's fault, or without being proven to be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from deployer.gate import betting, blindness
from deployer.gate.blocks import Blocks, least_s, seconds
from deployer.gate.contrast import odds
from deployer.gate.evidence import (
    ERROR_TILTS,
    ERROR_WOBBLE,
    QUANTILES,
    Evidence,
    named_targets,
    observed_only,
    over_limit,
)
from deployer.gate.explain import note
from deployer.gate.ledger import CANDIDATE, STABLE, Ledger
from deployer.gate.permutation import Floats, Ints
from deployer.gate.verdict import Moment, Reason
from deployer.manifest.schema import Gate, Slo

REFUSED, UNWANTED, MOST = 0.05, 0.5, 0.9
"""Share of 429 (without a target for errors) and of other 4xx that holds a rollout where no stable answers beside it;
the most that may be usual."""
SPLIT_BLOCKS = 30
"""So many blocks at one weight before the split itself is judged."""
_MEDIAN = 0.4549
"""Of chi-square with one degree of freedom."""


def found_holds(
    ledger: Ledger, blocks: Blocks, found: list[Evidence], slo: Slo, gate: Gate, moment: Moment, until: datetime
) -> Iterator[Reason]:
    """Every reason not to promote yet, the one to be said first in front."""
    yield from _incidents(blocks, found, slo, gate)
    refused = {reason.metric: reason for reason in (*_refused_much(blocks, slo, gate), *_refused_more(blocks, gate))}
    yield from refused.values()
    yield from _sticky(blocks, moment)
    rows = ledger.rows(moment.step_started_at.timestamp(), until.timestamp())
    recent = int(ledger.served(CANDIDATE)[rows].sum())
    if recent < gate.min_requests:
        text = f"{recent} of the {gate.min_requests} requests that this step needs (gate.min_requests)"
        yield note("requests", text, needed=gate.min_requests)
    stopped = blindness.stale(ledger, gate, moment, until.timestamp())
    if stopped is not None:
        yield note("telemetry", stopped)
    if all(observed_only(gate, item.metric, item.rule) for item in found):
        yield note("requests", "every metric is only observed (gate.observe_only): nothing can be proven")


def _incidents(blocks: Blocks, found: list[Evidence], slo: Slo, gate: Gate) -> Iterator[Reason]:
    """Absolute targets that are broken without evidence that the candidate is worse than the stable beside it."""
    for item in found:
        over = item.log_e_alone
        if over is None or item.metric == "breaker" or observed_only(gate, item.metric, item.rule):
            continue
        if over < -np.log(gate.false_rollback) or item.log_e > over - 1:
            continue
        if _stable_breaks(blocks, item.metric, slo):
            text = f"environment incident: the stable breaks the slo of {item.metric} too, in the same moments"
        else:
            text = f"{item.metric} breaks the slo; that it is worse than the stable is not shown yet"
        yield note(item.metric, text)


def _stable_breaks(blocks: Blocks, metric: str, slo: Slo) -> bool:
    """Whether the stable's share of bad answers is over the target's."""
    if metric == "error_rate":
        return bool(blocks.errors[:, STABLE].sum() > (slo.error_rate or 0.0) * blocks.n[:, STABLE].sum())
    column = [name for name, _ in named_targets(slo)].index(metric)
    late, timed = blocks.late[:, STABLE, column].sum(), blocks.timed[:, STABLE].sum()
    return bool(late > (1 - QUANTILES[metric]) * timed)


def _refused_more(blocks: Blocks, gate: Gate) -> Iterator[Reason]:
    """Answers that are not the model's (429, other 4xx), if the candidate gives more of them than the stable."""
    every: Ints = blocks.n + blocks.throttled + blocks.client
    paired = blocks.paired
    caps = betting.caps(blocks.length_s[paired], least_s(gate), gate.false_rollback)
    refused = np.stack([blocks.throttled[paired], blocks.client[paired]])
    contrast = odds(np.stack([every[paired]] * 2), refused, ERROR_TILTS, 0.0, ERROR_WOBBLE)
    found = betting.from_any_start(betting.temper(contrast.log_e, contrast.variance, contrast.h2, caps))
    for metric, log_e, bad, words in (
        ("throttled", found[0], refused[0], "is throttled (429): too few instances for this weight"),
        ("client", found[1], refused[1], "answers 4xx: it may refuse requests that the stable accepts"),
    ):
        if log_e >= -np.log(gate.false_rollback):
            mine, other = int(bad[:, CANDIDATE].sum()), int(bad[:, STABLE].sum())
            yield note(metric, f"the candidate {words} ({mine} answers, stable {other})")


def _refused_much(blocks: Blocks, slo: Slo, gate: Gate) -> Iterator[Reason]:
    """The same where no stable answers beside it: more than callers, or the endpoint's own limit, were used to."""
    every: Ints = blocks.n + blocks.throttled + blocks.client
    beside, alone = blocks.paired, ~blocks.paired
    caps = betting.caps(blocks.length_s[alone], least_s(gate), gate.false_rollback)
    for metric, bad, least, words in (
        ("throttled", blocks.throttled, slo.error_rate or REFUSED, "were throttled (429): too few instances"),
        ("client", blocks.client, UNWANTED, "were answered 4xx, and no stable shows whose fault it is"),
    ):
        usual = float(bad[beside].sum()) / max(int(every[beside].sum()), 1)
        n, refused = every[alone, CANDIDATE], bad[alone, CANDIDATE]
        over = over_limit(n, refused, min(max(least, 2 * usual), MOST), ERROR_TILTS, ERROR_WOBBLE)
        log_e = float(betting.from_any_start(betting.temper(over.log_e, over.variance, over.h2, caps)))
        if log_e >= -np.log(gate.false_rollback):
            yield note(metric, f"{int(refused.sum())} of {int(n.sum())} requests of the candidate {words}")


def _sticky(blocks: Blocks, moment: Moment) -> Iterator[Reason]:
    """A share of requests that jumps from block to block more than a split by request would: clients come in sessions.

    Medians of squared differences between neighbours: neither a drift of the weight nor a stall in one block counts.
    A split by request is held in 0.3 % of rollouts, for a few looks (simulated: 1 to 200 requests/s, a look every
    three minutes). Clients that send steadily leave no such trace.
    """
    if moment.mirrored:
        return
    at, _ = seconds(moment)
    weight = np.searchsorted(at, blocks.starts, side="right")
    every = (blocks.n + blocks.throttled + blocks.client).astype(np.float64)
    jumps: list[Floats] = []
    for each in np.unique(weight[blocks.paired]):
        answers = every[blocks.paired & (weight == each)]
        mine, total = answers[:, CANDIDATE], answers.sum(axis=1)
        share = mine.sum() / max(total.sum(), 1.0)
        spread = np.sqrt(np.maximum(total, 1.0) * max(share * (1 - share), 1e-9))
        jumps.append(np.diff((mine - total * share) / spread))
    found = np.concatenate([*jumps, np.zeros(0)])
    if found.size < SPLIT_BLOCKS:
        return
    times = float(np.median(found * found)) / 2 / _MEDIAN
    if times > 1.5 + 10 / np.sqrt(found.size):
        text = (
            f"the candidate's share of requests varies {times:.1f} times as much as if every request was split anew: "
            "sticky clients? They would make the comparison unfair"
        )
        yield note("split", text)
