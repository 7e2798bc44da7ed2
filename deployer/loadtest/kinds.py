"""Who is to blame for an answer: the classes of the gate, seen by the one who sent the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from deployer.gate.samples import AnswerClass, classify
from deployer.loadtest.figures import NO_ANSWER, OVER_CAP

RATE_LIMITED = 1429
"""Status of a 429 by the endpoint's rate limit; the plain 429 is one by too many pending requests.

Azure ML answers 429 for both, and tells them apart by the reason phrase alone ("Too many pending requests",
"Rate-limiting"). Source: learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints, HTTP status
codes (read 2026-11-25); the load generator makes the number of it.
"""


class Kind(StrEnum):
    """What became of a request."""

    OK = "ok"
    ERROR = "error"  # the model's: 424, 5xx
    TIMEOUT = "timeout"  # 408, 499, 504
    THROTTLED = "throttled"  # capacity: 429, too many pending
    RATE_LIMITED = "rate_limited"  # a limit of the endpoint, not of its capacity: 429
    NO_ANSWER = "no_answer"  # refused, reset, or not answered within our own time-out
    OVER_CAP = "over_cap"  # never sent: as many as are allowed were in flight
    REJECTED = "rejected"  # our own request was wrong: other 4xx, a redirect


FAILED = frozenset({Kind.ERROR, Kind.TIMEOUT, Kind.THROTTLED, Kind.RATE_LIMITED, Kind.NO_ANSWER, Kind.OVER_CAP})
"""Failures of the endpoint under this load. Later than any target, as ``deployer/profile/targets.py`` counts them too:
leaving them out would hide exactly the slowness that is looked for, or let an endpoint pass that hardly answers."""

WORDS: Mapping[Kind, tuple[str, str]] = {
    Kind.OK: ("good answers", ""),
    Kind.ERROR: ("errors of the model or platform (424, 5xx)", "Read the deployment's log."),
    Kind.TIMEOUT: ("time-outs (408, 499, 504)", "The model is too slow, or request_timeout_ms too short."),
    Kind.THROTTLED: (
        "turned away for lack of capacity (429)",
        "More requests were pending than 2 x max_concurrent_requests_per_instance x instance_count.",
    ),
    Kind.RATE_LIMITED: (
        "turned away by the endpoint's rate limit (429)",
        "More instances do not help: ask for a higher limit, or spread the load over endpoints.",
    ),
    Kind.NO_ANSWER: ("without an answer", "Connections were refused, cut, or silent longer than the time-out."),
    Kind.OVER_CAP: (
        "not sent, too many in flight",
        "The endpoint answers more slowly than requests come; --in-flight is the limit.",
    ),
    Kind.REJECTED: (
        "rejected as wrong (other 4xx, redirects)",
        "The request itself is wrong: look at the URL, the key and the payload.",
    ),
}
"""What each kind is called, and what to think of when it is seen."""

_KINDS = {
    AnswerClass.OK: Kind.OK,
    AnswerClass.ERROR: Kind.ERROR,
    AnswerClass.TIMEOUT: Kind.TIMEOUT,
    AnswerClass.THROTTLED: Kind.THROTTLED,
    AnswerClass.CLIENT: Kind.REJECTED,
}


def kind_of(status: int) -> Kind:
    """Classify what a load generator noted of a request."""
    if status in (NO_ANSWER, OVER_CAP):
        return Kind.NO_ANSWER if status == NO_ANSWER else Kind.OVER_CAP
    if status == RATE_LIMITED:
        return Kind.RATE_LIMITED
    return Kind.REJECTED if 300 <= status < 400 else _KINDS[classify(status)]


def kinds_of(statuses: Mapping[int, int]) -> Counter[Kind]:
    """Count requests by kind."""
    found: Counter[Kind] = Counter()
    for status, n in statuses.items():
        found[kind_of(status)] += n
    return found
