"""What a placement costs: the one truth of planner, simulator and runtime.

    layer    seconds on a node, of `edgeflow.costmodel.workload`
    message  seconds = delay of the directed link + bytes / rate of the link
                       + what whoever gets it takes to handle it (`edgeflow.costmodel.workload`)

The objective is the *sum*: one frame, nothing overlaps. Messages are those of
`edgeflow.layout.split`: one from the source for each node that needs graph inputs, one from each
segment to each later one, one from each maker of outputs back to the source. A tensor is paid once
for each directed link, however many layers of the reader want it; the delay once a message.
Only the tiles of one map run at the same time; `edgeflow.costmodel.crew` says what that takes.

Invariant: no link is an infinite price, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from edgeflow.costmodel.crew import Crews, TileTerms
from edgeflow.costmodel.sharing import ALONE, Sharing
from edgeflow.costmodel.workload import NodeCost, Seconds, Workload
from edgeflow.layout.placement import Layout, TileMap
from edgeflow.layout.split import Patch, Segment, Split, patch_bytes, split
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph

__all__ = ["Cluster", "CostModel", "LinkCost", "NodeCost", "Seconds", "Terms", "Workload"]


@dataclass(frozen=True, slots=True)
class LinkCost:
    """One directed link."""

    delay_s: float
    bytes_per_s: float
    deviation: float = 0.0
    """Standard error of a message's seconds, as a share of them: all are off together."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes and directed links that a plan may use; no entry, no link."""

    nodes: Mapping[str, NodeCost]
    links: Mapping[tuple[str, str], LinkCost]
    source: str
    sharing: Sharing = ALONE
    """What other deployments take of it; nodes and links are priced with that already."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The price of one layout, and what it is made of; infinite where it cannot be run."""

    total_s: float
    compute_s: Mapping[str, float]
    """By node, busy."""
    transfer_s: Mapping[tuple[str, str], float]
    """By directed link, towards segments; the way back is not in it."""
    way_back_s: float
    bytes: Mapping[tuple[str, str], int]
    """By directed link, the way back included."""
    tiles: tuple[TileTerms, ...] = ()
    """Every tile, map by map. They run at the same time: `total_s` is no sum of the rest then."""


TERMS_MAX = 16
"""Prices of placements that are kept: splitting 3,000 layers takes 4 ms, finding them again 0.1."""


