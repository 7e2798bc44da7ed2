"""How answers travel: one row a block, deployment and code, with its durations and their counts packed into a text.

A million answers of ten minutes are 300 rows and a quarter of a megabyte, and nothing is rounded: every whole
millisecond keeps its count. KQL makes the text, Python takes it apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell
from deployer.telemetry.watermark import Tally

NOT_TIMED = -1
"""Stands in the text for answers without a duration."""
PACK = """\
| extend Bar = strcat(iff(isnull(Ms), int(-1), Ms), '*', Answers)
"""
"""Second last step of a question: each duration with its count, such as ``12*3``.

Source: learn.microsoft.com/kusto/query/strcat-function, .../iff-function, .../isnull-function (Azure Monitor)."""
JOIN = """\
| extend Bars = strcat_array(Bars, ' ')
"""
"""Last step: the list that make_list() gathered, as text. A group holds far fewer than the 1,048,576 elements that
make_list() keeps. Source: .../make-list-aggregation-function, .../strcat-array-function."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAILED = frozenset({AnswerClass.ERROR, AnswerClass.TIMEOUT})


def in_order(
    columns: Sequence[str], rows: Iterable[Sequence[object]], wanted: Sequence[str]
) -> Iterable[Sequence[object]]:
    """Rows with their values in the order of ``wanted``.

    Raises:
        TelemetryError: other columns than ``wanted``, or a row of another length.
    """
    if sorted(columns) != sorted(wanted):
        raise TelemetryError(
            f"the answer came with the columns {list(columns)} instead of {list(wanted)}"[:300],
            hint="Check that the telemetry source runs the query it was given.",
        )
    places = [list(columns).index(name) for name in wanted]
    for row in rows:
        if len(row) != len(places):
            raise unreadable(row)
        yield [row[place] for place in places]


def unreadable(row: Sequence[object]) -> TelemetryError:
    """Say that ``row`` is none that can be read."""
    return TelemetryError(
        f"the answer holds a row that cannot be read: {list(row)!r}"[:300],
        hint="Check that the columns of the table have their documented types.",
    )


def at_ms(value: object) -> datetime:
    """Moment of milliseconds since 1970.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value < 253_402_300_800_000:
        raise ValueError(f"{value!r} is no time")
    return EPOCH + timedelta(milliseconds=value)


def whole(value: object, least: int = 0) -> int:
    """``value``, now that it is certain to be a whole number of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no whole number")
    return value


def lag_s(value: object) -> float | None:
    """Seconds of milliseconds that may be null; never below 0.

    Raises:
        ValueError: it is no finite number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r} is no lateness")
    return max(0.0, value / 1000)


def unpack(
    start: datetime, deployment: str, answer: AnswerClass, text: object, share: float = 1.0
) -> tuple[list[Cell], Tally, int]:
    """Cells of one packed row, their tally, and how many answers have no duration (they are in the cells as 0 ms).

    Args:
        start: of the block.
        deployment: who answered.
        answer: class of all of them.
        text: what ``PACK`` and ``JOIN`` made.
        share: answers that a row stands for, at least 1.

    Raises:
        ValueError: the text is none.
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"{text!r} holds no durations")
    cells: list[Cell] = []
    untimed = rows = 0
    for bar in text.split(" "):
        ms_text, _, n_text = bar.partition("*")
        ms, n = whole(int(ms_text), NOT_TIMED), whole(int(n_text), 1)
        rows += n
        if ms == NOT_TIMED:
            untimed += n
        cells.append(Cell(start, deployment, answer, max(0, ms), n))
    return cells, Tally(start, deployment, rows, rows * share, rows if answer in _FAILED else 0), untimed
