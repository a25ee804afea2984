"""A chart of latencies against one swept number, as SVG that needs nothing from outside.

    zones      1 │ 2  │   3        where the best plan stays the same
    curves     ───╲___●_____       one an algorithm; those that coincide are one
    marks         ●                where the best plan changes

Both axes are logarithmic; the vertical one is linear where the curves lie close together.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgeflow.views.markup import Markup, element, join

WIDTH, HEIGHT = 1000.0, 540.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 210.0, 58.0, 58.0
LABEL_HEIGHT = 17.0
LABEL_SIGNS = 27
"""Names at the right are wrapped behind so many."""
LOG_FROM = 5.0
"""Curves that differ by more than this factor get a logarithmic axis."""
COLOURS = 8
"""Classes c0..c7 of the page."""
STEADY = 1e-6
"""Curves closer than this share everywhere are one."""

XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """An algorithm's latencies; infinite where it refuses."""

    label: str
    points: tuple[XY, ...]
    """At the same values for all."""
    is_main: bool = False
    between: tuple[XY, ...] = ()
    """More points where they are known, such as both sides of a step."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A stretch of the horizontal axis with one plan."""

    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of the main curve where the plan changes."""

    at: XY
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    stop: float
    is_log: bool

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        scale: Callable[[float], float] = math.log if self.is_log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low) or 1.0)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round values within: 1, 2, 5 and their tens, or even steps."""
        if not self.is_log:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step)
            return [at * step for at in range(first, int(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [each * 10.0**decade for decade in decades for each in (1, 2, 5)]
        return [each for each in values if self.low * 0.999 <= each <= self.high * 1.001]


def draw(
    curves: Sequence[Curve],
    zones: Sequence[Zone],
    marks: Sequence[Mark],
    titles: tuple[str, str],
    now: float | None,
) -> Markup:
    """The chart. `titles` are of the axes, with units; `now` is the value without a sweep."""
    across, up = _axes(curves)
    parts = [
        *_zones(zones, across),
        *_grid(across, up, titles),
        *([_now(now, across)] if now and across.low <= now <= across.high else []),
        *_curves(merged(curves), across, up),
        *_marks(marks, across, up),
    ]
    said = f"{titles[1]} against {titles[0]}"
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=said, class_="chart")


def merged(curves: Sequence[Curve]) -> list[Curve]:
    """Curves that coincide as one, named after all; the main one goes first."""
    found: list[Curve] = []
    for curve in sorted(curves, key=lambda each: not each.is_main):
        for at, other in enumerate(found):
            if all(_is_close(a[1], b[1]) for a, b in zip(curve.points, other.points, strict=True)):
                found[at] = replace(other, label=f"{other.label}, {curve.label}")
                break
        else:
            found.append(curve)
    return found


def _is_close(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= STEADY * min(one, other)


def number(value: float) -> str:
    """Three digits, without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _axes(curves: Sequence[Curve]) -> tuple[Axis, Axis]:
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points if math.isfinite(y)]
    low, high = min(ys), max(ys)
    is_log = high > LOG_FROM * low > 0
    low, high = (low / 1.25, high * 1.25) if is_log else (0.0, high * 1.1 or 1.0)
    across = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, is_log=True)
    return across, Axis(low, high, HEIGHT - BOTTOM, TOP, is_log)


def _round_step(step: float) -> float:
    """1, 2 or 5 times a power of ten, not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= step)


def _text(x: float, y: float, said: str, kind: str, **more: object) -> Markup:
    return element("text", said, x=x, y=y, class_=kind, **more)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _grid(across: Axis, up: Axis, titles: tuple[str, str]) -> Iterator[Markup]:
    for value in up.ticks():
        y = up.place(value)
        yield _line(LEFT, y, WIDTH - RIGHT, y, "grid")
        yield _text(LEFT - 8, y + 4, number(value), "tick", text_anchor="end")
    for value in across.ticks():
        x = across.place(value)
        yield _line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, "axis")
        yield _text(x, HEIGHT - BOTTOM + 20, number(value), "tick", text_anchor="middle")
    yield _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
    middle = (across.start + across.stop) / 2
    yield _text(middle, HEIGHT - 14, titles[0], "title", text_anchor="middle")
    y = (up.start + up.stop) / 2
    turn = f"rotate(-90 18 {y:.1f})"
    yield _text(18.0, y, titles[1], "title", text_anchor="middle", transform=turn)


def _zones(zones: Sequence[Zone], across: Axis) -> Iterator[Markup]:
    for at, zone in enumerate(zones):
        x, end = across.place(zone.low), across.place(zone.high)
        height = HEIGHT - BOTTOM - TOP
        kind = f"zone z{at % 2}"
        title = element("title", f"plan {at + 1}: {zone.label}")
        yield element("rect", title, x=x, y=TOP, width=end - x, height=height, class_=kind)
        if end - x >= 14:
            fits = end - x >= 22 + 6.6 * len(zone.label)
            said = f"{at + 1} · {zone.label}" if fits else str(at + 1)
            yield _text((x + end) / 2, TOP - 8, said, "zone-label", text_anchor="middle")


def _now(now: float, across: Axis) -> Markup:
    x, said = across.place(now), f"as given: {number(now)}"
    side, anchor = (5, "start") if x < (across.start + across.stop) / 2 else (-5, "end")
    return join(
        _line(x, TOP, x, HEIGHT - BOTTOM, "now"),
        _text(x + side, HEIGHT - BOTTOM - 8, said, "now-label", text_anchor=anchor),
    )


def _curves(curves: Sequence[Curve], across: Axis, up: Axis) -> Iterator[Markup]:
    """The main curve last, over the others, then the names at the right."""
    for at, curve in reversed(list(enumerate(curves))):
        kind = f"curve c{at % COLOURS}{' main' if curve.is_main else ''}"
        for run in _runs(sorted((*curve.points, *curve.between), key=lambda point: point[0])):
            places = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in run)
            yield element("polyline", element("title", curve.label), points=places, class_=kind)
    yield from _names(curves, up)


