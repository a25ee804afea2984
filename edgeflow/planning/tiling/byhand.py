"""Layouts with tiles that somebody wrote: can they be run, and if not, who is in the way.

Invariant: what passes has a finite price, and its data only rises through the tiers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeflow.layout.placement import Layout, TileMap, tile_maps
from edgeflow.layout.split import Split, split
from edgeflow.planning.candidates import Problem
from edgeflow.planning.proposal import PlanningError
from edgeflow.planning.refuse import why_impossible

PLACES = "tiles are placed by hand for all layers or for none"


def check_layout(problem: Problem, layout: Layout) -> None:
    """PlanningError with the node or link that is in the way; PlacementError where the layout is
    not total, or nodes wait for each other."""
    graph, costs = problem.costs.graph, problem.costs
    missing = next((layer.name for layer in graph.layers if layer.name not in layout), None)
    if missing is not None:
        raise PlanningError(f"layer {missing} has no node: {PLACES}; place every layer")
    for layer in graph.layers:
        where = layout[layer.name]
        for node in _names(where):
            what = "tiled over" if isinstance(where, TileMap) else "placed on"
            if why := problem.why_not(node):
                raise PlanningError(f"layer {layer.name} is {what} {node}, which {why}")
            if math.isinf(costs.layer_s(layer.name, node)):
                raise PlanningError(
                    f"layer {layer.name} is {what} {node}, which cannot run it: it may not see "
                    "what is private, or has too little memory"
                )
    parts = split(graph, layout, problem.source)
    _check_ways(problem, parts)
    terms = costs.evaluate(layout)
    if not math.isfinite(terms.total_s):
        raise PlanningError(why_impossible(problem, terms))


def _names(where: str | TileMap) -> list[str]:
    return [where] if isinstance(where, str) else [node for node, _ in where.tiles]


def _check_ways(problem: Problem, parts: Split) -> None:
    nodes = problem.costs.cluster.nodes
    for sender, receiver, tensor in _messages(parts):
        if math.isinf(problem.costs.transfer_s(0, sender, receiver)):
            raise PlanningError(
                f"there is no link from {sender} to {receiver}, which needs {tensor} of it: one of "
                "them must accept connections from the other"
            )
    for segment in parts.segments:
        for at, patches in segment.sends.items():
            one, other = nodes[segment.node], nodes[parts.segments[at].node]
            if other.tier.rank < one.tier.rank:
                raise PlanningError(
                    f"{patches[0].name} goes from {one.name} ({one.tier.name}) down to "
                    f"{other.name} ({other.tier.name}): data only rises through the tiers; place "
                    f"what reads it on {one.tier.name} or above"
                )


def _messages(parts: Split) -> Iterator[tuple[str, str, str]]:
    """Sender, receiver, and a tensor of each message between two nodes."""
    for at, patches in parts.entry.items():
        if parts.segments[at].node != parts.source:
            yield parts.source, parts.segments[at].node, patches[0].name
    for segment in parts.segments:
        for at, patches in segment.sends.items():
            if parts.segments[at].node != segment.node:
                yield segment.node, parts.segments[at].node, patches[0].name


def has_tiles(layout: Layout) -> bool:
    """Are layers of it tiled?"""
    return bool(tile_maps(layout))


def placed_whole(layout: Layout) -> dict[str, str]:
    """A layout without tiles."""
    return {layer: where for layer, where in layout.items() if isinstance(where, str)}
