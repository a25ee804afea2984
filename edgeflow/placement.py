"""Which node runs each layer, as one line a human can read, and what follows from it.

    conv1..pool2 @cam-1 | conv3..conv10 @edge-1 | fc @cloud-1

    line   := group ("|" group)*
    group  := (layer | first ".." last)+ "@" node      ranges run in the graph's layer order

A node's layers are one *segment*: it runs in one go once all its inputs have arrived. Who sends
what to whom follows from graph, placement and source alone, so that every node derives the same:

    source --- entry ---▶ segment --- sends ---▶ segment --- results ---▶ source

Graph inputs leave the source at once, in one message for each node that needs some; what a segment
made leaves it when it ends, in one message for each node; a tensor always goes straight from its
maker to its reader. Outputs of the model go to the source in one message from each maker.

Invariant: parse_placement(graph, format_placement(graph, p)) == p.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from edgeflow.errors import EdgeflowError
from edgeflow.graph import Graph, Layer

Placement = Mapping[str, str]
"""Node name by layer name; total: every layer of the graph exactly once."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}")
_TILE = re.compile(r"(?P<node>[^\s\[\]]+)\[[^\]]*\]")


class PlacementError(EdgeflowError):
    """A placement names what is not there, leaves a gap, or cannot be run."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """All layers of one node, and the tensors that cross its border."""

    node: str
    layers: tuple[str, ...]
    """In the graph's order."""
    inputs: tuple[str, ...]
    """Tensors it needs from elsewhere, graph inputs included."""
    outputs: tuple[str, ...]
    """Tensors made here that leave: sent, or results."""
    sends: Mapping[str, tuple[str, ...]]
    """What each other node's segment gets from this one, once it has run."""
    results: tuple[str, ...]
    """Outputs of the model made here: they go to the source."""


@dataclass(frozen=True, slots=True)
class Split:
    """A placement in the terms of who runs what and who sends what to whom."""

    source: str
    entry: Mapping[str, tuple[str, ...]]
    """Graph inputs that each node gets from the source at the start, the source itself included."""
    segments: Mapping[str, Segment]
    """By node, in an order in which they can run."""
    feeds: Mapping[str, Mapping[str, tuple[str, ...]]]
    """By node, then by peer: the tensors that this peer, and no other, provides. The source counts
    as a peer for graph inputs, also of its own segment."""


def format_placement(graph: Graph, placement: Placement) -> str:
    """The placement as one line; PlacementError where it is not total."""
    by_node = _layers_by_node(graph, placement)
    index = {layer.name: at for at, layer in enumerate(graph.layers)}
    return " | ".join(
        f"{' '.join(_ranges([index[name] for name in names], graph.layers))} @{node}"
        for node, names in by_node.items()
    )


def parse_placement(graph: Graph, line: str) -> dict[str, str]:
    """The placement that a line says; PlacementError names what does not fit and the cure."""
    index = {layer.name: at for at, layer in enumerate(graph.layers)}
    found: dict[str, str] = {}
    for group in line.split("|"):
        what, at, where = group.partition("@")
        if not at or not what.split():
            raise PlacementError(
                f"{group.strip()!r} is not of the form `first..last @node`; "
                "separate groups with `|`, see `edgeflow show` for the layers"
            )
        node = _one_node(where)
        for layer in _named_layers(graph, index, what.split()):
            if layer in found:
                raise PlacementError(
                    f"layer {layer} is placed twice, on {found[layer]} and {node}: name it once"
                )
            found[layer] = node
    _check_total(graph, found)
    return {layer.name: found[layer.name] for layer in graph.layers}


def split(graph: Graph, placement: Placement, source: str) -> Split:
    """Segments in an order in which they can run, and every tensor's way.

    PlacementError where the placement is not total, or where nodes wait for each other in a circle.
    """
    by_node = _layers_by_node(graph, placement)
    home = {layer.output: placement[layer.name] for layer in graph.layers}
    feeds = {node: _feeds(graph, names, node, home, source) for node, names in by_node.items()}
    entry = {
        node: tuple(name for name in peers.get(source, ()) if name not in home)
        for node, peers in feeds.items()
    }
    order = _run_order(feeds, home)
    segments = {node: _segment(graph, node, by_node[node], feeds, home) for node in order}
    return Split(source, {node: names for node, names in entry.items() if names}, segments, feeds)


def _layers_by_node(graph: Graph, placement: Placement) -> dict[str, list[str]]:
    """Layer names in graph order by node; nodes in the order of their first layers."""
    _check_total(graph, placement)
    found: dict[str, list[str]] = {}
    for layer in graph.layers:
        found.setdefault(placement[layer.name], []).append(layer.name)
    return found


def _check_total(graph: Graph, placement: Placement) -> None:
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
    for word in words:
        if tile := _TILE.fullmatch(word):
            raise PlacementError(
                f"{word}: one layer in tiles over several nodes is not built yet; "
                f"write `@{tile['node']}`"
            )
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


def _feeds(
    graph: Graph, layers: list[str], node: str, home: Mapping[str, str], source: str
) -> dict[str, tuple[str, ...]]:
    """What this node's segment needs from elsewhere, by the peer that provides it."""
    found: dict[str, dict[str, None]] = {}
    for name in layers:
        for tensor in graph.layer(name).inputs:
            if home.get(tensor) != node:
                found.setdefault(home.get(tensor, source), {})[tensor] = None
    return {peer: tuple(tensors) for peer, tensors in found.items()}


def _segment(
    graph: Graph,
    node: str,
    layers: list[str],
    feeds: Mapping[str, Mapping[str, tuple[str, ...]]],
    home: Mapping[str, str],
) -> Segment:
    sends = {
        peer: made
        for peer, needs in feeds.items()
        if (made := tuple(name for name in needs.get(node, ()) if name in home))
    }
    results = tuple(name for name in dict.fromkeys(graph.outputs) if home.get(name) == node)
    leaving = {name for names in sends.values() for name in names} | set(results)
    return Segment(
        node=node,
        layers=tuple(layers),
        inputs=tuple(name for names in feeds[node].values() for name in names),
        outputs=tuple(out for name in layers if (out := graph.layer(name).output) in leaving),
        sends=sends,
        results=results,
    )


def _run_order(
    feeds: Mapping[str, Mapping[str, tuple[str, ...]]], home: Mapping[str, str]
) -> list[str]:
    """Nodes so that each comes after all that feed it."""
    waits = {
        node: {peer for peer, names in peers.items() if any(name in home for name in names)}
        for node, peers in feeds.items()
    }
    order: list[str] = []
    while waits:
        ready = next((node for node, peers in waits.items() if peers <= set(order)), None)
        if ready is None:
            stuck = ", ".join(waits)
            raise PlacementError(
                f"{stuck} wait for each other: a node runs its layers in one go, so data may not "
                "come back to it; give the layers in between to one of them"
            )
        order.append(ready)
        del waits[ready]
    return order
