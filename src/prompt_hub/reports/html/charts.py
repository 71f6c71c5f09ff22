"""Charts as inline SVG: small ones, that keep the size of their letters on a phone.

Lines and points are told apart by colour, dash and shape. Colours are variables of the page's style sheet,
so that one chart serves light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 24, 36
_ROW = 34
STYLES = 8
"""Lines and points have so many looks; a ninth looks as the first."""


_ZERO = Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
_WHISKER = Markup(
    '<text class="row" x="10" y="{0}">{1}</text>'
    '<line class="whisker s0" x1="{2:.1f}" x2="{3:.1f}" y1="{4}" y2="{4}"/>'
)


@dataclass(frozen=True)
class Line:
    """style: 0 to 7. faint: one run of several. low, high: of a band round it."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: int = 0
    faint: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Rule:
    """A horizontal line, such as a floor."""

    label: str
    value: float


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    label: str
    style: int = 0


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, y_label: str, rules: Sequence[Rule] = ()
) -> Markup:
    """Curves with their points; numbers that are not finite are left out."""
    lines = [_finite(line) for line in lines]
    values = [y for line in lines for part in (line.ys, line.low or (), line.high or ()) for y in part]
    values += [rule.value for rule in rules]
    axes = _Axes.over([x for line in lines for x in line.xs], values)
    parts = [axes.frame(title, x_label, y_label)]
    for rule in rules:
        y = axes.y(rule.value)
        parts.append(
            Markup('<g class="rule"><line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><title>{}</title>'
                   '<text x="{}" y="{:.1f}">{}</text></g>').format(
                _LEFT, WIDTH - _RIGHT, y, y, f"{rule.label}: {rule.value:.3f}", WIDTH - _RIGHT, y - 3,
                rule.label)
        )  # fmt: skip
    parts += [_line(axes, line) for line in lines]
    return _svg(title, parts)


def scatter(title: str, points: Sequence[Point], x_label: str, y_label: str) -> Markup:
    """Points, each with what it stands for."""
    axes = _Axes.over([point.x for point in points], [point.y for point in points], margin=0.04)
    parts = [axes.frame(title, x_label, y_label)]
    parts += [_mark(axes.x(point.x), axes.y(point.y), point.style, point.label) for point in points]
    return _svg(title, parts)


@dataclass(frozen=True)
class Interval:
    """value with its interval, and further marks on the same row: (style, label, value)."""

    label: str
    value: float
    low: float
    high: float
    marks: Sequence[tuple[int, str, float]] = ()


def interval_chart(
    title: str, rows: Sequence[Interval], x_label: str, ends: tuple[float, float] | None = None
) -> Markup:
    """A row a value with its interval, its label above it. ends: of the axis at least."""
    height = _TOP + _ROW * len(rows) + _BOTTOM
    values = [end for row in rows for end in (row.value, row.low, row.high)]
    values += [value for row in rows for _, _, value in row.marks]
    axes = _Axes.over([*values, *(ends or ())], [0, 1], left=10, height=height, margin=0.02)
    parts = [axes.columns(x_label)]
    if axes.x_low < 0 < axes.x_high:
        x = axes.x(0)
        parts.append(_ZERO.format(x, _TOP, height - _BOTTOM))
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number + 25
        parts.append(_WHISKER.format(y - 9, row.label, axes.x(row.low), axes.x(row.high), y))
        parts += [
            _mark(axes.x(value), y, style, f"{row.label}: {label} {value:.3f}", 3.2)
            for style, label, value in row.marks
        ]
        text = f"{row.label}: {row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
        parts.append(_mark(axes.x(row.value), y, 0, text, 4.2))
    return _svg(title, parts, height)


def tile_map(
    title: str, values: Sequence[Sequence[float]], limit: float, row_label: str, x_label: str
) -> Markup:
    """``[rows, columns]`` as coloured tiles; ``limit`` is where the colours end, on both sides of zero."""
    rows, columns = len(values), len(values[0])
    tall = max(4.0, min(18.0, 170 / rows))
    height = _TOP + tall * rows + _BOTTOM
    wide = (WIDTH - _LEFT - _RIGHT) / columns
    parts = []
    for row, line in enumerate(values):
        y = _TOP + row * tall
        for column, value in enumerate(line):
            share = max(-1.0, min(1.0, value / limit)) if limit else 0.0
            side = "below" if share < 0 else "above"
            parts.append(
                Markup('<rect class="{}" style="--v:{:.0f}%" x="{:.1f}" y="{:.1f}" width="{:.2f}" '
                       'height="{:.2f}"/>').format(side, 100 * abs(share), _LEFT + column * wide, y,
                                                   wide + 0.3, tall + 0.3)
            )  # fmt: skip
        if rows <= 12 or row % 4 == 0:
            parts.append(
                Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                    _LEFT - 6, y + tall / 2 + 4, row)
            )  # fmt: skip
    parts.append(_x_label(x_label, height))
    parts.append(_y_label(row_label))
    return _svg(title, parts, height)


