"""How much work a model is, and how long it takes on a node.

    op       seconds = overheads of its class + max(FLOPs / rate of its class, bytes / memory rate)
             + of a convolution: packing its weights
    layer    seconds = ratio of the node · (what was timed there, else Σ over its ops · correction)

The correction of a layer is what timing showed on other nodes, over what was predicted for them; a
node that timed other layers of the model scales it by its own.

Roofline after Williams, Waterman and Patterson, "Roofline: an insightful visual performance model",
CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeflow.messages import Rates, Rect, Tier
from edgeflow.model.graph import Graph, Op
from edgeflow.model.ops import op_bytes, op_class, op_flops
from edgeflow.tiles.rect import area, whole
from edgeflow.tiles.region import regions

Seconds = NDArray[np.float64]

CLASSES = ("conv", "depthwise", "matmul", "memory", "window", "decode")
"""Op classes, each with its own rate of FLOPs; `memory` ops are paid in bytes alone."""
OVERHEADS = (8.0, 16.0, 3.0, 1.0, 3.0, 22.0)
"""Overheads that one op of each class costs before it computes: a convolution is prepared, packed
and dispatched. Medians of small layers of seven networks, torch 2.13 on x86: 30 µs and 75 µs for
plain and depthwise convolutions where an elementwise op takes 3.7 µs."""
WINDOW = {"max_pool2d": 4.0, "avg_pool2d": 1.0, "local_response_norm": 1.0}
"""Kinds of the class `window`, which engines walk element by element, and how much each counts."""
WINDOW_SHARE = 1 / 80
"""Their rate as a share of the convolutions', which use whole vector units: torch 2.13 on x86 with
AVX-512, 1.1 of 83 GFLOP/s. A guess elsewhere; it matters to networks with large pooling layers."""
PACKINGS = 2.3
"""Times that memory moves the weights of a convolution before each run: the engine packs them anew
in its own order. torch 2.13 on x86: 4 of 7 ms for 19 MB of weights on a map of 7 by 7, which is why
tiles of such maps save next to nothing. A guess elsewhere."""
DECODE_FLOPS = 80_000.0
"""Operations of `decode` in the time of one overhead: both are up to one thread of the processor,
whatever its vector units or a GPU can. Pillow 13 on x86: 220 megapixels a second, 80 resized."""
HANDLED = 150.0
"""Overheads that a message costs whoever gets it, beside what it takes on the link: it is read, put
to others, handed to the process that computes, and what comes back is handed on. x86 under quotas
of a fifth to three fifths of a core: 4 to 8 ms of a frame that went to one other node and back, as
this says; 0.6 ms on a whole core. Less sends frames through more nodes for next to nothing."""

TILES_KEPT = 256
"""Workloads of tiles that are kept with a graph: four plans of 16 maps on four nodes."""


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
    layers_s: tuple[float, ...] = ()
    """Timed seconds of each layer of the model, 0 where it never ran here; empty: none did."""
    deviation: float = 0.0
    """Standard error of its seconds, as a share of them: all its layers are off together."""

    @property
    def handling_s(self) -> float:
        """Of each message that it gets; 0 where nobody knows how quick it is."""
        return HANDLED * self.rates.op_overhead_s if self.rates is not None else 0.0


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
    packed_bytes: Seconds
    """(ops,) of the weights of convolutions, however small their map."""

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
            packed_bytes=np.array([_packed_bytes(op, graph) for op, _ in ops], dtype=np.float64),
        )
        graph.__dict__["_workload"] = made
        return made

    def of_tile(self, layers: Sequence[str], tile: Rect) -> Workload:
        """The work of these layers where they make only this rectangle of the one map that leaves
        them, halos included; TileError where they cannot. The other layers' work stays what it is.
        The latest ones are kept with the graph: plans are priced again and again.
        """
        key = (tuple(layers), tile)
        kept: dict[tuple[tuple[str, ...], Rect], Workload]
        kept = self.graph.__dict__.setdefault("_tile_workloads", {})
        if key not in kept:
            if len(kept) >= TILES_KEPT:
                kept.clear()
            kept[key] = self._of_tile(key[0], tile)
        return kept[key]

    def _of_tile(self, layers: tuple[str, ...], tile: Rect) -> Workload:
        (output,) = self.graph.boundary(layers)[1]
        known = regions(self.graph, layers, {output: tile})
        shares = {name: _share(self.graph, name, known) for name in known}
        flops, moved_bytes = self.flops.copy(), self.moved_bytes.copy()
        for name in layers:
            for at, op in self._ops[name]:
                flops[at] *= shares.get(op.name, 1.0)
                for tensor in (*op.inputs, op.name):
                    unseen = 1 - shares.get(tensor, 1.0)
                    moved_bytes[at] -= unseen * self.graph.tensors[tensor].nbytes
        return replace(self, flops=flops, moved_bytes=moved_bytes)

    def layer_flops(self) -> Seconds:
        """(layers,)"""
        count = len(self.graph.layers)
        found = np.bincount(self.layer, weights=self.flops, minlength=count)
        return found.astype(np.float64)

    @cached_property
    def _ops(self) -> dict[str, list[tuple[int, Op]]]:
        """Each layer's ops and their places."""
        found: dict[str, list[tuple[int, Op]]] = {}
        every = ((layer.name, op) for layer in self.graph.layers for op in layer.ops)
        for at, (name, op) in enumerate(every):
            found.setdefault(name, []).append((at, op))
        return found

    def seconds(self, node: NodeCost, correction: Seconds | None = None) -> Seconds:
        """(layers,) seconds of every layer on a node; infinite where it cannot run."""
        found = self.prior(node)
        if node.rates is None:
            return found
        if correction is not None:
            found = found * correction
        timed = self.timed(node)
        known = timed > 0
        if known.any():
            whole = float(found.sum())
            share = float(found[known].sum()) / whole if whole > 0 else 0.0
            found = found * (float(timed[known].sum()) / float(found[known].sum())) ** share
            found[known] = timed[known]
        found = found * node.ratio
        if node.memory_bytes:
            found[self.weights_bytes > node.memory_bytes] = math.inf
        return found

    def timed(self, node: NodeCost) -> Seconds:
        """(layers,) what was timed there; 0 where nothing was, or it was another model's."""
        if len(node.layers_s) != len(self.graph.layers):
            return np.zeros(len(self.graph.layers))
        return np.array(node.layers_s, dtype=np.float64)

    def correction(self, nodes: Iterable[NodeCost]) -> Seconds | None:
        """(layers,) what timing showed over what rates predict, the median over these nodes."""
        shown = []
        for node in nodes:
            timed = self.timed(node)
            if node.rates is not None and timed.any():
                shown.append(np.where(timed > 0, timed, np.nan) / self.prior(node))
        if not shown:
            return None
        known = ~np.all(np.isnan(shown), axis=0)
        found = np.ones(len(self.graph.layers))
        found[known] = np.nanmedian(np.array(shown)[:, known], axis=0)
        # What nobody timed is as far off as all that was.
        found[~known] = np.median(found[known])
        return found

    def prior(self, node: NodeCost) -> Seconds:
        """(layers,) predicted out of rates alone; infinite where the node computes nothing."""
        count = len(self.graph.layers)
        if node.rates is None:
            return np.full(count, math.inf)
        rates = node.rates
        per_class = class_rates(rates)
        busy = np.maximum(
            self.flops / per_class[self.kind], self.moved_bytes / rates.memory_bytes_per_s
        )
        busy += rates.op_overhead_s * np.array(OVERHEADS)[self.kind]
        busy += self.packed_bytes * PACKINGS / rates.memory_bytes_per_s
        found: Seconds = np.bincount(self.layer, weights=busy, minlength=count).astype(np.float64)
        return found


