"""Tile maps for people: who computes which rectangle, out of what, for how long.

    costs, layout ──▶ TileMapView, …     in the leader's status, in `edgeflow plan`, on every screen

Invariant: a view of a layout says of each tile what the price of the layout was made of.
"""

from __future__ import annotations

from edgeflow.cost import CostModel
from edgeflow.messages import Rect, TileMapView, TileView
from edgeflow.placement import Layout, TileMap, tile_maps
from edgeflow.split import Segment, Split, patch_bytes, split
from edgeflow.tiles.rect import area, hull, whole


def tile_views(costs: CostModel, layout: Layout) -> tuple[TileMapView, ...]:
    """One a tile map, in the layers' order; PlacementError where the layout cannot be run."""
    maps = tile_maps(layout)
    if not maps:
        return ()
    parts = split(costs.graph, layout, costs.cluster.source)
    return tuple(_view(costs, parts, each) for each in maps)


def _view(costs: CostModel, parts: Split, tiles: TileMap) -> TileMapView:
    graph = costs.graph
    entering, (output,) = graph.boundary(tiles.layers)
    makes, reads = whole(graph.tensors[output]), whole(graph.tensors[entering[0]])
    assert makes is not None
    assert reads is not None
    wanted = set(tiles.layers)
    places = [at for at, layer in enumerate(graph.layers) if layer.name in wanted]
    flops = float(costs.workload.layer_flops()[places].sum())
    mine = [each for each in parts.segments if each.tile and each.layers == tiles.layers]
    return TileMapView(
        layers=f"{tiles.layers[0]}..{tiles.layers[-1]}",
        makes=makes,
        reads=reads,
        flops=flops,
        tiles=tuple(_tile(costs, parts, each, reads, flops, area(makes)) for each in mine),
    )


def _tile(
    costs: CostModel, parts: Split, segment: Segment, reads: Rect, flops: float, elements: int
) -> TileView:
    assert segment.tile is not None
    entering = costs.graph.boundary(segment.layers)[0][0]
    needs = [patch.rect or reads for patch in segment.inputs if patch.name == entering]
    needed = needs[0] if needs else reads
    for each in needs[1:]:
        needed = hull(needed, each)
    seconds, done_flops = costs.tile_work(segment.node, segment.layers, segment.tile)
    return TileView(
        node=segment.node,
        segment=segment.at,
        makes=segment.tile,
        reads=needed,
        predicted_s=seconds,
        recomputed_flops=done_flops - flops * area(segment.tile) / elements,
        in_bytes=_in_bytes(costs, parts, segment),
    )


def _in_bytes(costs: CostModel, parts: Split, segment: Segment) -> int:
    """What comes from other nodes, the source included."""
    sent = [(parts.source, parts.entry.get(segment.at, ()))]
    sent += [(each.node, each.sends.get(segment.at, ())) for each in parts.segments]
    return sum(
        patch_bytes(costs.graph, patch)
        for node, patches in sent
        if node != segment.node
        for patch in patches
    )
