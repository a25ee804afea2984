"""The way of the patches through a plan with tiles, as SVG: columns of workers, ribbons of bytes.

    cam-1 ══╗  edge-1 ══════ edge-1 ══╗
            ╠══ edge-2 ═════ edge-2 ══╬══ cloud-1 ═══ cam-1
            ╚══ edge-3 ══════ edge-3 ══╝
    source     a tile map  the next one   whole layers  results

A ribbon is as thick as its bytes, all in one measure; it has its sender's colour. What a node
keeps for itself does not travel: a dotted line.

Invariant: ribbons at a box do not overlap, and fit into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from edgeflow.layout.split import SOURCE, Patch, Split, patch_bytes
from edgeflow.model.graph import Graph
from edgeflow.tiles.rect import area
from edgeflow.views.markup import Markup, element
from edgeflow.views.tilefacts import Legend, kilobytes, letter

WIDTH, HEIGHT = 1000.0, 300.0
TOP, BOTTOM = 40.0, 6.0
BOX, GAP = 26.0, 9.0
"""Width of a box, and the room between two of a column."""
LONE = 90.0
"""Height of a box that is alone in its column, and of no map."""
COLUMNS_MAX = 14
"""A plan of more steps would be a picture of threads."""
COLOURS = 8
END = -2
"""In place of a segment: the source again, where results arrive."""

STYLE = """
svg.ways { width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg .box { fill: var(--dim) } svg .way { fill: none; stroke: var(--dim); stroke-opacity: .5 }
svg .kept { fill: none; stroke: var(--dim); stroke-width: 1.2; stroke-dasharray: 2 3 }
svg .ways-title { fill: var(--dim); font-size: 10.5px } svg text.in-box { fill: var(--paper);
  font-weight: 600 }
""" + "\n".join(
    f"svg .box.c{at} {{ fill: var(--c{at}) }} svg .way.c{at} {{ stroke: var(--c{at}) }}"
    for at in range(COLOURS)
)


@dataclass(frozen=True, slots=True)
class Way:
    """What one segment sends to another; `SOURCE` and `END` are the source."""

    sender: int
    reader: int
    nbytes: int
    is_kept: bool
    """Within a node."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A segment's box."""

    node: str
    x: float
    y: float
    height: float


def ways(graph: Graph, parts: Split) -> list[Way]:
    """Everything that goes from one segment to another, results too."""

    def size(patches: Iterable[Patch]) -> int:
        return sum(patch_bytes(graph, patch) for patch in patches)

    found = []
    for at, patches in parts.entry.items():
        found.append(Way(SOURCE, at, size(patches), parts.segments[at].node == parts.source))
    for each in parts.segments:
        for at, patches in each.sends.items():
            found.append(Way(each.at, at, size(patches), parts.segments[at].node == each.node))
        if each.results:
            found.append(Way(each.at, END, size(each.results), each.node == parts.source))
    return found


def draw(graph: Graph, parts: Split, known: Legend) -> Markup | None:
    """The picture; None where the plan has too many steps for one."""
    steps = columns(parts)
    if len(steps) + 2 > COLUMNS_MAX:
        return None
    spots, every = placed(parts, steps), ways(graph, parts)
    measure = byte_height(spots, every)
    drawn = [
        *_ribbons(parts, spots, every, measure, known),
        *(part for spot in spots.values() for part in _box(spot, known)),
        *_titles(parts, steps, spots),
    ]
    said = "the way of the patches from worker to worker"
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    return element("svg", *drawn, viewBox=box, role="img", aria_label=said, class_="ways")


def columns(parts: Split) -> list[list[int]]:
    """Segments that stand one below the other: the tiles of a map, or one whole segment."""

    def key(at: int) -> tuple[object, ...]:
        segment = parts.segments[at]
        return (segment.layers,) if segment.tile else (segment.layers, at)

    order = sorted(range(len(parts.segments)), key=lambda at: _first(parts, at))
    return [list(each) for _, each in groupby(order, key)]


def _first(parts: Split, at: int) -> tuple[int, int]:
    """The tiles of a map together, where its first one stands."""
    layers = parts.segments[at].layers
    return next(each.at for each in parts.segments if each.layers == layers), at


def placed(parts: Split, steps: Sequence[Sequence[int]]) -> dict[int, Spot]:
    """A box for each segment, as high as its share of the map; for the source one at each end."""
    pitch = (WIDTH - BOX) / (len(steps) + 1)
    middle = TOP + (HEIGHT - BOTTOM - TOP) / 2
    found = {SOURCE: Spot(parts.source, 0.0, middle - LONE / 2, LONE)}
    for at, step in enumerate(steps, 1):
        tiles = [parts.segments[one].tile for one in step]
        sizes = [area(tile) if tile else 1 for tile in tiles]
        high = LONE if len(step) == 1 else HEIGHT - BOTTOM - TOP - GAP * (len(step) - 1)
        y = middle - (high + GAP * (len(step) - 1)) / 2
        for one, size in zip(step, sizes, strict=True):
            height = high * size / sum(sizes)
            found[one] = Spot(parts.segments[one].node, at * pitch, y, height)
            y += height + GAP
    found[END] = Spot(parts.source, WIDTH - BOX, middle - LONE / 2, LONE)
    return found


def byte_height(spots: Mapping[int, Spot], every: Sequence[Way]) -> float:
    """Height of a byte, so that all fits everywhere."""
    found = []
    for at, spot in spots.items():
        out = sum(way.nbytes for way in every if way.sender == at and not way.is_kept)
        into = sum(way.nbytes for way in every if way.reader == at and not way.is_kept)
        found += [spot.height / count for count in (out, into) if count]
    return min(found, default=0.0)


def _ribbons(
    parts: Split,
    spots: Mapping[int, Spot],
    every: Sequence[Way],
    measure: float,
    known: Legend,
) -> Iterator[Markup]:
    """Those of a box in the order of the boxes at their other ends, around its middle."""
    moved = [way for way in every if not way.is_kept]
    leaves = met(spots, moved, measure, is_out=True)
    enters = met(spots, moved, measure, is_out=False)
    for way in every:
        one, other = spots[way.sender], spots[way.reader]
        x1, x2 = one.x + BOX, other.x
        told = f"{one.node} → {other.node}: {kilobytes(way.nbytes)} kB"
        title = element("title", f"{told}, stays" if way.is_kept else told)
        y1 = one.y + one.height / 2 if way.is_kept else leaves[way]
        y2 = other.y + other.height / 2 if way.is_kept else enters[way]
        bend = (x2 - x1) / 2
        path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f}"
        path += f" {x2:.1f} {y2:.1f}"
        if way.is_kept:
            yield element("path", title, d=path, class_="kept")
        else:
            width = max(1.0, way.nbytes * measure)
            kind = f"way {_kind(one.node, known)}".strip()
            yield element("path", title, d=path, class_=kind, stroke_width=width)