def class_rates(rates: Rates) -> Seconds:
    """(classes,) FLOPs per second of each class."""
    return np.array(
        [
            rates.conv_flops_per_s,
            rates.depthwise_flops_per_s or rates.conv_flops_per_s,
            rates.matmul_flops_per_s,
            math.inf,
            rates.conv_flops_per_s * WINDOW_SHARE,
            DECODE_FLOPS / max(rates.op_overhead_s, 1e-9),
        ]
    )


def _packed_bytes(op: Op, graph: Graph) -> int:
    if op_class(op, graph) != "conv":
        return 0
    return graph.weights[op.weights["weight"]].nbytes


def _class_of(op: Op, graph: Graph) -> str:
    return "window" if op.kind in WINDOW else op_class(op, graph)


def _share(graph: Graph, name: str, known: Mapping[str, Rect]) -> float:
    """Of a map, how much of it is in its rectangle."""
    everything = whole(graph.tensors[name])
    if everything is None or name not in known:
        return 1.0
    return area(known[name]) / area(everything)


def _weights_bytes(graph: Graph) -> NDArray[np.int64]:
    return np.array(
        [
            sum(graph.weights[name].nbytes for op in layer.ops for name in op.weights.values())
            for layer in graph.layers
        ],
        dtype=np.int64,
    )
