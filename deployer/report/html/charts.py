"""Charts as inline SVG: a few kB, no script, coloured by the page's own light or dark style.

Everybody who cannot see the picture gets its numbers: each chart carries a description and a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from markupsafe import Markup, escape

from deployer.report.harmless import plain

WIDTH, HEIGHT = 720.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 14.0, 22.0, 44.0
ROWS = 80
"""Most rows of the table behind a chart."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points by rising x; a gap is a y that is not finite."""

    label: str
    points: Sequence[Point]
    low_high: Sequence[tuple[float, float, float]] = ()
    """Interval: x, low, high."""
    role: str = "neutral"
    """candidate, stable, neutral or predicted: its colour and dashes."""
    step: bool = False
    """The value holds until the next point."""
    dots: bool = False
    """Points alone, without a line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across: a limit, an event or the moment of decision."""

    axis: str
    """``x`` (at a moment) or ``y`` (at a value)."""
    at: float
    label: str
    kind: str = "event"
    """limit, event or decision."""


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        value = math.log10(max(value, self.low)) if self.log else value
        share = (value - low) / ((high - low) or 1.0)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)


def line_chart(
    name: str,
    description: str,
    series: Sequence[Series],
    marks: Sequence[Mark] = (),
    *,
    x_label: str,
    y_label: str,
    x_format: str = "number",
    log_y: bool = False,
    y_top: float | None = None,
) -> Markup:
    """Draw lines with their intervals and marks, as a ``<figure>`` with legend and table.

    Args:
        name: what it shows.
        description: what one would see in it, for those who do not see it.
        series: at least one with a finite point, else the figure says that there is nothing to draw.
        marks: limits (``y``), events and decisions (``x``).
        x_label: with its unit.
        y_label: with its unit.
        x_format: ``number``, or ``time``: seconds since 1970, shown as UTC.
        log_y: logarithmic; values must be positive.
        y_top: where the scale ends; what is above is cut off, and the table has it. None: above everything.
    """
    points = [point for each in series for point in each.points if math.isfinite(point[1])]
    points += [(x, y) for each in series for x, *ys in each.low_high for y in ys if math.isfinite(y)]
    if not points:
        return Markup("<figure><figcaption>{}: nothing to draw.</figcaption></figure>").format(plain(name))
    across = [x for x, _ in points] + [mark.at for mark in marks if mark.axis == "x"]
    up = [y for _, y in points if not log_y or y > 0] + [mark.at for mark in marks if mark.axis == "y"]
    x_scale = _Scale(min(across), max(across), LEFT, WIDTH - RIGHT)
    y_scale = _y_scale(up or [1.0], log=log_y)
    if y_top is not None:
        y_scale = replace(y_scale, high=y_top)
    shown = _time(x_scale) if x_format == "time" else _number
    parts = [*_grid(x_scale, y_scale, shown), *_labels(x_label, y_label)]
    for each in series:
        parts += _drawn(each, x_scale, y_scale)
    parts += _marked(marks, x_scale, y_scale)
    picture = _svg(name, description, parts)
    return _figure(name, picture, _legend(series), _table(series, x_label, shown))


