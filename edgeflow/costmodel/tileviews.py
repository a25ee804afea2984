"""Tile maps for people: who computes which rectangle, out of what, for how long.

    costs, layout ──▶ TileMapView, …     in the leader's status, in `edgeflow plan`, on every screen
              line ──▶ the same, cut down to what fits into a message

Invariant: a view of a layout says of each tile what the price of the layout was made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.costmodel.crew import TileTerms
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, TileMap, nodes_of, parse_placement, tile_maps
from edgeflow.layout.split import Segment, Split, split
from edgeflow.messages import Rect, TileMapView, TileView
from edgeflow.model.graph import Graph
from edgeflow.tiles.rect import area, hull, whole

LINE_BYTES = 12_000
"""Of a placement line; what it has more, the views beside it have less."""
VIEWS_BYTES_MAX = 40_000
"""Of the views in one status, as JSON: some 180 tiles. Sentence and placement line need the rest of
the 64 kB that a message may have."""


@dataclass(frozen=True, slots=True)
class TileTotals:
    """What all tile maps of a plan take together."""

    flops: float
    """Of the tiled layers, untiled."""
    recomputed_flops: float
    in_bytes: int
    """What their workers get from other nodes."""

    @property
    def recomputed_share(self) -> float:
        """Of the tiled layers' FLOPs; 0 where nothing is tiled."""
        return self.recomputed_flops / self.flops if self.flops else 0.0


def totals(views: Iterable[TileMapView]) -> TileTotals:
    """The sums over all tiles that are told."""
    views = tuple(views)
    tiles = [tile for view in views for tile in view.tiles]
    return TileTotals(
        sum(view.flops for view in views),
        sum(tile.recomputed_flops for tile in tiles),
        sum(tile.in_bytes for tile in tiles),
    )


def told(graph: Graph, cluster: Cluster, line: str) -> tuple[TileMapView, ...]:
    """The views of a placement line, as a status can carry them; none where it cannot be run."""
    if "[" not in line:
        return ()
    try:
        layout = parse_placement(graph, line)
        if not nodes_of(layout) <= cluster.nodes.keys():
            return ()
        views = tile_views(CostModel(graph, cluster), layout)
    except EdgeflowError:
        return ()
    if any(math.isinf(tile.predicted_s) for view in views for tile in view.tiles):
        return ()
    return fitting(views, VIEWS_BYTES_MAX - max(0, len(line) - LINE_BYTES))


def fitting(views: Sequence[TileMapView], bytes_max: int) -> tuple[TileMapView, ...]:
    """The views in whole microseconds and FLOPs; the last maps without their tiles, or not at all,
    where all is more than so many bytes of JSON."""
    found: list[TileMapView] = []
    left = bytes_max
    for view in map(_rounded, views):
        bare = replace(view, tiles=())
        fits = [each for each in (view, bare) if len(msgspec.json.encode(each)) < left]
        if not fits:
            break
        found.append(fits[0])
        left -= len(msgspec.json.encode(fits[0])) + 1
    return tuple(found)


def _rounded(view: TileMapView) -> TileMapView:
    tiles = (
        replace(
            tile,
            predicted_s=round(tile.predicted_s, 6),
            recomputed_flops=float(round(tile.recomputed_flops)),
        )
        for tile in view.tiles
    )
    return replace(view, flops=float(round(view.flops)), tiles=tuple(tiles))


def tile_views(costs: CostModel, layout: Layout) -> tuple[TileMapView, ...]:
    """One a tile map, in the layers' order; PlacementError where the layout cannot be run."""
    maps = tile_maps(layout)
    if not maps:
        return ()
    parts = split(costs.graph, layout, costs.cluster.source)
    terms = {(each.layers, each.node, each.rect): each for each in costs.evaluate(layout).tiles}
    return tuple(_view(costs, parts, terms, each) for each in maps)


Priced = Mapping[tuple[tuple[str, ...], str, Rect], TileTerms]
"""By layers, node and rectangle."""


def _view(costs: CostModel, parts: Split, terms: Priced, tiles: TileMap) -> TileMapView:
    graph = costs.graph
    entering, (output,) = graph.boundary(tiles.layers)
    makes, reads = whole(graph.tensors[output]), whole(graph.tensors[entering[0]])
    assert makes is not None
    assert reads is not None
    wanted = set(tiles.layers)
    places = [at for at, layer in enumerate(graph.layers) if layer.name in wanted]
    flops = float(costs.workload.layer_flops()[places].sum())
    mine = [each for each in parts.segments if each.tile and each.layers == tiles.layers]
    first, last = tiles.layers[0], tiles.layers[-1]
    return TileMapView(
        layers=first if first == last else f"{first}..{last}",
        makes=makes,
        reads=reads,
        flops=flops,
        tiles=tuple(_tile(costs, terms, each, reads, flops, area(makes)) for each in mine),
    )


def _tile(
    costs: CostModel, terms: Priced, segment: Segment, reads: Rect, flops: float, elements: int
) -> TileView:
    assert segment.tile is not None
    entering = costs.graph.boundary(segment.layers)[0][0]
    needs = [patch.rect or reads for patch in segment.inputs if patch.name == entering]
    needed = needs[0] if needs else reads
    for each in needs[1:]:
        needed = hull(needed, each)
    priced = terms[segment.layers, segment.node, segment.tile]
    _, done_flops = costs.tile_work(segment.node, segment.layers, segment.tile)
    return TileView(
        node=segment.node,
        segment=segment.at,
        makes=segment.tile,
        reads=needed,
        predicted_s=priced.compute_s,
        recomputed_flops=done_flops - flops * area(segment.tile) / elements,
        in_bytes=priced.bytes_in,
    )
