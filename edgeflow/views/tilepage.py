"""A tile map on a page: rectangles, hatched halos, and the numbers beside it; all of it inline.

    ┌────────────┐
    │ A          │   A's rows
    │////////////│   A's rows that B reads too, hatched in B's colour
    │////////////│   B's rows that A reads too
    │ B          │
    └────────────┘

Colours are the classes c0..c7 of the page, a node's by its number. Hatching is drawn line by line:
a pattern would need names that are unique on the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgeflow.messages import TileMapView, TileView
from edgeflow.tiles.rect import columns, rows
from edgeflow.views.markup import Markup, element, join
from edgeflow.views.tilefacts import (
    Box,
    Legend,
    Measured,
    caption,
    kilobytes,
    letter,
    lines,
    percent,
    read_box,
    summary,
)

WIDTH, HEIGHT = 210.0, 210.0
"""A map takes one of both, in its own proportions."""
LABEL_HEIGHT = 15.0
STEP = 7.0
"""Between the lines of a hatching."""
COLOURS = 8

STYLE = """
.tilemap { display: flex; flex-wrap: wrap; gap: .4rem 2rem; align-items: flex-start;
  margin: .4rem 0 1.6rem }
.tilemap svg { flex: none; width: 210px; height: auto; font: 12px system-ui, sans-serif }
.tilemap .scroll { flex: 1 1 26rem } h3 { font-size: .95rem; margin: 1.2rem 0 .2rem }
h3 span { color: var(--dim); font-weight: 400; margin-left: .6rem }
svg .tile { fill-opacity: .4; stroke: var(--paper); stroke-width: 1.5 }
svg .hatch { fill: none; stroke-width: 1.3 }
svg .halo { fill: none; stroke-width: 1; stroke-dasharray: 3 3 }
svg .tile-label { font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 4px }
i.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .45em }
""" + "\n".join(
    f"svg .tile.c{at} {{ fill: var(--c{at}) }} svg .hatch.c{at}, svg .halo.c{at}"
    f" {{ stroke: var(--c{at}) }} i.c{at} {{ background: var(--c{at}) }}"
    for at in range(COLOURS)
)


def section(views: Sequence[TileMapView], known: Legend, measured: Measured | None) -> Markup:
    """Every map with its numbers, and what they are together; `measured` None: nothing runs."""
    parts = [
        join(
            element("h3", view.layers, element("span", caption(view))),
            element("div", draw(view, known), _table(view, known, measured), class_="tilemap"),
        )
        for view in views
    ]
    told = f"{summary(views)}. Hatched: what a worker reads beyond its own rectangle."
    return join(*parts, element("p", told, class_="about"))


def draw(view: TileMapView, known: Legend) -> Markup:
    """The map, its rectangles and halos."""
    high, wide = rows(view.makes), columns(view.makes)
    scale = min(HEIGHT / high, WIDTH / wide)
    parts = [
        *(_tile(tile, known, scale) for tile in view.tiles),
        *(part for at in range(len(view.tiles)) for part in _halo(view, at, known, scale)),
        *(part for tile in view.tiles for part in _label(tile, known, scale)),
    ]
    said = f"tile map of {view.layers}: {', '.join(tile.node for tile in view.tiles)}"
    box = f"0 0 {wide * scale:g} {high * scale:g}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=said)


def _kind(node: str, known: Legend) -> str:
    return f"c{known[node] % COLOURS}"


def _box(tile: TileView) -> Box:
    own = tile.makes
    return Box(own.top, own.bottom, own.left, own.right)


def _place(box: Box, scale: float) -> dict[str, float]:
    return {
        "x": box.left * scale,
        "y": box.top * scale,
        "width": (box.right - box.left) * scale,
        "height": (box.bottom - box.top) * scale,
    }


def _tile(tile: TileView, known: Legend, scale: float) -> Markup:
    title = element("title", f"{tile.node}: {tile.makes}, reads {tile.reads}")
    kind = f"tile {_kind(tile.node, known)}"
    return element("rect", title, **_place(_box(tile), scale), class_=kind)


def _label(tile: TileView, known: Legend, scale: float) -> Iterator[Markup]:
    """A letter, and the name where it fits."""
    place = _place(_box(tile), scale)
    if place["height"] < LABEL_HEIGHT:
        return
    mark = letter(known[tile.node])
    fits = place["width"] > 8 * len(tile.node) + 28
    said = f"{mark}  {tile.node}" if fits else mark
    x, y = place["x"] + 7, place["y"] + place["height"] / 2 + 4
    yield element("text", said, x=x, y=y, class_="tile-label")


def halo_boxes(view: TileMapView, at: int) -> list[Box]:
    """What a tile reads beyond its own rectangle, in the map that it makes, as rectangles."""
    own, reads = _box(view.tiles[at]), read_box(view, view.tiles[at])
    top, bottom = min(reads.top, own.top), max(reads.bottom, own.bottom)
    found = [
        Box(top, own.top, reads.left, reads.right),
        Box(own.bottom, bottom, reads.left, reads.right),
        Box(own.top, own.bottom, reads.left, own.left),
        Box(own.top, own.bottom, own.right, reads.right),
    ]
    return [box for box in found if box.bottom > box.top and box.right > box.left]


def _halo(view: TileMapView, at: int, known: Legend, scale: float) -> Iterator[Markup]:
    """Hatched in the reader's colour, every other tile's the other way."""
    tile = view.tiles[at]
    kind, way = _kind(tile.node, known), -1.0 if at % 2 else 1.0
    for box in halo_boxes(view, at):
        place = _place(box, scale)
        path = hatching(place["x"], place["y"], place["width"], place["height"], way)
        title = element("title", f"read by {tile.node} too")
        yield element("path", d=path, class_=f"hatch {kind}")
        yield element("rect", title, **place, class_=f"halo {kind}")


def hatching(x: float, y: float, width: float, height: float, way: float) -> str:
    """A path of slanting lines within a rectangle; `way` 1 falls to the right, -1 rises."""
    found = []
    # Lines v = u + shift, of u across and v down.
    first = math.ceil(-width / STEP)
    for shift in (number * STEP for number in range(first, int(height / STEP) + 1)):
        start, stop = max(0.0, -shift), min(width, height - shift)
        if stop > start:
            ends = [(u if way > 0 else width - u, u + shift) for u in (start, stop)]
            (x1, y1), (x2, y2) = ((x + u, y + v) for u, v in ends)
            found.append(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")
    return "".join(found)


def _table(view: TileMapView, known: Legend, measured: Measured | None) -> Markup:
    times = ["predicted, ms"] if measured is None else ["predicted, ms", "measured, ms"]
    right = [*times, "recomputed", "kB in"]
    told = lines(view, measured or {})
    what = "rows, columns" if any("," in line.what for line in told) else "rows"
    body = []
    for line in told:
        seen = "–" if line.measured_s is None else f"{line.measured_s * 1e3:.1f}"
        mark = element("i", class_=f"swatch {_kind(line.node, known)}")
        words = [join(mark, f"{letter(known[line.node])}  {line.node}"), line.what, line.reads]
        numbers = [
            f"{line.predicted_s * 1e3:.1f}",
            *([] if measured is None else [seen]),
            percent(line.recomputed_share),
            kilobytes(line.in_bytes),
        ]
        cells = [element("td", each) for each in words]
        body.append(element("tr", *cells, *(element("td", each, class_="n") for each in numbers)))
    titles = [element("th", each) for each in ("worker", what, "reads")]
    head = element("tr", *titles, *(element("th", each, class_="n") for each in right))
    table = element("table", element("thead", head), element("tbody", *body), class_="tight")
    return element("div", table, class_="scroll")
