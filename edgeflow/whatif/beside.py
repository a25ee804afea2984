"""Why this cut: what the placements beside a plan would cost, each priced as the plan itself.

    split       one layer earlier, one layer later, at each boundary
    undivided   the best cut of two with each node of another tier
    tiled       even strips; even strips without one of the workers
    all         all layers on each node that computes

Invariant: pure; what breaks a constraint of the goal is not told, for it is no choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, TileMap, nodes_of, tile_maps
from edgeflow.layout.split import split
from edgeflow.model.graph import Graph
from edgeflow.planning import Goal
from edgeflow.planning.goal import Scale, is_within, restricted
from edgeflow.tiles.grid import even
from edgeflow.tiles.rect import whole

CUTS_TRIED = 100
"""Places to cut that are tried between two nodes, evenly chosen."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another placement, and what it would cost."""

    what: str
    placement: Layout
    latency_s: float
    """Infinite where it cannot be run, or may not."""
    worth: float
    """Of the objective, lower is better."""


def neighbours(
    graph: Graph, cluster: Cluster, placement: Layout, goal: Goal
) -> tuple[Neighbour, ...]:
    """Those that can be run and keep the goal's constraints."""
    scale = Scale.of(goal, restricted(CostModel(graph, cluster), goal))
    nodes = list(split(graph, placement, cluster.source).nodes)
    if tile_maps(placement):
        found = [*_even(scale, placement), *_fewer(scale, placement)]
    else:
        found = [
            *_moved(scale, placement, nodes),
            *(_best_cut(scale, *pair) for pair in _pairs(cluster, nodes)),
        ]
    found += _undivided(scale, placement)
    return tuple(each for each in found if math.isfinite(each.latency_s))


def _priced(scale: Scale, what: str, placement: Layout) -> Neighbour:
    try:
        terms = scale.costs.evaluate(placement)
    except EdgeflowError:
        return Neighbour(what, placement, math.inf, math.inf)
    if not is_within(terms.total_s, scale.goal.latency_s_max):
        return Neighbour(what, placement, math.inf, math.inf)
    return Neighbour(what, placement, terms.total_s, scale.value(terms))


def _undivided(scale: Scale, placement: Layout) -> list[Neighbour]:
    """All layers on each node that computes; nodes that are alike in one line."""
    found: dict[tuple[float, float], list[str]] = {}
    for name, node in scale.costs.cluster.nodes.items():
        if node.rates is not None and set(placement.values()) != {name}:
            each = _priced(scale, "", dict.fromkeys(placement, name))
            found.setdefault((each.latency_s, each.worth), []).append(name)
    return [
        Neighbour(
            f"undivided, all on {' or '.join(names)}", dict.fromkeys(placement, names[0]), *prices
        )
        for prices, names in found.items()
    ]


def _moved(scale: Scale, placement: Layout, nodes: Sequence[str]) -> Iterator[Neighbour]:
    """One layer over each boundary of the plan, both ways."""
    found = split(scale.costs.graph, placement, scale.costs.cluster.source)
    for before, behind in pairwise(nodes):
        last, first = found.of(before)[0].layers[-1], found.of(behind)[0].layers[0]
        for what, moved in (
            (f"one layer earlier: {last} @{behind}", {**placement, last: behind}),
            (f"one layer later: {first} @{before}", {**placement, first: before}),
        ):
            yield _priced(scale, what, moved)


def _even(scale: Scale, layout: Layout) -> Iterator[Neighbour]:
    """The same strips of equal height."""
    equal = _evenly(scale, layout)
    if equal != layout:
        yield _priced(scale, "the same workers, even strips", equal)


def _fewer(scale: Scale, layout: Layout) -> Iterator[Neighbour]:
    """Even strips without one of the workers, where several are left."""
    workers = nodes_of({each.layers[0]: each for each in tile_maps(layout)})
    for name in sorted(workers):
        if len(workers) > 2:
            fewer = _evenly(scale, layout, without=name)
            yield _priced(scale, f"without {name}, even strips", fewer)


def _evenly(scale: Scale, layout: Layout, without: str = "") -> Layout:
    """Even strips for the workers of each tile map; those of one that is left out to the others."""
    graph, changed = scale.costs.graph, {}
    for tile_map in tile_maps(layout):
        everything = whole(graph.tensors[graph.boundary(tile_map.layers)[1][0]])
        nodes = [node for node, _ in tile_map.tiles if node != without]
        assert everything is not None
        if nodes:
            rects = even(everything.bottom, everything.right, len(nodes), 1)
            tiles = tuple(zip(nodes, rects, strict=False))
            changed[tile_map] = TileMap(tile_map.layers, tiles)
    return {
        layer: changed.get(where, where) if isinstance(where, TileMap) else where
        for layer, where in layout.items()
    }


def _pairs(cluster: Cluster, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """An undivided plan's node with each one of a lower or a higher tier."""
    if len(nodes) > 1:
        return []
    own = cluster.nodes[nodes[0]]
    others = [node for node in cluster.nodes.values() if node.rates and node.tier != own.tier]
    lower = [(node.name, own.name) for node in others if node.tier < own.tier]
    return lower + [(own.name, node.name) for node in others if node.tier > own.tier]


def _best_cut(scale: Scale, before: str, behind: str) -> Neighbour:
    """The best place to cut between two nodes, where a single tensor crosses."""
    graph = scale.costs.graph
    layers = graph.layers
    places = [at for at in graph.cuts if at > 0] or [1]
    found = []
    for at in places[:: len(places) // CUTS_TRIED + 1]:
        placement = {layer.name: before if n < at else behind for n, layer in enumerate(layers)}
        what = f"best cut of two: ..{layers[at - 1].name} @{before} | {layers[at].name}.. @{behind}"
        found.append(_priced(scale, what, placement))
    return min(found, key=lambda each: (each.worth, each.latency_s))
