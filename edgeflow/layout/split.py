"""What follows from a layout: who computes what in one go, and who sends what to whom.

    source --- entry ---▶ segment --- sends ---▶ segment --- results ---▶ source

A *segment* is what one node runs in one go once all its inputs have arrived: its layers, or one
tile of a fused run of layers. Where layers are tiled, what a node does before and what it does
behind them are two segments. Graph inputs leave the source at once, in one message for each segment
that needs some; what a segment made leaves it when it ends, in one message for each segment that
reads it. A *patch* is a tensor, or the rectangle of it that somebody needs: a worker gets its
rectangle and no more, from whoever made each part of it, and what it made goes straight on to who
needs it next.

Invariants: all of it follows from graph, layout and source alone, so that every node derives the
same; the patches that a segment gets cover what it needs exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edgeflow.layout.placement import Layout, PlacementError, TileMap, check_total, epochs
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph
from edgeflow.tiles.rect import area, overlap, whole
from edgeflow.tiles.region import TileError, regions

SOURCE = -1
"""In place of a segment: graph inputs come from here, results go here."""


class Patch(NamedTuple):
    """A tensor, or a rectangle of its map."""

    name: str
    rect: Rect | None = None
    """None: all of it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one node runs in one go, and the tensors that cross its border."""

    at: int
    """Its place in `Split.segments`."""
    node: str
    layers: tuple[str, ...]
    """In the graph's order."""
    tile: Rect | None
    """The rectangle of its output that it makes; None: its layers are whole."""
    inputs: tuple[Patch, ...]
    """What has to arrive, graph inputs included."""
    outputs: tuple[str, ...]
    """Tensors made here that leave: sent, or results."""
    sends: Mapping[int, tuple[Patch, ...]]
    """What each other segment gets from this one, once it has run."""
    results: tuple[Patch, ...]
    """Outputs of the model made here: they go to the source."""
    wanted: frozenset[Patch] = field(init=False, compare=False, repr=False)
    """`inputs`, to look them up."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "wanted", frozenset(self.inputs))


@dataclass(frozen=True, slots=True)
class Split:
    """A layout in the terms of who runs what and who sends what to whom."""

    source: str
    entry: Mapping[int, tuple[Patch, ...]]
    """Graph inputs that each segment gets from the source at the start."""
    segments: tuple[Segment, ...]
    """In an order in which they can run."""

    def of(self, node: str) -> tuple[Segment, ...]:
        """The segments of a node."""
        return tuple(segment for segment in self.segments if segment.node == node)

    @property
    def outputs(self) -> frozenset[Patch]:
        """The model's outputs as they come back to the source."""
        return frozenset(patch for segment in self.segments for patch in segment.results)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Those that compute, each once, in the order in which they begin."""
        return tuple(dict.fromkeys(segment.node for segment in self.segments))


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment before it is known whom it talks to."""

    node: str
    layers: tuple[str, ...]
    tile: Rect | None
    output: str
    """Of a tile; else empty."""


Flow = dict[int, dict[int, tuple[Patch, ...]]]
"""By reader, then by maker."""


def patch_bytes(graph: Graph, patch: Patch) -> int:
    """Bytes of a patch; of a tensor with an open dimension, as expected."""
    contract = graph.tensors[patch.name]
    everything = whole(contract)
    if patch.rect is None or everything is None:
        return contract.nbytes
    return contract.nbytes // area(everything) * area(patch.rect)


def split(graph: Graph, layout: Layout, source: str) -> Split:
    """Segments in an order in which they can run, and every tensor's way.

    PlacementError where the layout is not total, where a tile cannot be computed, or where nodes
    wait for each other in a circle.
    """
    check_total(graph, layout)
    parts = list(_parts(graph, {layer.name: layout[layer.name] for layer in graph.layers}))
    makers = _makers(graph, parts)
    flow = {at: _feeds(graph, part, makers) for at, part in enumerate(parts)}
    order = _run_order(parts, flow)
    place = {at: now for now, at in enumerate(order)}
    entry = {place[at]: flow[at][SOURCE] for at in order if SOURCE in flow[at]}
    segments = [_segment(graph, parts, flow, makers, place, at) for at in order]
    return Split(source, entry, tuple(segments))