@dataclass(frozen=True)
class CostModel:
    """Prices a graph on a cluster."""

    graph: Graph
    cluster: Cluster
    known_s: dict[str, Seconds] = field(default_factory=dict, compare=False, repr=False)
    """(layers,) seconds by node; what is not given is predicted."""

    @cached_property
    def workload(self) -> Workload:
        """The graph's work, node by node priced in `layers_s`."""
        return Workload.of(self.graph)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {layer.name: at for at, layer in enumerate(self.graph.layers)}

    def layers_s(self, node: str) -> Seconds:
        """(layers,) seconds of every layer on a node, in the graph's order."""
        if node not in self.known_s:
            known = self.cluster.nodes[node]
            self.known_s[node] = self.workload.seconds(known, self._correction)
        return self.known_s[node]

    @cached_property
    def _correction(self) -> Seconds | None:
        return self.workload.correction(self.cluster.nodes.values())

    def layer_s(self, layer: str, node: str) -> float:
        """Seconds of one layer on a node; infinite where the node cannot run it."""
        return float(self.layers_s(node)[self._index[layer]])

    def tile_work(self, node: str, layers: Sequence[str], tile: Rect) -> tuple[float, float]:
        """Seconds that a node takes for one tile of these layers, and FLOPs, halos included."""
        places = self.places(layers)
        work, known_s = self.workload.of_tile(layers, tile), self.layers_s(node)[places]
        flops = float(work.layer_flops()[places].sum())
        if not np.isfinite(known_s).all():
            return math.inf, flops
        part, every = work.prior(self.cluster.nodes[node])[places], self._prior(node)[places]
        shares = np.divide(part, every, out=np.ones(len(part)), where=every > 0)
        return float((known_s * shares).sum()), flops

    def places(self, layers: Iterable[str]) -> list[int]:
        """Where these layers stand in the graph's order."""
        return [self._index[name] for name in layers]

    def _prior(self, node: str) -> Seconds:
        if node not in self._priors:
            self._priors[node] = self.workload.prior(self.cluster.nodes[node])
        return self._priors[node]

    @cached_property
    def _priors(self) -> dict[str, Seconds]:
        return {}

    def price(self, sender: str, receiver: str) -> tuple[float, float]:
        """Seconds of a message and of each byte: 0 within a node, infinite without a link."""
        if sender == receiver:
            return 0.0, 0.0
        link = self.cluster.links.get((sender, receiver))
        if link is None or link.bytes_per_s <= 0:
            return math.inf, math.inf
        return link.delay_s + self.handling_s(receiver), 1 / link.bytes_per_s

    def handling_s(self, receiver: str) -> float:
        """Seconds that a node takes to handle a message; 0 of one that is not known."""
        node = self.cluster.nodes.get(receiver)
        return node.handling_s if node is not None else 0.0

    def transfer_s(self, nbytes: int, sender: str, receiver: str) -> float:
        """Seconds of one message of so many bytes."""
        delay_s, byte_s = self.price(sender, receiver)
        return delay_s + nbytes * byte_s if nbytes else delay_s

    def evaluate(self, placement: Layout) -> Terms:
        """The price of a layout; PlacementError where it is not total or goes in circles."""
        key = tuple(placement.items())
        found = self._terms.get(key)
        if found is None:
            found = self._price(split(self.graph, placement, self.cluster.source))
            if len(self._terms) >= TERMS_MAX:
                self._terms.clear()
            self._terms[key] = found
        return found

    @cached_property
    def _terms(self) -> dict[tuple[tuple[str, str | TileMap], ...], Terms]:
        """By placement: one plan is priced by several who ask about it."""
        return {}

    def _price(self, parts: Split) -> Terms:
        compute_s: dict[str, float] = {}
        transfer_s: dict[tuple[str, str], float] = {}
        sent: dict[tuple[str, str], int] = {}
        way_back_s = 0.0
        tiled = {segment.at for segment in parts.segments if segment.tile is not None}
        plain = [segment for segment in parts.segments if segment.at not in tiled]
        for at, patches in parts.entry.items():
            if at not in tiled:
                self._send(transfer_s, sent, (parts.source, parts.segments[at].node), patches)
        for segment in plain:
            node, places = segment.node, self.places(segment.layers)
            compute_s[node] = compute_s.get(node, 0.0) + float(self.layers_s(node)[places].sum())
            for at in sorted(segment.sends.keys() - tiled):
                link = node, parts.segments[at].node
                self._send(transfer_s, sent, link, segment.sends[at])
            way_back_s += self._back_s(sent, segment, parts.source)
        compute_s.update(dict.fromkeys(self._overfull(parts), math.inf))
        total_s = sum(compute_s.values()) + sum(transfer_s.values()) + way_back_s
        if not tiled:
            return Terms(total_s, compute_s, transfer_s, way_back_s, sent)
        crews_s, back_s, tiles = Crews(self, parts, compute_s, transfer_s, sent).price()
        return Terms(total_s + crews_s, compute_s, transfer_s, way_back_s + back_s, sent, tiles)

    def _back_s(self, sent: dict[tuple[str, str], int], segment: Segment, source: str) -> float:
        """The way of a segment's results."""
        link = segment.node, source
        if not segment.results or segment.node == source:
            return 0.0
        nbytes = self._bytes(segment.results)
        sent[link] = sent.get(link, 0) + nbytes
        return self.transfer_s(nbytes, *link)

    def _overfull(self, parts: Split) -> Iterator[str]:
        """Nodes into whose memory the weights of all their segments do not fit."""
        for node in parts.nodes:
            limit = self.cluster.nodes[node].memory_bytes
            names = {name for segment in parts.of(node) for name in segment.layers} if limit else ()
            if limit and int(self.workload.weights_bytes[self.places(names)].sum()) > limit:
                yield node

    def _bytes(self, patches: Iterable[Patch]) -> int:
        return sum(patch_bytes(self.graph, patch) for patch in patches)

    def _send(
        self,
        transfer_s: dict[tuple[str, str], float],
        sent: dict[tuple[str, str], int],
        link: tuple[str, str],
        patches: tuple[Patch, ...],
    ) -> None:
        if link[0] == link[1]:
            return
        nbytes = self._bytes(patches)
        transfer_s[link] = transfer_s.get(link, 0.0) + self.transfer_s(nbytes, *link)
        sent[link] = sent.get(link, 0) + nbytes
