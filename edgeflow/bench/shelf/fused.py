"""Planned tiles beside equal grids of one fused block: FLOPs computed twice, and bytes moved.

A grid of one fused block computes all layers of the network tile by tile without a word between the
boxes: halos grow with every layer. Planned tiles meet in between and send each other halos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgeflow.bench.shelf.contest import recomputed_percent
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.layout.placement import Layout, TileMap, format_placement, tile_maps
from edgeflow.messages import DEVICE, EDGE, Rates
from edgeflow.model.graph import Graph
from edgeflow.planning import propose
from edgeflow.planning.candidates import Problem
from edgeflow.planning.tiling.together import best_tiled
from edgeflow.tiles.grid import even
from edgeflow.tiles.rect import whole
from edgeflow.tiles.stretch import stretches

BOX = Rates(2.4e10, 2.4e10, 3e9, 2e-5, 1.2e10)
"""A box of 0.3 cores of an x86 core, roughly."""
LINK = LinkCost(0.002, 125e6)
GRIDS = {2: (2, 1), 4: (2, 2)}


def compare(graph: Graph) -> Iterator[dict[str, Any]]:
    """Rows for two and four boxes."""
    for count, (down, across) in GRIDS.items():
        boxes = [f"edge-{number}" for number in range(1, count + 1)]
        costs = _costs(graph, boxes)
        found = best_tiled(Problem(costs, {}, frozenset(boxes)), float("inf"))
        planned = found.layout if found else propose(graph, costs, allowed=boxes).placement
        yield _row(costs, f"{count} planned", planned)
        yield _row(costs, f"{count} fused", _fused(graph, boxes, down, across))


def _costs(graph: Graph, boxes: Sequence[str]) -> CostModel:
    nodes = {name: NodeCost(name, EDGE, BOX) for name in boxes}
    nodes["cam-1"] = NodeCost("cam-1", DEVICE, None)
    links = {(a, b): LINK for a in nodes for b in nodes if a != b}
    return CostModel(graph, Cluster(nodes, links, "cam-1"))


def _fused(graph: Graph, boxes: Sequence[str], down: int, across: int) -> Layout:
    """The longest stretch as one block in an equal grid; the rest on the first box."""
    longest = max(stretches(graph), key=lambda each: each.stop - each.start)
    names = [layer.name for layer in graph.layers]
    layers = tuple(names[longest.start : longest.stop])
    everything = whole(graph.tensors[graph.boundary(layers)[1][0]])
    assert everything is not None
    rects = even(everything.bottom, everything.right, down, across)
    tiles = TileMap(layers, tuple(zip(boxes, rects, strict=False)))
    return {name: tiles if name in layers else boxes[0] for name in names}


def _row(costs: CostModel, plan: str, layout: Layout) -> dict[str, Any]:
    terms = costs.evaluate(layout)
    return {
        "network": costs.graph.name,
        "plan": plan,
        "blocks": len(tile_maps(layout)),
        "recomputed_percent": round(recomputed_percent(costs, layout), 1),
        "moved_kb": round(sum(terms.bytes.values()) / 1e3, 1),
        "predicted_ms": round(terms.total_s * 1e3, 1),
        "placement": format_placement(costs.graph, layout),
    }