def _names(curves: Sequence[Curve], up: Axis) -> Iterator[Markup]:
    """Each curve's name at its right end, moved where another one stands."""
    ends = [[y for _, y in curve.points if math.isfinite(y)] for curve in curves]
    wanted = [up.place(each[-1]) if each else up.stop for each in ends]
    told = [textwrap.wrap(curve.label, LABEL_SIGNS) for curve in curves]
    places = spread(wanted, [len(lines) for lines in told])
    for (at, curve), lines, y, own in zip(enumerate(curves), told, places, wanted, strict=True):
        x, kind = WIDTH - RIGHT, f"c{at % COLOURS}"
        yield element("path", d=f"M{x:g} {own:.1f} L{x + 12:g} {y:.1f}", class_=f"lead {kind}")
        bold = "700" if curve.is_main else None
        for row, line in enumerate(lines):
            below = y + 4 + row * LABEL_HEIGHT
            yield _text(x + 16, below, line, f"name {kind}", font_weight=bold)


def _runs(points: Sequence[XY]) -> Iterator[list[XY]]:
    """Pieces of a curve between its gaps."""
    run: list[XY] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def spread(wanted: Sequence[float], rows: Sequence[int]) -> list[float]:
    """Places near the wanted ones for labels of so many rows, one below the other, within the
    chart."""
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    places = list(wanted)
    floor = TOP
    for at in order:
        places[at] = max(wanted[at], floor)
        floor = places[at] + rows[at] * LABEL_HEIGHT
    ceiling = HEIGHT - BOTTOM + LABEL_HEIGHT
    for at in reversed(order):
        places[at] = min(places[at], ceiling - rows[at] * LABEL_HEIGHT)
        ceiling = places[at]
    return places


def _marks(marks: Sequence[Mark], across: Axis, up: Axis) -> Iterator[Markup]:
    """Each change of plan: a line, a dot, and its value above, on two levels where it is narrow."""
    taken = [-math.inf, -math.inf]
    for mark in marks:
        x, y = across.place(mark.at[0]), up.place(mark.at[1])
        yield _line(x, TOP - 4, x, HEIGHT - BOTTOM, "change")
        yield element("circle", element("title", mark.label), cx=x, cy=y, r=5.0, class_="dot")
        level = next((at for at, end in enumerate(taken) if x - end > 46), None)
        if level is not None:
            taken[level] = x
            y = TOP - 26 - 13 * level
            yield _text(x, y, number(mark.at[0]), "mark-label", text_anchor="middle")
