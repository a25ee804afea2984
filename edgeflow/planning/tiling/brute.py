"""Every layout with tiles there is, one after the other: the judge of `search` on small maps.

    at a waist    a run on one node │ a run in strips: of workers in any order, or one worker's own

Runs end at waists; data only rises through the tiers, and may be gathered within one.

Invariant: layouts are built by recursion and priced by `CostModel.evaluate`; nothing is shared with
the search that is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from edgeflow.layout.placement import Layout, TileMap
from edgeflow.messages import Rect
from edgeflow.planning.candidates import Problem
from edgeflow.planning.proposal import PlanningError
from edgeflow.planning.tiling.sharings import STRIPS_ALONE_MAX
from edgeflow.planning.tiling.strips import Strips

LAYOUTS_MAX = 50_000
"""Half a minute. Layouts grow exponentially with waists, rows and workers."""


def best_layout(problem: Problem) -> tuple[Layout, float]:
    """The quickest of all layouts; PlanningError where there are too many to try."""
    best: tuple[Layout, float] | None = None
    for count, layout in enumerate(all_layouts(problem)):
        if count >= LAYOUTS_MAX:
            raise PlanningError(
                f"brute tries every layout: {problem.costs.graph.name} has more than {LAYOUTS_MAX}"
            )
        seconds = problem.costs.evaluate(layout).total_s
        if best is None or seconds < best[1]:
            best = layout, seconds
    assert best is not None, "a graph has layers, and a problem somebody to run them"
    return best


def all_layouts(problem: Problem) -> Iterator[Layout]:
    """Each layout whose nodes and strips change at waists."""
    yield from _from(problem, Strips.of(problem.costs.graph), 0, None, {})


def _from(
    problem: Problem,
    strips: Strips,
    start: int,
    before: tuple[int, bool] | None,
    placed: dict[str, str | TileMap],
) -> Iterator[Layout]:
    """All ways on; `before` is the rank that the tensor is at, and whether in strips."""
    if start == strips.last:
        yield dict(placed)
        return
    layers = problem.costs.graph.layers
    for stop in range(start + 1, strips.last + 1):
        names = tuple(each.name for each in layers[strips.edges[start] : strips.edges[stop]])
        for rank, where in _places(problem, strips, start, stop, names):
            is_tiled = isinstance(where, TileMap)
            least = -1 if before is None else before[0] + (not is_tiled and not before[1])
            if rank >= least:
                found = {**placed, **dict.fromkeys(names, where)}
                yield from _from(problem, strips, stop, (rank, is_tiled), found)


def _places(
    problem: Problem, strips: Strips, start: int, stop: int, names: tuple[str, ...]
) -> Iterator[tuple[int, str | TileMap]]:
    """Ranks, and where these layers may be."""
    for rank, nodes in problem.candidates.items():
        for node in nodes:
            yield rank, node.name
        blocks = strips.blocks[start:stop]
        if len(nodes) < 2 or None in blocks or any(strips.leaves[start + 1 : stop]):
            continue
        right = int(strips.columns[stop])
        for workers in _orders([node.name for node in nodes]):
            for bounds in _bounds(0, int(strips.rows[stop]), len(workers)):
                rects = [Rect(top, bottom, 0, right) for top, bottom in bounds]
                yield rank, TileMap(names, tuple(zip(workers, rects, strict=True)))


def _orders(names: list[str]) -> Iterator[tuple[str, ...]]:
    for count in range(1, len(names) + 1):
        yield from permutations(names, count)
    for name in names:
        for count in range(2, STRIPS_ALONE_MAX + 1):
            yield (name,) * count


def _bounds(top: int, bottom: int, strips: int) -> Iterator[list[tuple[int, int]]]:
    """Every way to cut rows into so many strips, none of them empty."""
    if strips == 1:
        if top < bottom:
            yield [(top, bottom)]
        return
    for at in range(top + 1, bottom):
        for rest in _bounds(at, bottom, strips - 1):
            yield [(top, at), *rest]
