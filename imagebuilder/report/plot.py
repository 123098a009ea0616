"""Plots as the positions of their marks, for SVG in a page: no script and no other file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

CHARACTER = 7.5
"""Width of a character of a label, in units of the plot."""
LINE = 13.0
"""Height of a label."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values from `low` to `high` to positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """The position of a value; one outside is put at the end."""
        low, high, at = (self._scale(x) for x in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Round values on the axis, at most about `most`."""
        return tuple(_decades(self.low, self.high, most) if self.log
                     else _steps(self.low, self.high, most))  # fmt: skip

    def _scale(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value


def axis_over(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
    """An axis over all values, with a twentieth of room at both sides."""
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.05, 1.2)
        return Axis(low / room, high * room, start, end, log=True)
    room = (high - low) / 20 or abs(high) / 20 or 1.0
    return Axis(low - room, high + room, start, end)


def _steps(low: float, high: float, most: int) -> Iterator[float]:
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    number = math.ceil(low / step)
    while number * step <= high:
        yield float(f"{number * step:.12g}")
        number += 1


def _decades(low: float, high: float, most: int) -> list[float]:
    if high / low < most:
        return list(_steps(low, high, most))
    for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


@dataclass(frozen=True, slots=True)
class Point:
    """A value to plot: `low` and `high` are the ends of its interval, `kind` a CSS class."""

    x: float
    y: float
    low: float
    high: float
    label: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in the plot and where its label stands."""

    x: float
    y: float
    top: float
    bottom: float
    label: str
    label_x: float
    label_y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """A plot of points; ticks are (position, text), `front` the corners of a line, `floor` a y."""

    width: int
    height: int
    inner: tuple[float, float, float, float]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    front: tuple[tuple[float, float], ...]
    floor: float


def scatter(
    points: Sequence[Point], floor: float, show: Callable[[float], str], *, less: bool
) -> Scatter:
    """Points over a logarithmic x; the front is of those that none beats in both numbers.

    `less` says that a smaller y is the better one; `show` writes an x.
    """
    width, height = 520, 330
    left, right, top, bottom = 56.0, width - 14.0, 14.0, height - 34.0
    x_axis = axis_over([p.x for p in points], left, right, log=True)
    ys = [y for p in points for y in (p.low, p.high, p.y)]
    y_axis = axis_over([*ys, floor], bottom, top)
    return Scatter(
        width, height, (left, top, right, bottom),
        tuple((x_axis.place(v), show(v)) for v in x_axis.ticks(5)),
        tuple((y_axis.place(v), f"{v:g}") for v in y_axis.ticks(6)),
        tuple(_marks(points, x_axis, y_axis)),
        tuple(_front(points, x_axis, y_axis, less)),
        y_axis.place(floor),
    )  # fmt: skip


def _front(
    points: Sequence[Point], x_axis: Axis, y_axis: Axis, less: bool
) -> Iterator[tuple[float, float]]:
    """The corners of the stairs below which nothing lies."""
    best: float | None = None
    for point in sorted(points, key=lambda p: (p.x, p.y if less else -p.y)):
        if best is not None and (point.y >= best if less else point.y <= best):
            continue
        x, y = x_axis.place(point.x), y_axis.place(point.y)
        if best is not None:
            yield x, y_axis.place(best)
        yield x, y
        best = point.y
    if best is not None:
        yield x_axis.end, y_axis.place(best)


Box = tuple[float, float, float, float]


def _marks(points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> Iterator[Mark]:
    """Marks whose labels lie beside them, where there is still room."""
    spots = [(x_axis.place(p.x), y_axis.place(p.y)) for p in points]
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    for point, (x, y) in zip(points, spots, strict=True):
        size = CHARACTER * len(point.label)
        places = [(x + dx, y + dy) for distance in (9, 20, 32, 44) for dx, dy in (
            (distance, LINE / 3), (-distance - size, LINE / 3),
            (-size / 2, -distance), (-size / 2, distance + LINE - 4),
        )]  # fmt: skip
        at = next((p for p in places if _fits(_box(p, size), taken, x_axis, y_axis)), places[0])
        taken.append(_box(at, size))
        yield Mark(x, y, y_axis.place(point.high), y_axis.place(point.low), point.label,
                   round(at[0], 1), round(at[1], 1), point.kind, point.title)  # fmt: skip


def _box(at: tuple[float, float], size: float) -> Box:
    return at[0], at[1] - LINE + 3, at[0] + size, at[1] + 2


def _fits(box: Box, taken: Sequence[Box], x_axis: Axis, y_axis: Axis) -> bool:
    inside = x_axis.start <= box[0] and box[2] <= x_axis.end and y_axis.end <= box[1] and (
        box[3] <= y_axis.start)  # fmt: skip
    return inside and not any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        for other in taken
    )


@dataclass(frozen=True, slots=True)
class Stem:
    """A vertical line of a plot: `x`, its upper end `y`, a CSS class and a title."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Stems:
    """A plot of one number for each of a row of things; a stem is `thick` wide."""

    width: int
    height: int
    inner: tuple[float, float, float, float]
    y_ticks: tuple[tuple[float, str], ...]
    stems: tuple[Stem, ...]
    thick: float


def stems(values: Sequence[tuple[float, str, str]], high: float) -> Stems:
    """Values of (number, CSS class, title) in a row, over an axis from 0 to at least `high`."""
    width, height = 1040, 280
    left, right, top, bottom = 44.0, width - 8.0, 10.0, height - 12.0
    y_axis = Axis(0.0, max([high, *(number for number, _, _ in values)]) * 1.05, bottom, top)
    pitch = (right - left) / max(len(values), 1)
    return Stems(
        width, height, (left, top, right, bottom),
        tuple((y_axis.place(v), f"{v:g}") for v in y_axis.ticks(6)),
        tuple(Stem(round(left + (at + 0.5) * pitch, 1), y_axis.place(number), kind, title)
              for at, (number, kind, title) in enumerate(values)),
        round(min(max(pitch * 0.6, 1.0), 14.0), 1),
    )  # fmt: skip
