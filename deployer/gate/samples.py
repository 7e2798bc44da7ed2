"""What the gate is given: exact counts of answers, and what is known about their completeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AnswerClass(StrEnum):
    """Who is to blame for an answer, by Azure ML's codes.

    Source: learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints, HTTP status codes.
    """

    OK = "ok"
    ERROR = "error"  # the model's: 424, 5xx
    TIMEOUT = "timeout"  # slower than any target, and an error: 408, 499, 504
    THROTTLED = "throttled"  # capacity, not the model: 429
    CLIENT = "client"  # the caller's: other 4xx, or it hung up


def classify(response_code: int) -> AnswerClass:
    """Class of an answer by the HTTP code that the endpoint returned (0: the client hung up before an answer)."""
    if response_code in (408, 499, 504):
        return AnswerClass.TIMEOUT
    if response_code == 424 or response_code >= 500:
        return AnswerClass.ERROR
    if response_code == 429:
        return AnswerClass.THROTTLED
    if response_code < 100 or response_code >= 400:
        return AnswerClass.CLIENT
    return AnswerClass.OK


@dataclass(frozen=True, slots=True)
class Cell:
    """``n`` answers of one deployment that ended in the same block, with the same class and duration."""

    start: datetime
    """Start of the block, aware UTC."""
    deployment: str
    answer: AnswerClass
    duration_ms: int
    n: int


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything telemetry knows of a stretch of time. Cells may come in any order and be split in any way."""

    cells: tuple[Cell, ...]
    block_s: float
    complete_until: datetime | None
    """Every answer before this moment is in ``cells``; None: unknown, so the gate is blind."""
    expected: Mapping[str, int] = field(default_factory=dict[str, int])
    """Requests each deployment answered in the same time by an independent count (router, metrics); may be empty."""
    problem: str | None = None
    """Why these samples cannot be trusted, in one line: partial result, two writers, unknown deployment names."""
    doubt: str | None = None
    """What is not known of them, in one line; beside ``complete_until`` None it says why. What they hold is true."""
