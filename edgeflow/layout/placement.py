"""Which node runs each layer, as one line a human can read.

    conv1..pool2 @cam-1 | conv3..conv10 @edge-1[0:19] edge-2[19:38] edge-3[38:56] | fc @cloud-1

    line   := group ("|" group)*
    group  := (layer | first ".." last)+ "@" (node | tile+)    ranges run in the layers' order
    tile   := node "[" rows ("," columns)? "]"                  half open: 0:19

Screens say behind a node on which engine it runs its layers, `@edge-1(onnx)`; that is read over.

A group with tiles is one fused run of layers, each node computing its rectangle of the last map. A
node may have several tiles, which it computes one after the other; what follows from all this, who
sends what to whom, is `edgeflow.layout.split`.

Invariant: parse_placement(graph, format_placement(graph, p)) == p.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeflow.errors import EdgeflowError
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph, Layer
from edgeflow.tiles.rect import columns, uncovered, whole
from edgeflow.tiles.region import TileError, regions

Placement = Mapping[str, str]
"""Node name by layer name; total: every layer of the graph exactly once."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}")
_ENGINE = re.compile(r"\([a-z+]{1,24}\)")
_TILE = re.compile(r"(?P<node>[^\s\[\]]+)\[(?P<rect>[^\]]*)\]")
_RECT = re.compile(r"(\d{1,9}):(\d{1,9})(?:,(\d{1,9}):(\d{1,9}))?")
TILES_MAX = 64
"""Tiles of one map: each is a message or more a frame."""


class PlacementError(EdgeflowError):
    """A placement names what is not there, leaves a gap, or cannot be run."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class TileMap:
    """A fused run of layers, and which node computes which rectangle of its output."""

    layers: tuple[str, ...]
    """In the graph's order, one behind the other."""
    tiles: tuple[tuple[str, Rect], ...]
    """(node, rectangle of the one tensor that leaves the layers); together the whole map, once."""


Layout = Mapping[str, str | TileMap]
"""A placement in which layers may be tiled; all layers of a tile map have the same one."""


def nodes_of(layout: Layout) -> set[str]:
    """All that compute something."""
    found: set[str] = set()
    for where in set(layout.values()):
        found |= {where} if isinstance(where, str) else {node for node, _ in where.tiles}
    return found


def nodes_named(line: str) -> frozenset[str]:
    """All that a placement line names, without looking whether it fits a graph."""
    places = (group.partition("@")[2] for group in _ENGINE.sub("", line).split("|"))
    return frozenset(word.partition("[")[0] for place in places for word in place.split())


def tile_maps(layout: Layout) -> tuple[TileMap, ...]:
    """Each once, in the layers' order."""
    found = (where for where in layout.values() if isinstance(where, TileMap))
    return tuple(dict.fromkeys(found))


def epochs(layout: Layout) -> Iterator[int]:
    """For each layer in order, how many tile maps began before it or with it."""
    begun: set[TileMap] = set()
    for where in layout.values():
        if isinstance(where, TileMap):
            begun.add(where)
        yield len(begun)


def tile_map(graph: Graph, layers: Iterable[str], tiles: Iterable[tuple[str, Rect]]) -> TileMap:
    """A tile map that can be run; PlacementError names what is in the way.

    Its layers stand one behind the other and can be tiled, one tensor leaves them, and the tiles
    cover it exactly once.
    """
    found = TileMap(tuple(layers), tuple(tiles))
    line = f"{found.layers[0]}..{found.layers[-1]}"
    everything, (output,) = _map_of(graph, found.layers), graph.boundary(found.layers)[1]
    if wrong := uncovered(everything, (rect for _, rect in found.tiles)):
        raise PlacementError(f"{line}: {wrong}; {output} is [{everything}]")
    try:
        regions(graph, found.layers, {output: everything})
    except TileError as error:
        raise PlacementError(f"{line} cannot be tiled: {error}") from None
    return found


def _map_of(graph: Graph, layers: Sequence[str]) -> Rect:
    """All of the one map that leaves these layers."""
    line = f"{layers[0]}..{layers[-1]} cannot be tiled"
    places = [at for at, layer in enumerate(graph.layers) if layer.name in set(layers)]
    if places != list(range(places[0], places[0] + len(layers))):
        raise PlacementError(f"{line}: its layers must stand one behind the other, none missing")
    leaving = graph.boundary(layers)[1]
    if len(leaving) != 1:
        raise PlacementError(
            f"{line}: {', '.join(leaving) or 'nothing'} leave it, and it must be one tensor; "
            "end the tiles at a place to cut, see `edgeflow show --tiles`"
        )
    everything = whole(graph.tensors[leaving[0]])
    if everything is None:
        raise PlacementError(f"{line}: {leaving[0]} is no map of rows and columns")
    return everything


def format_placement(graph: Graph, layout: Layout) -> str:
    """The layout as one line; PlacementError where it is not total."""
    check_total(graph, layout)
    groups: dict[tuple[str, int] | TileMap, list[int]] = {}
    known = {layer.name: layout[layer.name] for layer in graph.layers}
    for at, (where, epoch) in enumerate(zip(known.values(), epochs(known), strict=True)):
        key = where if isinstance(where, TileMap) else (where, epoch)
        groups.setdefault(key, []).append(at)
    return " | ".join(
        f"{' '.join(_ranges(places, graph.layers))} @{_where(graph, key)}"
        for key, places in groups.items()
    )


