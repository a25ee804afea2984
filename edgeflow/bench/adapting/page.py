"""A run as one HTML page: latency against time, the oracle, plan changes, the radio's true rate.

    ┌ phases ─────────────────────────────┐     dots: frames, a colour a placement
    │ ·····╎·········  ── oracle          │     ╎ a plan was committed; its sentence stands below
    ├─────────────────────────────────────┤
    │ Mbit/s of the radio                 │
    └─────────────────────────────────────┘

Nothing is fetched, there is no script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgeflow.bench.adapting import findings
from edgeflow.bench.adapting.findings import Run
from edgeflow.bench.adapting.oracle import Table
from edgeflow.views.markup import Markup, element, join

WIDTH, LEFT, RIGHT = 1200.0, 60.0, 20.0
TOP, HIGH, GAP, LOW = 40.0, 340.0, 30.0, 110.0
HEIGHT = TOP + HIGH + GAP + LOW + 40
POINTS = 1200
"""Of the oracle's and the rate's line."""
MOST = 0.99
"""Share of frames that the scale shows; those above lie on its upper edge."""
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a800")
"""By placement; told apart by the colour-blind too (Okabe and Ito, 2008)."""
STYLE = """
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; font: 14px/1.5 system-ui, sans-serif;
  color: #1c2127; background: #fff }
