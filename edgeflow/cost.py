"""What a placement costs: the one truth of planner, simulator and runtime.

    op       seconds = overheads of its class + max(FLOPs / rate of its class, bytes / memory rate)
    layer    seconds = ratio of the node · Σ over its ops
    message  seconds = delay of the directed link + bytes / rate of the link

The objective is the *sum*: one frame, nothing overlaps. Messages are those of
`edgeflow.placement.split`: one from the source for each node that needs graph inputs, one from each
segment to each later one, one from each maker of outputs back to the source. A tensor is paid once
for each directed link, however many layers of the reader want it; the delay once a message.

Invariant: no link is an infinite price, never a guess. Roofline after Williams, Waterman and
Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeflow.graph import Graph, Op
from edgeflow.messages import Rates, Tier
from edgeflow.ops import op_bytes, op_class, op_flops
from edgeflow.placement import Placement, Split, split

Seconds = NDArray[np.float64]

CLASSES = ("conv", "depthwise", "matmul", "memory", "window")
"""Op classes, each with its own rate of FLOPs; `memory` ops are paid in bytes alone."""
OVERHEADS = (8.0, 16.0, 3.0, 1.0, 3.0)
"""Overheads that one op of each class costs before it computes: a convolution is prepared, packed
and dispatched. Medians of small layers of seven networks, torch 2.13 on x86: 30 µs and 75 µs for
plain and depthwise convolutions where an elementwise op takes 3.7 µs."""
WINDOW = {"max_pool2d": 4.0, "avg_pool2d": 1.0, "local_response_norm": 1.0}
"""Kinds of the class `window`, which engines walk element by element, and how much each counts."""
WINDOW_SHARE = 1 / 80
"""Their rate as a share of the convolutions', which use whole vector units: torch 2.13 on x86 with
AVX-512, 1.1 of 83 GFLOP/s. A guess elsewhere; it matters to networks with large pooling layers."""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What a node is to the planner."""

    name: str
    tier: Tier
    rates: Rates | None
    """None where the node computes nothing."""
    ratio: float = 1.0
    """Measured over predicted seconds of this model here, as far as learned."""
    memory_bytes: int = 0
    """What weights may take; 0: not limited."""


@dataclass(frozen=True, slots=True)
class LinkCost:
    """One directed link."""

    delay_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes and directed links that a plan may use; no entry, no link."""

    nodes: Mapping[str, NodeCost]
    links: Mapping[tuple[str, str], LinkCost]
    source: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The price of one placement, and what it is made of; infinite where it cannot be run."""

    total_s: float
    compute_s: Mapping[str, float]
    """By node."""
    transfer_s: Mapping[tuple[str, str], float]
    """By directed link, towards segments; the way back is not in it."""
    way_back_s: float
    bytes: Mapping[tuple[str, str], int]
    """By directed link, the way back included."""


@dataclass(frozen=True)
class Workload:
    """FLOPs and bytes of every op of a graph as arrays: made once, priced for any node."""

    graph: Graph
    flops: Seconds
    """(ops,)"""
    moved_bytes: Seconds
    """(ops,) bytes read and written, weights included."""
    kind: NDArray[np.intp]
    """(ops,) index into CLASSES."""
    layer: NDArray[np.intp]
    """(ops,) index of the op's layer."""
    weights_bytes: NDArray[np.int64]
    """(layers,)"""

    @classmethod
    def of(cls, graph: Graph) -> Workload:
        """The work in a graph, kept with the graph: planning again costs nothing here."""
        kept = graph.__dict__.get("_workload")
        if isinstance(kept, cls):
            return kept
        ops = [(op, at) for at, layer in enumerate(graph.layers) for op in layer.ops]
        made = cls(
            graph=graph,
            flops=np.array(
                [op_flops(op, graph) * WINDOW.get(op.kind, 1.0) for op, _ in ops], dtype=np.float64
            ),
            moved_bytes=np.array([op_bytes(op, graph) for op, _ in ops], dtype=np.float64),
            kind=np.array([CLASSES.index(_class_of(op, graph)) for op, _ in ops], dtype=np.intp),
            layer=np.array([at for _, at in ops], dtype=np.intp),
            weights_bytes=_weights_bytes(graph),
        )
        graph.__dict__["_workload"] = made
        return made

    def seconds(self, node: NodeCost) -> Seconds:
        """(layers,) predicted seconds of every layer on a node; infinite where it cannot run."""
        count = len(self.graph.layers)
        if node.rates is None:
            return np.full(count, math.inf)
        rates = node.rates
        per_class = np.array(
            [
                rates.conv_flops_per_s,
                rates.depthwise_flops_per_s or rates.conv_flops_per_s,
                rates.matmul_flops_per_s,
                math.inf,
                rates.conv_flops_per_s * WINDOW_SHARE,
            ]
        )
        busy = np.maximum(
            self.flops / per_class[self.kind], self.moved_bytes / rates.memory_bytes_per_s
        )
        busy += rates.op_overhead_s * np.array(OVERHEADS)[self.kind]
        summed = np.bincount(self.layer, weights=busy, minlength=count)
        found: Seconds = summed.astype(np.float64) * node.ratio
        if node.memory_bytes:
            found[self.weights_bytes > node.memory_bytes] = math.inf
        return found