def _where(graph: Graph, key: tuple[str, int] | TileMap) -> str:
    """A node, or tiles; columns are named where a tile has not all of them."""
    if not isinstance(key, TileMap):
        return key[0]
    wide = columns(_map_of(graph, key.layers))
    return " ".join(
        f"{node}[{rect.top}:{rect.bottom}]" if columns(rect) == wide else f"{node}[{rect}]"
        for node, rect in key.tiles
    )


def parse_placement(graph: Graph, line: str) -> dict[str, str | TileMap]:
    """The placement that a line says; PlacementError names what does not fit and the cure."""
    index = {layer.name: at for at, layer in enumerate(graph.layers)}
    found: dict[str, str | TileMap] = {}
    for group in _ENGINE.sub("", line).split("|"):
        what, at, where = group.partition("@")
        if not at or not what.split():
            raise PlacementError(
                f"{group.strip()!r} is not of the form `first..last @node`; "
                "separate groups with `|`, see `edgeflow show` for the layers"
            )
        layers = list(_named_layers(graph, index, what.split()))
        for layer in layers:
            if layer in found or layers.count(layer) > 1:
                first = _nodes(found.get(layer, where))
                raise PlacementError(
                    f"layer {layer} is placed twice, on {first} and {_nodes(where)}: name it once"
                )
        place = tile_map(graph, layers, _tiles(graph, layers, where)) if "[" in where else None
        found.update(dict.fromkeys(layers, place or _one_node(where)))
    check_total(graph, found)
    return {layer.name: found[layer.name] for layer in graph.layers}


def with_engines(line: str, engines: Mapping[str, str]) -> str:
    """The line with the engine said behind each node of which it is known."""

    def say(word: str) -> str:
        node, bracket, rest = word.partition("[")
        engine = engines.get(node, "")
        return f"{node}({engine}){bracket}{rest}" if engine else word

    groups = (group.partition("@") for group in line.split("|"))
    return "|".join(
        f"{what}{at}{' '.join(map(say, where.split(' ')))}" for what, at, where in groups
    )


def _nodes(where: str | TileMap) -> str:
    return where.strip() if isinstance(where, str) else "+".join(node for node, _ in where.tiles)


def _tiles(graph: Graph, layers: list[str], text: str) -> Iterator[tuple[str, Rect]]:
    """`edge-1[0:19] edge-2[19:38]` of the map that leaves these layers."""
    words = text.split()
    if len(words) > TILES_MAX:
        raise PlacementError(f"{layers[0]}..: {len(words)} tiles, there may be {TILES_MAX}")
    everything = _map_of(graph, layers)
    for word in words:
        tile = _TILE.fullmatch(word)
        rect = _RECT.fullmatch(tile["rect"]) if tile else None
        if tile is None or rect is None or not _NODE.fullmatch(tile["node"]):
            raise PlacementError(f"{word} is not of the form edge-1[0:19] or edge-1[0:19,0:28]")
        top, bottom, left, right = (int(text) if text else -1 for text in rect.groups())
        if left < 0:
            left, right = everything.left, everything.right
        if top >= bottom or left >= right:
            raise PlacementError(f"{word}: a tile has at least one row and one column")
        yield tile["node"], Rect(top, bottom, left, right)


def check_total(graph: Graph, placement: Layout) -> None:
    """PlacementError where a layer has no node, or a name is no layer."""
    names = {layer.name for layer in graph.layers}
    foreign = next((name for name in placement if name not in names), None)
    if foreign is not None:
        raise PlacementError(_no_layer(graph, foreign))
    missing = [layer.name for layer in graph.layers if layer.name not in placement]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PlacementError(f"layer {missing[0]}{more} has no node: place every layer")


def _no_layer(graph: Graph, name: str) -> str:
    return f"{graph.name} has no layer {name!r}; see `edgeflow show` for the layers"


def _ranges(places: Iterable[int], layers: tuple[Layer, ...]) -> Iterator[str]:
    """Runs of neighbours as `first..last`, single ones by name."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    for first, last in runs:
        one = first == last
        yield layers[first].name if one else f"{layers[first].name}..{layers[last].name}"


def _one_node(text: str) -> str:
    words = text.split()
    if len(words) != 1 or not _NODE.fullmatch(words[0]):
        raise PlacementError(f"`@{text.strip()}` must name exactly one node, as in `@edge-1`")
    return words[0]


def _named_layers(graph: Graph, index: Mapping[str, int], words: list[str]) -> Iterator[str]:
    for word in words:
        if word in index:
            yield word
            continue
        first, last = _range_ends(graph, index, word)
        if index[first] > index[last]:
            raise PlacementError(
                f"range {word} runs backwards: {last} stands before {first}; write {last}..{first}"
            )
        for layer in graph.layers[index[first] : index[last] + 1]:
            yield layer.name


def _range_ends(graph: Graph, index: Mapping[str, int], word: str) -> tuple[str, str]:
    """Both ends of `first..last`; names may hold dots themselves."""
    at = word.find("..")
    while at >= 0:
        first, last = word[:at], word[at + 2 :]
        if first in index and last in index:
            return first, last
        at = word.find("..", at + 1)
    first, dots, last = word.partition("..")
    foreign = next((end for end in (first, last) if dots and end and end not in index), word)
    raise PlacementError(_no_layer(graph, foreign))