# -- axes ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axes:
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: int = _LEFT
    height: float = HEIGHT

    @classmethod
    def over(
        cls,
        xs: Sequence[float],
        ys: Sequence[float],
        left: int = _LEFT,
        height: float = HEIGHT,
        margin: float = 0.0,
    ) -> _Axes:
        return cls(*_ends(xs, margin), *_ends(ys, 0.06), left, height)

    def x(self, value: float) -> float:
        room = WIDTH - self.left - _RIGHT
        return self.left + room * (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        room = self.height - _TOP - _BOTTOM
        return self.height - _BOTTOM - room * (value - self.y_low) / (self.y_high - self.y_low)

    def frame(self, title: str, x_label: str, y_label: str) -> Markup:
        parts = [self.columns(x_label, lines=False), _y_label(y_label)]
        for value, text in _ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(
                Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                       '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                    self.left, WIDTH - _RIGHT, y, y, self.left - 6, y + 4, text)
            )  # fmt: skip
        return Markup("").join(parts)

    def columns(self, x_label: str, lines: bool = True) -> Markup:
        parts = [_x_label(x_label, self.height)]
        for value, text in _ticks(self.x_low, self.x_high, 5):
            x = self.x(value)
            if lines:
                parts.append(
                    Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                        x, _TOP, self.height - _BOTTOM)
                )  # fmt: skip
            parts.append(
                Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    x, self.height - _BOTTOM + 15, text)
            )  # fmt: skip
        return Markup("").join(parts)


def _ends(values: Sequence[float], margin: float) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if low == high:
        spread = (abs(low) or 1) * 0.1
        # No score is above 1.
        low, high = low - spread, high + (0 if high == 1 else spread)
    room = (high - low) * margin
    return low - room, high + room


def _ticks(low: float, high: float, about: int = 4) -> list[tuple[float, str]]:
    """Round numbers between the ends, all with as many digits."""
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    small = step < 1e-4
    return [
        (number * step, f"{number * step:.0e}" if small and number else f"{number * step:.{min(digits, 4)}f}")
        for number in range(first, last + 1)
    ]


# -- marks -----------------------------------------------------------------------------------------


def _finite(line: Line) -> Line:
    kept = [place for place, y in enumerate(line.ys) if math.isfinite(y)]

    def of(values: Sequence[float] | None) -> list[float] | None:
        return None if values is None else [values[place] for place in kept]

    return Line(line.label, of(line.xs) or [], of(line.ys) or [], line.style, line.faint, of(line.low),
                of(line.high))  # fmt: skip


def _line(axes: _Axes, line: Line) -> Markup:
    places = [(axes.x(x), axes.y(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    parts = []
    if line.low is not None and line.high is not None:
        above = [(axes.x(x), axes.y(y)) for x, y in zip(line.xs, line.high, strict=True)]
        below = [(axes.x(x), axes.y(y)) for x, y in zip(line.xs, line.low, strict=True)]
        parts.append(Markup('<polygon class="band" points="{}"/>').format(_places(above + below[::-1])))
    parts.append(Markup('<polyline points="{}"/>').format(_places(places)))
    if not line.faint:
        numbers = zip(line.xs, line.ys, places, strict=True)
        for x, y, (left, top) in numbers:
            parts.append(_mark(left, top, line.style, f"{line.label}, at {x:g}: {y:.3f}", 2.6, group=False))
    kind = f"line s{line.style % STYLES}" + (" faint" if line.faint else "")
    return Markup('<g class="{}"><title>{}</title>{}</g>').format(kind, line.label, Markup("").join(parts))


def _places(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _mark(x: float, y: float, style: int, label: str, size: float = 3.2, group: bool = True) -> Markup:
    """A circle, square, diamond or triangle."""
    shape = style % 4
    if shape == 0:
        drawn = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" data-tip="{}"/>').format(x, y, size, label)
    else:
        corners = {
            1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            2: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
            3: [(0, -1.25), (1.15, 0.9), (-1.15, 0.9)],
        }[shape]
        places = [(x + size * right, y + size * down) for right, down in corners]
        drawn = Markup('<polygon points="{}" data-tip="{}"/>').format(_places(places), label)
    return Markup('<g class="mark s{}">{}</g>').format(style % STYLES, drawn) if group else drawn


def legend_mark(style: int) -> Markup:
    """The look of a style, for a legend."""
    return Markup('<svg class="key" viewBox="0 0 26 12" aria-hidden="true"><g class="line s{}">'
                  '<polyline points="1,6 25,6"/>{}</g></svg>').format(
        style % STYLES, _mark(13, 6, style, "", 3, group=False))  # fmt: skip


def _x_label(text: str, height: float) -> Markup:
    return Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}</text>').format(
        WIDTH - _RIGHT, height - 5, text)  # fmt: skip


def _y_label(text: str) -> Markup:
    """Above the axis: turned letters are hard to read."""
    return Markup('<text class="label" x="2" y="11">{}</text>').format(text)


def _svg(title: str, parts: Sequence[Markup], height: float = HEIGHT) -> Markup:
    return Markup(
        '<figure class="chart"><figcaption>{0}</figcaption><svg viewBox="0 0 {1} {2:.0f}" role="img" '
        'aria-label="{0}">{3}</svg></figure>'
    ).format(title, WIDTH, height, Markup("").join(parts))
