"""What a tile of some layers takes of every tensor: backwards, from what is wanted.

    entering ──▶ layer ──▶ layer ──▶ wanted rectangles
       hull  ◀── hull  ◀── hull  ◀──

Where several read a tensor, it is made once, as the hull of what they need.

Invariant: every rectangle that is found lies in its map, and holds all that its readers need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeflow.messages import Rect
from edgeflow.model.graph import Graph, Layer
from edgeflow.tiles.rect import holds, hull, whole
from edgeflow.tiles.rules import TileError as TileError
from edgeflow.tiles.rules import refusal, rules_of


def in_order(graph: Graph, layers: Sequence[str]) -> list[Layer]:
    """These layers, each once, in the order of the graph; ModelError where it has none such."""
    place = graph.__dict__.get("_tile_places")
    if place is None:
        place = {layer.name: at for at, layer in enumerate(graph.layers)}
        graph.__dict__["_tile_places"] = place
    found = [graph.layer(name) for name in dict.fromkeys(layers)]
    return sorted(found, key=lambda layer: place[layer.name])


def regions(graph: Graph, layers: Sequence[str], outputs: Mapping[str, Rect]) -> dict[str, Rect]:
    """By tensor made in or entering these layers, the rectangle needed to make all of `outputs`.

    `outputs` are tensors that these layers make. A tensor that nobody needs is not in the answer.
    TileError where an op on the way cannot be made in tiles, or a rectangle leaves its map.
    """
    for name, rect in outputs.items():
        _check(graph, name, rect)
    rules = rules_of(graph)
    found = dict(outputs)
    made = 0
    for layer in reversed(in_order(graph, layers)):
        for op in reversed(layer.ops):
            made += op.name in outputs
            if op.name not in found:
                continue
            rule = rules.rules.get(op.name)
            if rule is None:
                raise refusal(op, rules.reasons[op.name])
            for name, need in zip(op.inputs, rule.needs(found[op.name]), strict=True):
                old = found.get(name)
                found[name] = need if old is None or old == need else hull(old, need)
    if made != len(outputs):
        raise _strange(graph, layers, outputs)
    return found


def _check(graph: Graph, name: str, rect: Rect) -> None:
    contract = graph.tensors.get(name)
    if contract is None:
        raise TileError(f"{graph.name} has no tensor {name!r}; see `edgeflow show`")
    all_of_it = whole(contract)
    if all_of_it is None:
        raise TileError(f"{name} {contract.shape} is no map (N, C, rows, columns): it has no tiles")
    if not holds(all_of_it, rect):
        raise TileError(f"tile {rect} of {name} is empty or outside of the map {all_of_it}")


def _strange(graph: Graph, layers: Sequence[str], outputs: Mapping[str, Rect]) -> TileError:
    made = {op.name for layer in in_order(graph, layers) for op in layer.ops}
    names = ", ".join(sorted(set(outputs) - made))
    return TileError(f"{names} is made by none of the layers that are tiled; take its layer too")
