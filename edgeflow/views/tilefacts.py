"""What is said of a tile map, on a terminal as on a page: who is who, halos, numbers, words.

    TileMapView, seconds by segment ──▶ lines (one a tile, or one a node), caption, totals
                                    ──▶ pixels: whose, and whether a neighbour reads it too

Halos lie in the map that a worker reads; they are drawn in the map that it makes, scaled.

Invariant: pure; nothing here knows colours or screens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgeflow.costmodel.tileviews import totals
from edgeflow.messages import Rect, SegmentTime, TileMapView, TileView
from edgeflow.tiles.rect import area, columns, rows

TILES_TOLD = 16
"""A map of more tiles is told node by node."""
SHARED_MIN = 0.25
"""A pixel counts as halo where others read so much of it. Lower draws thin halos too thick, higher
leaves them out."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Measured = Mapping[int, float]
"""Seconds by segment."""
Legend = Mapping[str, int]
"""A number for each node: its colour and its letter, the same in all maps."""


class Box(NamedTuple):
    """A rectangle in fractions of rows and columns of the map that is drawn."""

    top: float
    bottom: float
    left: float
    right: float


class Pixel(NamedTuple):
    """One spot of a picture."""

    tile: int
    """Its place in the view; -1 where no tile is told."""
    is_shared: bool
    """Another tile reads it too: it is in that one's halo."""


@dataclass(frozen=True, slots=True)
class Line:
    """A tile, or all tiles of a node, in numbers."""

    node: str
    what: str
    """Which rows, and columns where not all; or how many tiles."""
    reads: str
    predicted_s: float
    measured_s: float | None
    recomputed_share: float
    """Of what it would compute without halos."""
    in_bytes: int


def by_segment(times: Iterable[SegmentTime]) -> dict[int, float]:
    """Measured seconds of a plan's segments."""
    return {each.segment: each.seconds for each in times if each.runs}


def legend(views: Iterable[TileMapView]) -> dict[str, int]:
    """The nodes of these maps, by name."""
    nodes = sorted({tile.node for view in views for tile in view.tiles})
    return {node: at for at, node in enumerate(nodes)}


def letter(at: int) -> str:
    """A to Z, and then again."""
    return LETTERS[at % len(LETTERS)]


def own_flops(view: TileMapView, tile: TileView) -> float:
    """A tile's share of the layers by its area."""
    return view.flops * area(tile.makes) / area(view.makes)


def read_box(view: TileMapView, tile: TileView) -> Box:
    """What a tile reads, in the map that it makes."""
    down = rows(view.makes) / rows(view.reads)
    across = columns(view.makes) / columns(view.reads)
    rect = tile.reads
    return Box(rect.top * down, rect.bottom * down, rect.left * across, rect.right * across)


def raster(view: TileMapView, down: int, across: int) -> list[list[Pixel]]:
    """The map in `down` rows of `across` pixels: whose is the middle of each, and whether
    another one reads it."""
    boxes = [read_box(view, tile) for tile in view.tiles]
    high, wide = rows(view.makes) / down, columns(view.makes) / across
    return [
        [
            _pixel(view, boxes, Box(y * high, (y + 1) * high, x * wide, (x + 1) * wide))
            for x in range(across)
        ]
        for y in range(down)
    ]


def _pixel(view: TileMapView, boxes: Sequence[Box], spot: Box) -> Pixel:
    y, x = (spot.top + spot.bottom) / 2, (spot.left + spot.right) / 2
    for at, tile in enumerate(view.tiles):
        own = tile.makes
        if own.top <= y < own.bottom and own.left <= x < own.right:
            mine = _both(spot, Box(own.top, own.bottom, own.left, own.right))
            others = (_both(mine, box) for other, box in enumerate(boxes) if other != at)
            least = SHARED_MIN * _size(mine)
            return Pixel(at, any(_size(both) >= least for both in others))
    return Pixel(-1, False)


def _both(one: Box, other: Box) -> Box:
    return Box(
        max(one.top, other.top),
        min(one.bottom, other.bottom),
        max(one.left, other.left),
        min(one.right, other.right),
    )


def _size(box: Box) -> float:
    return max(0.0, box.bottom - box.top) * max(0.0, box.right - box.left)


def lines(view: TileMapView, measured: Measured) -> list[Line]:
    """One a tile, or one a node where there are many."""
    if len(view.tiles) <= TILES_TOLD:
        return [_line(view, [tile], measured) for tile in view.tiles]
    nodes = dict.fromkeys(tile.node for tile in view.tiles)
    return [
        _line(view, [tile for tile in view.tiles if tile.node == node], measured) for node in nodes
    ]


def _line(view: TileMapView, tiles: Sequence[TileView], measured: Measured) -> Line:
    first = tiles[0]
    known = [measured[tile.segment] for tile in tiles if tile.segment in measured]
    alone = len(tiles) == 1
    return Line(
        node=first.node,
        what=part(first.makes, view.makes) if alone else f"{len(tiles)} tiles",
        reads=part(first.reads, view.reads) if alone else "–",
        predicted_s=sum(tile.predicted_s for tile in tiles),
        measured_s=sum(known) if len(known) == len(tiles) else None,
        recomputed_share=sum(tile.recomputed_flops for tile in tiles)
        / (sum(own_flops(view, tile) for tile in tiles) or 1.0),
        in_bytes=sum(tile.in_bytes for tile in tiles),
    )


def part(rect: Rect, of: Rect) -> str:
    """Which rows of a map, and which columns where it is not all of them."""
    rows_told = f"{rect.top}:{rect.bottom}"
    is_wide = (rect.left, rect.right) == (of.left, of.right)
    return rows_told if is_wide else f"{rows_told}, {rect.left}:{rect.right}"


def percent(share: float) -> str:
    """With a digit behind the point where it is small, and never −0."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 100 else f"{value + 0.0 if value >= 0.05 else 0.0:.1f} %"


def caption(view: TileMapView) -> str:
    """What is behind the layers' names, in one line."""
    size, whole = f"{size_of(view.makes)} out of {size_of(view.reads)}", totals([view])
    if not view.tiles:
        return f"{size}; this plan has too many tiles to tell them all"
    share, kb = percent(whole.recomputed_share), kilobytes(whole.in_bytes)
    return f"{size}; {share} recomputed, {kb} kB in"


def summary(views: Sequence[TileMapView]) -> str:
    """All maps together."""
    whole = totals(views)
    return (
        f"in all: {percent(whole.recomputed_share)} of the tiled layers' FLOPs recomputed,"
        f" {kilobytes(whole.in_bytes)} kB sent to workers"
    )


def size_of(rect: Rect) -> str:
    """Rows × columns."""
    return f"{rows(rect)}×{columns(rect)}"


def kilobytes(count: int) -> str:
    """Of 1000 bytes, with a digit behind the point where they are few."""
    value = count / 1e3
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"