def _class_of(op: Op, graph: Graph) -> str:
    return "window" if op.kind in WINDOW else op_class(op, graph)


def _weights_bytes(graph: Graph) -> NDArray[np.int64]:
    return np.array(
        [
            sum(graph.weights[name].nbytes for op in layer.ops for name in op.weights.values())
            for layer in graph.layers
        ],
        dtype=np.int64,
    )


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
            self.known_s[node] = self.workload.seconds(self.cluster.nodes[node])
        return self.known_s[node]

    def layer_s(self, layer: str, node: str) -> float:
        """Seconds of one layer on a node; infinite where the node cannot run it."""
        return float(self.layers_s(node)[self._index[layer]])

    def price(self, sender: str, receiver: str) -> tuple[float, float]:
        """Seconds of a message and of each byte: 0 within a node, infinite without a link."""
        if sender == receiver:
            return 0.0, 0.0
        link = self.cluster.links.get((sender, receiver))
        if link is None or link.bytes_per_s <= 0:
            return math.inf, math.inf
        return link.delay_s, 1 / link.bytes_per_s

    def transfer_s(self, nbytes: int, sender: str, receiver: str) -> float:
        """Seconds of one message of so many bytes."""
        delay_s, byte_s = self.price(sender, receiver)
        return delay_s + nbytes * byte_s if nbytes else delay_s

    def evaluate(self, placement: Placement) -> Terms:
        """The price of a placement; PlacementError where it is not total or goes in circles."""
        return self._price(split(self.graph, placement, self.cluster.source))

    def _price(self, parts: Split) -> Terms:
        source, compute_s = parts.source, {}
        transfer_s: dict[tuple[str, str], float] = {}
        sent: dict[tuple[str, str], int] = {}
        way_back_s = 0.0
        for node, names in parts.entry.items():
            self._send(transfer_s, sent, (source, node), names)
        for node, segment in parts.segments.items():
            places = [self._index[name] for name in segment.layers]
            compute_s[node] = self._compute_s(node, places)
            for peer, names in segment.sends.items():
                self._send(transfer_s, sent, (node, peer), names)
            if segment.results and node != source:
                nbytes = self._bytes(segment.results)
                way_back_s += self.transfer_s(nbytes, node, source)
                sent[node, source] = sent.get((node, source), 0) + nbytes
        total_s = sum(compute_s.values()) + sum(transfer_s.values()) + way_back_s
        return Terms(total_s, compute_s, transfer_s, way_back_s, sent)

    def _compute_s(self, node: str, places: list[int]) -> float:
        """Of a segment; infinite where its weights do not fit into the node's memory."""
        limit = self.cluster.nodes[node].memory_bytes
        if limit and int(self.workload.weights_bytes[places].sum()) > limit:
            return math.inf
        return float(self.layers_s(node)[places].sum())

    def _bytes(self, names: Iterable[str]) -> int:
        return sum(self.graph.tensors[name].nbytes for name in names)

    def _send(
        self,
        transfer_s: dict[tuple[str, str], float],
        sent: dict[tuple[str, str], int],
        link: tuple[str, str],
        names: tuple[str, ...],
    ) -> None:
        if link[0] == link[1]:
            return
        nbytes = self._bytes(names)
        transfer_s[link] = transfer_s.get(link, 0.0) + self.transfer_s(nbytes, *link)
        sent[link] = sent.get(link, 0) + nbytes