def bar_chart(
    name: str,
    description: str,
    bars: Sequence[tuple[str, float, str]],
    marks: Sequence[Mark] = (),
    *,
    x_label: str,
) -> Markup:
    """Draw horizontal bars of (label, value >= 0, role), as a ``<figure>`` with a table."""
    if not bars:
        return Markup("<figure><figcaption>{}: nothing to draw.</figcaption></figure>").format(plain(name))
    height, left = 26.0, 200.0
    most = max([value for _, value, _ in bars] + [mark.at for mark in marks] + [1e-9])
    scale = _Scale(0.0, most, left, WIDTH - 90.0)
    parts: list[Markup] = []
    for row, (label, value, role) in enumerate(bars):
        y = TOP + row * height
        parts.append(_text(left - 8, y + 15, _short(label, 30), anchor="end"))
        bar = Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="18"/>')
        parts.append(bar.format(role, left, y, max(scale(value) - left, 1.0)))
        parts.append(_text(scale(value) + 6, y + 14, _number(value)))
    bottom = TOP + len(bars) * height
    for mark in marks:
        line = Markup('<line class="mark {}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
        parts.append(line.format(mark.kind, scale(mark.at), scale(mark.at), TOP - 6, bottom))
        parts.append(_text(scale(mark.at), TOP - 9, _short(mark.label, 40), anchor="middle", kind=mark.kind))
    parts.append(_text((left + WIDTH) / 2, bottom + 16, x_label, anchor="middle"))
    rows = [(label, _number(value)) for label, value, _ in bars]
    return _figure(name, _svg(name, description, parts, bottom + 24), Markup(""), _rows(("", x_label), rows))


def _y_scale(values: Sequence[float], *, log: bool) -> _Scale:
    low, high = min(values), max(values)
    if log:
        return _Scale(
            10 ** math.floor(math.log10(low)),
            10 ** math.ceil(math.log10(high * 1.0001)),
            HEIGHT - BOTTOM,
            TOP,
            log=True,
        )
    return _Scale(min(low, 0.0), max(high * 1.06, low + 1e-9), HEIGHT - BOTTOM, TOP)


def _grid(x_scale: _Scale, y_scale: _Scale, shown: Callable[[float], str]) -> Iterable[Markup]:
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    for value in _ticks(y_scale):
        y = y_scale(value)
        yield line.format("grid", LEFT, WIDTH - RIGHT, y, y)
        yield _text(LEFT - 8, y + 4, _number(value), anchor="end")
    yield line.format("axis", LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM)
    for value in _ticks(x_scale):
        x = x_scale(value)
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"  # the last one must not stick out
        yield _text(x + (RIGHT if anchor == "end" else 0), HEIGHT - BOTTOM + 16, shown(value), anchor=anchor)


def _ticks(scale: _Scale, wanted: int = 5) -> list[float]:
    if scale.log:
        return [10.0**power for power in range(round(math.log10(scale.low)), round(math.log10(scale.high)) + 1)]
    span = scale.high - scale.low
    if span <= 0:
        return [scale.low]
    rough = span / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(scale.low / step - 1e-9)
    return [number * step for number in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def _labels(x_label: str, y_label: str) -> list[Markup]:
    return [
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, anchor="middle"),
        _text(LEFT - 8, TOP - 9, y_label, anchor="start"),
    ]


def _drawn(series: Series, x_scale: _Scale, y_scale: _Scale) -> Iterable[Markup]:
    bounds = [row for row in series.low_high if math.isfinite(row[1]) and math.isfinite(row[2])]
    if bounds:
        upper = [(x_scale(x), y_scale(high)) for x, _, high in bounds]
        lower = [(x_scale(x), y_scale(low)) for x, low, _ in reversed(bounds)]
        outline = " ".join(f"{x},{y}" for x, y in [*upper, *lower])
        yield Markup('<polygon class="band {}" points="{}"/>').format(series.role, outline)
    for run in _runs(series.points):
        spots = [(x_scale(x), y_scale(y)) for x, y in run]
        if series.dots or len(spots) == 1:
            for x, y in spots:
                yield Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.5"/>').format(series.role, x, y)
        if not series.dots and len(spots) > 1:
            yield Markup('<path class="series {}" d="{}"/>').format(series.role, _path(spots, step=series.step))


def _runs(points: Sequence[Point]) -> Iterable[list[Point]]:
    run: list[Point] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(spots: Sequence[Point], *, step: bool) -> str:
    words = [f"M{spots[0][0]} {spots[0][1]}"]
    for x, y in spots[1:]:
        words.append(f"H{x}V{y}" if step else f"L{x} {y}")
    return "".join(words)


def _marked(marks: Sequence[Mark], x_scale: _Scale, y_scale: _Scale) -> Iterable[Markup]:
    line = Markup('<line class="mark {}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    rows: list[float] = []
    for mark in marks:
        if mark.axis == "y":
            y = y_scale(mark.at)
            yield line.format(mark.kind, LEFT, WIDTH - RIGHT, y, y)
            yield _text(LEFT + 4, y - 4, _short(mark.label, 40), kind=mark.kind)
            continue
        x, label = x_scale(mark.at), _short(mark.label, 24)
        width = 11.0 * len(label) + 8  # of the larger letters that small charts and phones have
        row = next((number for number, end in enumerate(rows) if end < x), len(rows))
        rows[row:] = [x + width] if row == len(rows) else [x + width, *rows[row + 1 :]]
        yield line.format(mark.kind, x, x, TOP, HEIGHT - BOTTOM)
        anchor = "end" if x + width > WIDTH else "start"
        yield _text(x + (-4 if anchor == "end" else 4), TOP + 11 + 17 * (row % 6), label, anchor=anchor, kind=mark.kind)


def _legend(series: Sequence[Series]) -> Markup:
    swatch = Markup(
        '<li><svg viewBox="0 0 28 10" aria-hidden="true"><path class="series {}" d="M1 5L27 5"/></svg>{}</li>'
    )
    entries = Markup("").join(swatch.format(each.role, _short(each.label, 80)) for each in series)
    return Markup('<ul class="legend">{}</ul>').format(entries)


def _table(series: Sequence[Series], x_label: str, shown: Callable[[float], str]) -> Markup:
    moments = sorted({x for each in series for x, _ in each.points})
    every = max(1, math.ceil(len(moments) / ROWS))
    values = [dict(each.points) for each in series]
    rows = [
        (shown(x), *(_number(found[x]) if x in found and math.isfinite(found[x]) else "" for found in values))
        for x in moments[::every]
    ]
    return _rows((x_label, *(_short(each.label, 80) for each in series)), rows)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    cells = Markup("").join(Markup("<th scope='col'>{}</th>").format(plain(name)) for name in head)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(plain(cell)) for cell in row))
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(cells, body)


def _figure(name: str, picture: Markup, legend: Markup, table: Markup) -> Markup:
    whole = Markup(
        "<figure><figcaption>{}</figcaption>{}{}<details><summary>Numbers: {}</summary>"
        '<div class="wide">{}</div></details></figure>'
    )
    return whole.format(plain(name), legend, picture, plain(name), table)


def _svg(name: str, description: str, parts: Iterable[Markup], height: float = HEIGHT) -> Markup:
    whole = Markup('<svg viewBox="0 0 {} {}" role="img"><title>{}</title><desc>{}</desc>{}</svg>')
    return whole.format(WIDTH, height, plain(name), plain(description), Markup("").join(parts))


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> Markup:
    drawn = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return drawn.format(kind, round(x, 1), round(y, 1), anchor, escape(plain(text)))


def _short(text: str, most: int) -> str:
    text = plain(text).replace("\n", " ")
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: float) -> str:
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _time(scale: _Scale) -> Callable[[float], str]:
    pattern = "%H:%M:%S" if scale.high - scale.low < 1800 else "%H:%M"
    return lambda value: datetime.fromtimestamp(value, UTC).strftime(pattern)
