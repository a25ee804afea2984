"""What tiles are tried on: which segments of a model, laid out in which grids.

    layers   a  b  c ✂ d  e ✂ f | softmax        ✂ one tensor crosses
             ^^^^^^^^^^^^^^^^^^                  the stretch
             ^^^^^^^   ^^^^   ^                  its pieces
             ^^^^^^^^^^^^^^                      a longer one, of many

A grid is laid over the largest map that leaves a segment; each tile makes the same part of the
others.

Invariant: the same model, grid and seed give the same trials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgeflow.errors import UsageError
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph
from edgeflow.tiles.grid import even, scaled, uneven
from edgeflow.tiles.rect import columns, rows, whole
from edgeflow.tiles.stretch import stretches

TILES_MAX = 1024
"""The most tiles of one grid."""
LONGER = 4
"""Longer segments that are taken unless told otherwise."""

Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive layers that are computed in one go."""

    layers: tuple[str, ...]
    entering: tuple[str, ...]
    leaving: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.layers[0]}..{self.layers[-1]}"


Layout = Callable[[Size, np.random.Generator], tuple[int, tuple[Rect, ...]]]
"""How many tiles are wanted of a map of this size, and those that it has room for."""


def sections(graph: Graph, longer: str | int = LONGER) -> tuple[Section, ...]:
    """Stretches, their pieces between neighbouring cuts, and so many longer ones, evenly chosen.

    UsageError where `longer` is neither `all` nor a number.
    """
    known: dict[tuple[int, int], None] = {}
    between: list[tuple[int, int]] = []
    for stretch in stretches(graph):
        known[stretch.start, stretch.stop] = None
        inner = (at for at in graph.cuts if stretch.start < at < stretch.stop)
        places = (stretch.start, *inner, stretch.stop)
        known.update(dict.fromkeys(pairwise(places)))
        between += [(a, b) for at, a in enumerate(places) for b in places[at + 2 :]]
    rest = [span for span in between if span not in known]
    known.update(dict.fromkeys(_chosen(rest, longer)))
    return tuple(_section(graph, start, stop) for start, stop in sorted(known))


def _chosen(spans: Sequence[tuple[int, int]], wanted: str | int) -> list[tuple[int, int]]:
    if wanted == "all":
        return list(spans)
    if not str(wanted).isdecimal():
        raise UsageError(f"segments = {wanted!r}: give `all`, or how many longer ones, 0 or more")
    places = np.linspace(0, len(spans) - 1, min(int(wanted), len(spans)))
    return [spans[int(place)] for place in places]


def _section(graph: Graph, start: int, stop: int) -> Section:
    layers = tuple(layer.name for layer in graph.layers[start:stop])
    return Section(layers, *graph.boundary(layers))


def parse_grids(text: str) -> dict[str, tuple[Layout, ...]]:
    """`2x1,3x3,uneven` as ways to lay out a map; UsageError names the forms."""
    found: dict[str, tuple[Layout, ...]] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        fits = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", word)
        if word == "uneven":
            found[word] = (_random_rows, _random_grid)
        elif fits and int(fits[1]) * int(fits[2]) <= TILES_MAX:
            found[word] = (_even(int(fits[1]), int(fits[2])),)
        else:
            raise UsageError(
                f"{word!r} is no grid: give ROWSxCOLUMNS, 2x1 for two strips, of at most "
                f"{TILES_MAX} tiles, or `uneven`; several with commas: 2x1,3x3,uneven"
            )
    if not found:
        raise UsageError("no grid: give ROWSxCOLUMNS or `uneven`, as in --tiles 2x1,3x3,uneven")
    return found


def _even(down: int, across: int) -> Layout:
    return lambda size, random: (down * across, even(*size, down, across))


def _random_rows(size: Size, random: np.random.Generator) -> tuple[int, tuple[Rect, ...]]:
    return _uneven(size, _shares(random, 2, 5), [1.0])


def _random_grid(size: Size, random: np.random.Generator) -> tuple[int, tuple[Rect, ...]]:
    return _uneven(size, _shares(random, 2, 3), _shares(random, 2, 3))


def _uneven(size: Size, down: list[float], across: list[float]) -> tuple[int, tuple[Rect, ...]]:
    return len(down) * len(across), uneven(*size, down, across)


def _shares(random: np.random.Generator, least: int, most: int) -> list[float]:
    return [float(share) for share in random.uniform(0.1, 1, random.integers(least, most + 1))]


def size_of(graph: Graph, name: str) -> Size:
    """Rows and columns of a map."""
    rect = whole(graph.tensors[name])
    assert rect is not None, f"{name} is no map"
    return rows(rect), columns(rect)


def largest(graph: Graph, names: Sequence[str]) -> Size:
    """Of the largest of these maps."""
    return max((size_of(graph, name) for name in names), key=lambda size: (size[0] * size[1], size))


def shared_out(
    graph: Graph, leaving: Sequence[str], tiles: Sequence[Rect]
) -> list[tuple[Rect, dict[str, Rect]]]:
    """Each tile of the largest leaving map, with its part of every one in which it has any."""
    of = largest(graph, leaving)
    found = []
    for tile in tiles:
        parts = {name: scaled(tile, of, size_of(graph, name)) for name in leaving}
        found.append((tile, {name: rect for name, rect in parts.items() if rect is not None}))
    return found


def halo(graph: Graph, taken: Mapping[str, Rect], tile: Rect, of: Size) -> int:
    """Rows or columns that a tile of a map of this size reads beyond its own part, at one side.

    `taken` are its rectangles of entering maps; the widest side of all counts.
    """
    widest = 0
    for name, rect in taken.items():
        own = scaled(tile, of, size_of(graph, name))
        if own is not None and min(size_of(graph, name)) > 1:
            widest = max(widest, own.top - rect.top, rect.bottom - own.bottom)
            widest = max(widest, own.left - rect.left, rect.right - own.right)
    return widest
