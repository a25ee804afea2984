"""A rehearsal as one HTML page: what each frame took, when the plan changed, what links carried.

    ┌──────────────────────────────────────┐     dots: frames, a colour a plan
    │ ····╎·········   ── the best plan    │     ╎ the source took up another plan
    ├──────────────────────────────────────┤
    │ Mbit/s of each pair whose rate moves │
    └──────────────────────────────────────┘

Nothing is fetched: styles and drawing are inside, there is no script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgeflow.sim.weather import Report
from edgeflow.sim.weather.report import Change
from edgeflow.views.chart import COLOURS, Axis, number
from edgeflow.views.markup import Markup, element, join
from edgeflow.views.page import COLOUR_STYLE, STYLE

WIDTH, LEFT, RIGHT, TOP = 1000.0, 60.0, 16.0, 40.0
HIGH, GAP, LOW = 300.0, 34.0, 90.0
FLOOR = TOP + HIGH
HEIGHT = FLOOR + GAP + LOW + 40.0
MOST = 0.98
"""Share of frames that the scale shows; those above lie on its upper edge."""
POINTS = 1000
"""Of the oracle's line and the rates'."""
DOTS = "\n".join(
    f"svg .dot.c{at}, i.c{at} {{ fill: var(--c{at}); background: var(--c{at}); stroke: none }}"
    for at in range(COLOURS)
)
MORE = """
svg .dot { stroke: none } svg .best { fill: none; stroke: var(--ink); stroke-width: 1.5 }
svg .change { stroke: var(--mark) } svg .moment { stroke: var(--dim); stroke-dasharray: 2 4 }
i { display: inline-block; width: .8em; height: .8em; border-radius: 50% }
"""
ABOUT = (
    "In virtual time: the thinking part of the nodes is the one of the field; speeds, links and"
    " load are simulated, and nothing here was measured on a machine. Dots are frames, coloured by"
    " plan; the line is the best plan of each moment at the true prices. Dashes: what happens, and"
    " where the source took up another plan."
)


def page(about: str, model: str, reports: Sequence[Report]) -> str:
    """The whole document."""
    heading = f"{model} rehearsed: {about}"
    body = join(
        element("h1", heading),
        element("p", ABOUT, class_="about"),
        *(part for report in reports for part in _run(report)),
    )
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", heading),
        element("style", Markup(STYLE + COLOUR_STYLE + MORE + DOTS)),
    )
    whole = element("html", element("head", head), element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def _run(report: Report) -> Iterator[Markup]:
    """One policy."""
    plans = list(dict.fromkeys(shot.plan for shot in report.frames if shot.plan))
    told = f"{len(report.frames)} frames, {report.lost} lost, {report.failed} failed"
    yield element("h2", f"{report.weather.policy}: {told}")
    yield element(
        "svg",
        *_frames(report, plans),
        *_rates(report),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label="latency of each frame against time",
        class_="chart",
    )
    yield _table(("", "plan"), [(_sign(at), _code(plan)) for at, plan in enumerate(plans)])
    rows = [(f"{each.at_s:.1f} s", _code(each.after), each.why) for each in report.changes]
    yield _table(("taken up", "plan", "why"), rows)
    yield _table(("from", "what happens", "frames", "seconds"), _moments(report))


def _across(report: Report) -> Axis:
    return Axis(0.0, report.weather.ends_s, LEFT, WIDTH - RIGHT, is_log=False)


def _frames(report: Report, plans: list[str]) -> Iterator[Markup]:
    across = _across(report)
    seconds = sorted(shot.latency_s for shot in report.frames if shot.code == "ok")
    most_ms = 1.2e3 * seconds[int(MOST * (len(seconds) - 1))] if seconds else 1.0
    up = Axis(0.0, most_ms, FLOOR, TOP, is_log=False)
    yield from _grid(across, up, "ms", FLOOR)
    for at_s, _ in report.moments:
        yield _upright(across.place(at_s), "moment", report.words_at(at_s))
    for change in report.changes:
        yield _upright(across.place(change.at_s), "change", _said(change))
    for shot in report.frames:
        value = min(most_ms, shot.latency_s * 1e3)
        kind = plans.index(shot.plan) % COLOURS if shot.plan else 0
        x, y = across.place(shot.at_s), up.place(value)
        yield element("circle", cx=x, cy=y, r=2.0, class_=f"dot c{kind}")
    times = [report.weather.ends_s * at / POINTS for at in range(POINTS + 1)]
    best = [(at_s, min(most_ms, report.oracle.best_s(at_s) * 1e3)) for at_s in times]
    yield _line(across, up, best, "best")


def _rates(report: Report) -> Iterator[Markup]:
    """Of pairs whose rate moves; those that move alike are one."""
    found: dict[tuple[float, ...], list[str]] = {}
    links = report.oracle.nature.bytes_per_s
    for (a, b), steps in links.items():
        if a < b:
            found.setdefault(steps.values, []).append(f"{a} {b}")
    moving = {values: names for values, names in found.items() if len(set(values)) > 1}
    across = _across(report)
    most = max((max(values) for values in moving or found), default=1.0) * 8e-6
    up = Axis(0.0, 1.1 * most, FLOOR + GAP + LOW, FLOOR + GAP, is_log=False)
    yield from _grid(across, up, "Mbit/s", FLOOR + GAP + LOW)
    for at, names in enumerate((moving or found).values()):
        a, b = names[0].split()
        steps = links[a, b]
        times = sorted({0.0, *steps.at_s, report.weather.ends_s})
        points = [(0.0, steps.at(0.0) * 8e-6)]
        for before, after in pairwise(times):
            points += [(before, steps.at(before) * 8e-6), (after, steps.at(before) * 8e-6)]
        title = element("title", ", ".join(names))
        yield _line(across, up, points, f"curve c{at % COLOURS}", title)


def _grid(across: Axis, up: Axis, unit: str, floor: float) -> Iterator[Markup]:
    for value in up.ticks():
        y = up.place(value)
        yield element("line", x1=LEFT, y1=y, x2=WIDTH - RIGHT, y2=y, class_="grid")
        text = number(value)
        yield element("text", text, x=LEFT - 8, y=y + 4, class_="tick", text_anchor="end")
    yield element("text", unit, x=LEFT, y=up.stop - 6, class_="title")
    for value in across.ticks():
        x = across.place(value)
        text = f"{number(value)} s"
        yield element("text", text, x=x, y=floor + 16, class_="tick", text_anchor="middle")


def _upright(x: float, kind: str, said: str) -> Markup:
    title = element("title", said)
    return element("line", title, x1=x, y1=TOP, x2=x, y2=FLOOR, class_=kind)


def _line(
    across: Axis, up: Axis, points: Sequence[tuple[float, float]], kind: str, *inside: Markup
) -> Markup:
    places = [f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in points if math.isfinite(y)]
    return element("polyline", *inside, points=" ".join(places), class_=kind)


def _said(change: Change) -> str:
    return f"{change.at_s:.1f} s: {change.after}; {change.why}"


def _moments(report: Report) -> list[tuple[str, str, str, str]]:
    rows = []
    for at_s, until_s in report.moments:
        found = report.convergence(at_s, until_s)
        never = math.isinf(found.frames)
        told = ("never", "") if never else (f"{found.frames:g}", f"{found.seconds:.1f}")
        rows.append((f"{at_s:g} s", report.words_at(at_s), *told))
    return rows


def _sign(at: int) -> Markup:
    return element("i", class_=f"c{at % COLOURS}")


def _code(line: str) -> Markup:
    return element("code", line)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    titles = element("tr", *(element("th", text) for text in head))
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    whole = element("table", element("thead", titles), element("tbody", *lines))
    return element("div", whole, class_="scroll")