def met(
    spots: Mapping[int, Spot], moved: Sequence[Way], measure: float, *, is_out: bool
) -> dict[Way, float]:
    """Where the middle of each ribbon meets its box."""
    found: dict[Way, float] = {}
    for at, spot in spots.items():
        mine = [way for way in moved if (way.sender if is_out else way.reader) == at]
        mine.sort(key=lambda way: _far(spots[way.reader if is_out else way.sender]))
        y = spot.y + (spot.height - sum(way.nbytes for way in mine) * measure) / 2
        for way in mine:
            found[way] = y + way.nbytes * measure / 2
            y += way.nbytes * measure
    return found


def _far(spot: Spot) -> tuple[float, float]:
    return spot.y, spot.x


def _kind(node: str, known: Legend) -> str:
    return f"c{known[node] % COLOURS}" if node in known else ""


def _box(spot: Spot, known: Legend) -> Iterator[Markup]:
    kind = f"box {_kind(spot.node, known)}".strip()
    title = element("title", spot.node)
    yield element(
        "rect", title, x=spot.x, y=spot.y, width=BOX, height=spot.height, rx=3, class_=kind
    )
    if spot.node in known and spot.height >= 13:
        x, y = spot.x + BOX / 2, spot.y + spot.height / 2 + 4
        said = letter(known[spot.node])
        yield element("text", said, x=x, y=y, class_="in-box", text_anchor="middle")


def _titles(
    parts: Split, steps: Sequence[Sequence[int]], spots: Mapping[int, Spot]
) -> Iterator[Markup]:
    """Above each column its layers, on two lines; above the ends the source."""
    told = [(spots[SOURCE].x, [parts.source, "sends"], "start")]
    told.append((spots[END].x + BOX, [parts.source, "gets"], "end"))
    for step in steps:
        layers = parts.segments[step[0]].layers
        words = [layers[0]] if len(layers) == 1 else [f"{layers[0]} ..", layers[-1]]
        told.append((spots[step[0]].x + BOX / 2, words, "middle"))
    signs = int(WIDTH / (len(steps) + 1) / 6)
    for x, words, anchor in told:
        for row, word in enumerate(words):
            said = word if len(word) <= signs else f"…{word[1 - signs :]}"
            y = 12.0 + 13 * row
            yield element("text", said, x=x, y=y, class_="ways-title", text_anchor=anchor)