h1 { font-size: 1.3rem; margin: 0 } p { color: #5d6773; margin: .2rem 0 1rem }
table { border-collapse: collapse; font-size: 13px } td, th { text-align: left; padding: .2rem .8rem
  .2rem 0; border-bottom: 1px solid #d9dee4; vertical-align: top } th { color: #5d6773 }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: #5d6773 }
code { font: 12px ui-monospace, monospace }
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a time and a value are drawn."""

    from_s: float
    until_s: float
    high: float
    floor: float
    height: float

    def x(self, at_s: float) -> float:
        """Of a moment."""
        share = (at_s - self.from_s) / max(1e-9, self.until_s - self.from_s)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share))

    def y(self, value: float) -> float:
        """Of a value; what is too high lies on the upper edge."""
        return self.floor - self.height * min(1.0, value / self.high)


def page(run: Run, row: dict[str, Any], table: Table) -> str:
    """The whole page."""
    lines = list(dict.fromkeys(each.line for each in run.frames if each.line))
    job = run.job
    title = f"{job.network}, {job.policy}: {job.trace or 'all phases'}"
    told = [f"{key} {row[key]}" for key in ("frames", "failed", "lost", "wrong", "switches")]
    told += [f"{row['ratio']} × the oracle's mean latency"] if row.get("ratio") else []
    body = join(
        element("h1", title),
        element("p", ", ".join(told)),
        _drawing(run, lines, table),
        element("h2", "Placements"),
        _legend(lines),
        element("h2", "Plan changes"),
        _changes(run),
        *([element("h2", "Phases"), _phases(row["phases"])] if "phases" in row else []),
    )
    head = join(
        Markup('<meta charset="utf-8">'), element("title", title), element("style", Markup(STYLE))
    )
    return f"<!doctype html>{element('html', element('head', head), element('body', body))}\n"


def _drawing(run: Run, lines: list[str], table: Table) -> Markup:
    seconds = sorted(each.seconds for each in run.frames if each.ok)
    most_s = seconds[int(MOST * (len(seconds) - 1))] if seconds else 1.0
    above = Scale(run.from_s, run.until_s, 1.1 * most_s * 1e3, TOP + HIGH, HIGH)
    rate, oracle = findings.mbps_at(run), findings.oracle_of(run, table)
    times = [run.from_s + (run.until_s - run.from_s) * at / POINTS for at in range(POINTS + 1)]
    rates = [rate(at_s) for at_s in times]
    below = Scale(run.from_s, run.until_s, max(rates) * 1.1, HEIGHT - 30, LOW)
    parts = [*_axis(above, "ms"), *_axis(below, "Mbit/s of the radio"), *_moments(run, above)]
    parts += _commits(run, above)
    parts += _dots(run, lines, above)
    if oracle is not None:
        parts.append(_curve(above, times, lambda at_s: oracle(at_s) * 1e3, "#111", 1.5))
    parts.append(_curve(below, times, rate, "#0072b2", 1.2))
    return element("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}")


def _axis(scale: Scale, unit: str) -> Iterator[Markup]:
    step = 10 ** math.floor(math.log10(scale.high))
    step = step / 2 if scale.high / step < 3 else step
    for at in range(int(scale.high / step) + 1):
        y = scale.y(at * step)
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, stroke="#e4e8ec")
        yield element("text", f"{at * step:g}", x=LEFT - 8, y=y + 4, text_anchor="end")
    yield element("text", unit, x=8, y=scale.floor - scale.height - 6)
    for minute in range(int((scale.until_s - scale.from_s) / 60) + 1):
        x = scale.x(scale.from_s + 60 * minute)
        yield element("text", f"{minute} min", x=x, y=scale.floor + 15, text_anchor="middle")


def _moments(run: Run, scale: Scale) -> Iterator[Markup]:
    for at, each in enumerate(run.notes.get("phases", ())):
        x = scale.x(each["moment_s"])
        yield element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - 30, stroke="#9aa5b1")
        yield element("text", each["phase"], x=x + 3, y=TOP - 8 - 14 * (at % 2))


def _commits(run: Run, scale: Scale) -> Iterator[Markup]:
    for at_s, why, _ in commits(run):
        x = scale.x(at_s)
        said = element("title", f"{at_s - run.from_s:.1f} s: {why}")
        yield element(
            "line",
            *(said,),
            x1=x,
            x2=x,
            y1=TOP,
            y2=TOP + HIGH,
            stroke="#b3261e",
            stroke_dasharray="3 3",
        )


def commits(run: Run) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """(when, why, all that was told) of each change of placement within the run."""
    notes, last = run.notes, ""
    for at_s, plan in notes["committed"]:
        line = notes["variants"][plan][0]
        told = notes["changes"].get(plan, {"why": notes["reasons"][plan]}) | {"after": line}
        if line != last and at_s >= run.from_s:
            yield at_s, told["why"], told
        last = line


def _dots(run: Run, lines: list[str], scale: Scale) -> Iterator[Markup]:
    for each in run.frames:
        if each.at_s < run.from_s:
            continue
        value = each.seconds * 1e3 if each.ok else scale.high
        colour = COLOURS[lines.index(each.line) % len(COLOURS)] if each.line else "#000"
        yield element("circle", cx=scale.x(each.at_s), cy=scale.y(value), r=1.8, fill=colour)


def _curve(
    scale: Scale, times: list[float], value: Callable[[float], float], colour: str, width: float
) -> Markup:
    points = [(scale.x(at_s), value(at_s)) for at_s in times]
    drawn = " ".join(f"{x:.1f},{scale.y(y):.1f}" for x, y in points if math.isfinite(y))
    return element("polyline", points=drawn, fill="none", stroke=colour, stroke_width=width)


def _legend(lines: list[str]) -> Markup:
    rows = [
        element(
            "tr",
            element("td", element("b", "●", style=f"color: {COLOURS[at % len(COLOURS)]}")),
            element("td", element("code", line)),
        )
        for at, line in enumerate(lines)
    ]
    oracle = element("tr", element("td", "—"), element("td", "the oracle: best plan, by hand"))
    return element("table", *rows, oracle)


def _changes(run: Run) -> Markup:
    names = ("at", "why", "predicted ms", "measured ms", "switch s", "placement")
    rows = [element("tr", *(element("th", name) for name in names))]
    for at_s, why, told in commits(run):
        switch_s = told.get("switch_s") or 0.0
        cells = [f"{at_s - run.from_s:.1f} s", why, _pair(told, "predicted")]
        cells += [_pair(told, "measured"), f"{switch_s:.2f}" if switch_s else "–"]
        line = element("td", element("code", told["after"]))
        rows.append(element("tr", *(element("td", cell) for cell in cells), line))
    return element("table", *rows)


def _pair(told: dict[str, Any], what: str) -> str:
    """`before → after`; a dash where it is not known."""
    ends_s = [told.get(f"{what}_{side}_s") or 0.0 for side in ("before", "after")]
    return " → ".join(f"{each * 1e3:.0f}" if each else "–" for each in ends_s)


def _phases(phases: list[dict[str, Any]]) -> Markup:
    names = ("phase", "frames", "seconds", "best_ms", "ran_ms", "measured_ms", "line")
    rows = []
    for each in phases:
        cells = ["never" if each[n] is None and n == "frames" else str(each[n]) for n in names]
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    return element("table", element("tr", *(element("th", name) for name in names)), *rows)
