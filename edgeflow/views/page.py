"""One HTML page that shows a question and its answers to a colleague: a sweep's chart and plans
where one was asked for, tile maps where there are some, algorithms, sources.

Nothing is fetched: styles and drawing are inside, there is no script. Dark where the reader's
screen is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from edgeflow.views import chart, plantable, plantiles
from edgeflow.views.chart import XY, Curve, Mark, Zone, number
from edgeflow.views.markup import Markup, element, join
from edgeflow.views.plantable import MEASURES, Measure, nodes_of
from edgeflow.whatif.findings import BEST, Findings, Sweep
from edgeflow.whatif.scene import Scene, unit_of

STYLE = """
:root { color-scheme: light dark;
  --ink: #1c2127; --dim: #5d6773; --paper: #fff; --rule: #d9dee4; --zone: #eef2f6; --mark: #b3261e;
  --c0: #0b57d0; --c1: #b06000; --c2: #00796b; --c3: #8e24aa; --c4: #546e7a; --c5: #c2185b;
  --c6: #5d7a00; --c7: #6d4c41 }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e4e8ec; --dim: #9aa5b1; --paper: #14181d; --rule: #333b44; --zone: #1c232b;
  --mark: #ff8a80; --c0: #7cacf8; --c1: #f5b556; --c2: #4db6ac; --c3: #d38cf0; --c4: #9fb4bf;
  --c5: #f48fb1; --c6: #b5d155; --c7: #c9a696 } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1.2rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem }
h2 { font-size: 1.1rem; margin-top: 2rem }
p.about { color: var(--dim); margin: 0 0 .6rem }
p.refused { color: var(--dim); font-size: 13.5px; margin: .6rem 0 }
p.basis { display: inline-block; border: 1px solid var(--mark); color: var(--mark);
  border-radius: 4px; padding: .1rem .6rem; margin: 0 0 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin-bottom: 1.2rem }
th { text-align: left; color: var(--dim); font-weight: 500 } th, td { padding: .3rem .9rem .3rem 0;
  border-bottom: 1px solid var(--rule); vertical-align: top; white-space: pre-line }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
table.tight { font-size: 12.5px }
table.tight td, table.tight th { white-space: pre; padding-right: .7rem }
code { font: 12.5px/1.45 ui-monospace, monospace; overflow-wrap: anywhere }
svg.chart { width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--ink) } svg .tick, svg .now-label { fill: var(--dim) }
svg .title { font-size: 13px } svg .zone-label { fill: var(--dim); font-size: 12px }
svg .mark-label { fill: var(--mark); font-size: 11.5px }
svg .zone { fill: none } svg .z0 { fill: var(--zone) }
svg .grid { stroke: var(--rule); stroke-width: 1 } svg .axis { stroke: var(--dim) }
svg .now { stroke: var(--dim); stroke-dasharray: 2 4 }
svg .change { stroke: var(--mark); stroke-dasharray: 4 4; opacity: .6 }
svg .dot { fill: var(--paper); stroke: var(--mark); stroke-width: 2.5 }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round } svg .main { stroke-width: 4 }
svg .lead { fill: none; opacity: .5 }
footer { color: var(--dim); font-size: 13px; margin-top: 2rem }
"""
COLOUR_STYLE = "\n".join(
    f"svg .curve.c{at}, svg .lead.c{at} {{ stroke: var(--c{at}) }} "
    f"svg .name.c{at} {{ fill: var(--c{at}) }}"
    for at in range(chart.COLOURS)
)


def page(findings: Findings) -> str:
    """The whole document."""
    scene, found = findings.scene, findings.sweep
    heading = f"{findings.asked.graph.name} on {scene.name}"
    if found:
        measure = MEASURES[findings.asked.goal.objective]
        heading = f"{heading}: {measure.title} against {found.name}"
    body = join(
        element("h1", heading),
        element("p", f"{scene.about}; frames enter at {scene.source}", class_="about"),
        element("p", scene.basis, class_="basis"),
        *(_swept(findings, found) if found else []),
        *plantiles.sections(findings),
        element("h2", "Algorithms side by side, as given"),
        _answers(findings),
        element("h2", "Why this cut: what others would cost"),
        element("p", findings.best.proposal.reason if findings.best.proposal else ""),
        _beside(findings),
        *_sources(scene),
        element("footer", _closing(found)),
    )
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", heading),
        element("style", Markup(STYLE + COLOUR_STYLE + plantiles.STYLE)),
    )
    whole = element("html", element("head", head), element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def _swept(findings: Findings, found: Sweep) -> list[Markup]:
    """The chart, and where the plan changes."""
    measure = MEASURES[findings.asked.goal.objective]
    titles = (f"{found.name}, {unit_of(found.name)}", f"predicted {measure.title}, {measure.unit}")
    now = findings.scene.value_of(found.name)
    return [
        chart.draw(_curves(found, measure), _zones(found), _marks(found, measure), titles, now),
        element("h2", "Where the best plan changes"),
        _stretches(found, measure, titles[0]),
    ]


def _closing(found: Sweep | None) -> str:
    planner = (
        "The planner is the one that runs in the field; it prices one frame at a time, in which"
        " only the tiles of one map overlap."
    )
    if found is None:
        return planner
    values = f"{len(found.points)} values, evenly spread by factor; changes sought between them."
    return f"{values} {planner}"


def _curves(found: Sweep, measure: Measure) -> list[Curve]:
    names = [each.algorithm for each in found.points[0].answers]
    curves = [
        Curve(
            name,
            tuple((point.value, point.worth(name) * measure.factor) for point in found.points),
            name == BEST,
            _sides(found, measure) if name == BEST else (),
        )
        for name in names
    ]
    return [curve for curve in curves if any(math.isfinite(y) for _, y in curve.points)]


def _sides(found: Sweep, measure: Measure) -> tuple[XY, ...]:
    """The best plan on both sides of each change."""
    sides: list[XY] = []
    for before, behind in pairwise(found.stretches):
        sides.append((behind.low, before.high_worth * measure.factor))
        sides.append((behind.low, behind.low_worth * measure.factor))
    return tuple(sides)


def _zones(found: Sweep) -> list[Zone]:
    return [Zone(each.low, each.high, nodes_of(each.line)) for each in found.stretches]


def _marks(found: Sweep, measure: Measure) -> list[Mark]:
    """Where one stretch ends and the next begins; the curve goes through there."""
    pairs = pairwise(found.stretches)
    return [
        Mark(
            (behind.low, measure.factor * _finite(before.high_worth, behind.low_worth)),
            f"{number(behind.low)}: {before.line or 'no plan'} becomes {behind.line or 'no plan'}",
        )
        for before, behind in pairs
    ]


def _finite(one: float, other: float) -> float:
    return one if math.isfinite(one) else other


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Collection[str],
    kind: str | None = None,
) -> Markup:
    """A table; `numbers` are the columns that stand to the right."""
    kinds = {at: "n" for at, text in enumerate(head) if text in numbers}
    titles = [element("th", text, class_=kinds.get(at)) for at, text in enumerate(head)]
    lines = [
        element("tr", *(element("td", cell, class_=kinds.get(at)) for at, cell in enumerate(row)))
        for row in rows
    ]
    whole = element(
        "table", element("thead", element("tr", *titles)), element("tbody", *lines), class_=kind
    )
    return element("div", whole, class_="scroll")


def _stretches(found: Sweep, measure: Measure, title: str) -> Markup:
    rows = [
        (
            str(at),
            f"{number(each.low)} – {number(each.high)}",
            f"{measure.told(each.low_worth)} → {measure.told(each.high_worth)}",
            element("code", each.line or "no plan"),
        )
        for at, each in enumerate(found.stretches, 1)
    ]
    return table(("", title, measure.heading, "plan"), rows, (title, measure.heading))


def _answers(findings: Findings) -> Markup:
    refused = [
        element("p", f"{each.algorithm}: {each.refusal}", class_="refused")
        for each in findings.answers
        if not each.proposal
    ]
    found = table(plantable.columns(findings), plantable.rows(findings), plantable.RIGHT, "tight")
    return join(found, *refused)


def _beside(findings: Findings) -> Markup:
    head = plantable.beside_columns(findings)
    return table(head, plantable.beside_rows(findings), head[1:])


def _sources(scene: Scene) -> list[Markup]:
    if not scene.cited:
        return []
    rows = [
        (
            each.what,
            f"{number(each.value)} {each.unit}",
            f"{'estimate: ' if each.is_estimate else ''}{each.source}",
        )
        for each in scene.cited
    ]
    return [
        element("h2", "Where the figures come from"),
        table(("figure", "value", "source"), rows, ("value",)),
    ]