def _parts(graph: Graph, layout: Layout) -> Iterator[_Part]:
    """Layers by node between tile maps, and each tile, in the order of their first layers."""
    found: dict[tuple[str, int] | TileMap, list[str]] = {}
    for (layer, where), epoch in zip(layout.items(), epochs(layout), strict=True):
        key = where if isinstance(where, TileMap) else (where, epoch)
        found.setdefault(key, []).append(layer)
    for key, layers in found.items():
        if not isinstance(key, TileMap):
            yield _Part(key[0], tuple(layers), None, "")
            continue
        (output,) = graph.boundary(layers)[1]
        for node, rect in key.tiles:
            yield _Part(node, tuple(layers), rect, output)


Makers = Mapping[str, tuple[tuple[int, Rect | None], ...]]
"""Who makes each tensor, or which part of it."""


def _makers(graph: Graph, parts: list[_Part]) -> Makers:
    found: dict[str, list[tuple[int, Rect | None]]] = {}
    for contract in graph.inputs:
        found[contract.name] = [(SOURCE, None)]
    for at, part in enumerate(parts):
        names = [part.output] if part.tile else [graph.layer(name).output for name in part.layers]
        for name in names:
            found.setdefault(name, []).append((at, part.tile))
    return {name: tuple(made) for name, made in found.items()}


def _feeds(graph: Graph, part: _Part, makers: Makers) -> dict[int, tuple[Patch, ...]]:
    """What a part needs from elsewhere, by who provides it."""
    entering, _ = graph.boundary(part.layers)
    needed: dict[str, Rect | None] = dict.fromkeys(entering)
    if part.tile is not None:
        try:
            known = regions(graph, part.layers, {part.output: part.tile})
        except TileError as error:
            raise PlacementError(f"{part.output}[{part.tile}] @{part.node}: {error}") from None
        needed = {name: known[name] for name in entering if name in known}
    found: dict[int, list[Patch]] = {}
    for name, rect in needed.items():
        for maker, patch in _patches(graph, name, rect, makers):
            found.setdefault(maker, []).append(patch)
    return {maker: tuple(patches) for maker, patches in found.items()}


def _patches(
    graph: Graph, name: str, rect: Rect | None, makers: Makers
) -> Iterator[tuple[int, Patch]]:
    """The parts of a tensor, or of a rectangle of it, each from who makes it."""
    everything = whole(graph.tensors[name])
    for maker, made in makers[name]:
        if made is None:
            yield maker, Patch(name, None if rect == everything else rect)
            continue
        both = overlap(made, rect or made)
        if both is not None:
            yield maker, Patch(name, both)


def _segment(
    graph: Graph,
    parts: list[_Part],
    flow: Flow,
    makers: Makers,
    place: Mapping[int, int],
    at: int,
) -> Segment:
    part = parts[at]
    sends = {place[reader]: feeds[at] for reader, feeds in flow.items() if at in feeds}
    own = {name: made for name, found in makers.items() for maker, made in found if maker == at}
    results = tuple(Patch(name, own[name]) for name in dict.fromkeys(graph.outputs) if name in own)
    leaving = {patch.name for patches in (*sends.values(), results) for patch in patches}
    return Segment(
        at=place[at],
        node=part.node,
        layers=part.layers,
        tile=part.tile,
        inputs=tuple(patch for patches in flow[at].values() for patch in patches),
        outputs=tuple(name for name in own if name in leaving),
        sends=dict(sorted(sends.items())),
        results=results,
    )


def _run_order(parts: list[_Part], flow: Flow) -> list[int]:
    """Parts so that each comes after all that feed it."""
    waits = {at: set(feeds) - {SOURCE} for at, feeds in flow.items()}
    order: list[int] = []
    done: set[int] = set()
    while waits:
        ready = next((at for at, makers in waits.items() if makers <= done), None)
        if ready is None:
            stuck = ", ".join(dict.fromkeys(parts[at].node for at in waits))
            raise PlacementError(
                f"{stuck} wait for each other: a node runs its layers in one go, so data may not "
                "come back to it; give the layers in between to one of them"
            )
        order.append(ready)
        done.add(ready)
        del waits[ready]
    return order
