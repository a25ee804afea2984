"""Where tiles are possible: runs of layers in which every op keeps locality.

    layers    conv1 pool1 conv2 | flatten fc | ...
              ^^^^^ a stretch ^^  ^^^^^^^^^^ why not

Invariant: stretches do not meet, and a layer is in one of them or has a reason why it is in none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from edgeflow.model.graph import Graph, Layer
from edgeflow.tiles.rect import area, whole
from edgeflow.tiles.rules import why_not


@dataclass(frozen=True, slots=True)
class Stretch:
    """A longest run of layers, `graph.layers[start:stop]`, all of which can be made in tiles."""

    start: int
    stop: int
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    """Tensors that enter them."""
    outputs: tuple[str, ...]
    """Tensors that leave them."""


def stretches(graph: Graph) -> tuple[Stretch, ...]:
    """The longest runs of layers that can be made in tiles, in the graph's order."""
    can = [not why_no_tiles(layer, graph) for layer in graph.layers]
    found, start = [], 0
    for tileable, run in groupby(can):
        stop = start + len(list(run))
        if tileable:
            names = tuple(layer.name for layer in graph.layers[start:stop])
            found.append(Stretch(start, stop, names, *graph.boundary(names)))
        start = stop
    return tuple(found)


def why_no_tiles(layer: Layer, graph: Graph) -> str:
    """Why a layer is in no stretch, in words; empty where it is in one."""
    for op in layer.ops:
        why = why_not(op, graph)
        if why:
            return f"{op.name} ({op.kind}) {why}"
    made = whole(graph.tensors[layer.output])
    assert made is not None, "an op that can be tiled makes a map"
    return "" if area(made) > 1 else f"{layer.output} is one element a channel: nothing to divide"
