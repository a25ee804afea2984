"""The best split over one row of nodes, as a minimum cut.

Nodes 0..K-1 stand in a row by rank; node 0 is where frames enter. Binary x_k(l), k = 1..K-1, says
"layer l stands at node k or behind"; x = 1 is the sink's side of the cut. Arcs, and who pays:

    x_1(l) ─▶ sink            seconds of l at node 0       x_{k+1}(l) ─▶ x_k(l)   seconds at node k
    source ─▶ x_{K-1}(l)      seconds at node K-1          x_k(l) ─▶ x_{k+1}(l)   ∞: order of nodes
    x_k(maker) ─▶ y ─▶ x_k(reader)   the tensor's seconds on link k, then ∞: once for all readers
    x_k(reader) ─▶ x_k(maker)        ∞: data only rises
    source ─▶ z ─▶ x_k(end)          delay of link k, then ∞: some layer stands behind link k
    x_k(maker) ─▶ x_{k+1}(reader)    ∞: no tensor passes over a node (only with `hops`)

With `hops` a tensor moves one node at a time, and the cut prices exactly what the runtime does: a
row without its middle node is a row of its own. Without, prices that nowhere exceed the direct ones
(`Prices.relaxed`) make the cut a lower bound for all plans over these nodes.

Where outputs leave from several nodes, or the first node both hands on inputs and sends tensors, a
second message's delay is left out: the cut stays a bound, and the caller prices what it found.

After Hu et al., "Dynamic adaptive DNN surgery for inference acceleration on the edge" (DADS),
INFOCOM 2019, for two nodes; the row of binaries after Ishikawa, PAMI 25(10), 2003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import FIRST, SINK, SOURCE, Arcs, Floats, Indices, cheapest_cut
from edgeflow.planning.wiring import Wiring

Row = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a row of K nodes costs."""

    seconds: Floats
    """(K, layers) of each layer on each node, the way back of an output's bytes included."""
    back_s: Floats
    """(K,) delay of the message that brings outputs back."""
    delay_s: Floats
    """(K, K) of a message from one node to a later one."""
    byte_s: Floats
    """(K, K) of each byte."""

    @classmethod
    def of(cls, problem: Problem, row: Row, wiring: Wiring) -> Prices:
        """Prices of a row; its first node is None where the source only hands on inputs."""
        costs, source = problem.costs, problem.source
        count = len(row)
        seconds, back_s = np.full((count, wiring.layers), math.inf), np.zeros(count)
        for at, name in enumerate(row):
            if name is not None:
                back_s[at], byte_s = costs.price(name, source)
                seconds[at] = costs.layers_s(name)
                seconds[at, wiring.outputs] += (
                    wiring.nbytes[wiring.made_by(wiring.outputs)] * byte_s
                )
        _pin(problem, row, seconds)
        names = [source if name is None else name for name in row]
        prices = np.array([[costs.price(a, b) for b in names] for a in names])
        return cls(seconds, back_s, prices[:, :, 0], prices[:, :, 1])

    def shared(self, wiring: Wiring) -> Floats:
        """(K, layers) seconds with each output's share of the way back's delay: never more than
        what outputs on several nodes pay, and all of it where they stand on one."""
        seconds = self.seconds.copy()
        if len(wiring.outputs):
            seconds[:, wiring.outputs] += self.back_s[:, None] / len(wiring.outputs)
        return seconds

    def hop_prices(self) -> tuple[Floats, Floats]:
        """(K-1,) delay and price of a byte on the link in front of each node but the first."""
        return np.diagonal(self.delay_s, 1).copy(), np.diagonal(self.byte_s, 1).copy()

    def relaxed(self, first: Sequence[int]) -> tuple[Floats, Floats]:
        """Hop prices lowered so that no sum over hops exceeds the direct link's price.

        Hops in `first` are lowered last: what they carry is priced in full where possible.
        """
        return _relax(self.delay_s, first), _relax(self.byte_s, first)

    def price_s(self, wiring: Wiring, node: Indices) -> float:
        """What `CostModel.evaluate` says of layers at these nodes of the row, memory aside."""
        maker = wiring.maker
        inner = maker >= 0
        sender = np.where(inner, node[np.maximum(maker, 0)], 0)
        receiver = node[wiring.reader]
        sent = sender != receiver
        count = len(self.seconds)
        ways = np.unique(wiring.tensor[sent] * count + receiver[sent])
        tensor, to = ways // count, ways % count
        inner = tensor >= wiring.inputs
        made = np.where(inner, node[np.maximum(tensor - wiring.inputs, 0)], 0)
        opened = np.unique((made * count + to) * 2 + inner) // 2
        total = self.seconds[node, np.arange(wiring.layers)].sum()
        total += self.delay_s[opened // count, opened % count].sum()
        total += _times(wiring.nbytes[tensor], self.byte_s[made, to]).sum()
        return float(total + self.back_s[np.unique(node[wiring.outputs])].sum())


def _times(nbytes: Floats, byte_s: Floats) -> Floats:
    """Products where no byte costs nothing, also on no link."""
    return np.where(nbytes > 0, nbytes, 0.0) * np.where(nbytes > 0, byte_s, 0.0)


def _pin(problem: Problem, row: Row, seconds: Floats) -> None:
    if problem.pinned:
        for at, layer in enumerate(problem.costs.graph.layers):
            node = problem.pinned.get(layer.name)
            if node is not None:
                seconds[[name != node for name in row], at] = math.inf


def _relax(direct: Floats, first: Sequence[int]) -> Floats:
    """Prices of hops with Σ over hops i..j-1 <= direct[i, j] for all i < j, greedily as high as can
    be in the order of `first`."""
    count = len(direct)
    hops = np.zeros(count - 1)
    for hop in first:
        pairs = [(i, j) for i in range(hop + 1) for j in range(hop + 1, count)]
        room = [direct[i, j] - hops[i:j].sum() for i, j in pairs if math.isfinite(direct[i, j])]
        hops[hop] = max(0.0, min(room, default=math.inf))
    return hops


@dataclass(frozen=True, slots=True)
class Labelling:
    """Which node of the row each layer stands at, and what no labelling of this kind goes below."""

    node: Indices
    """(layers,)"""
    bound_s: float


def best_labelling(
    wiring: Wiring, seconds: Floats, hops: tuple[Floats, Floats], limit_s: float, *, strict: bool
) -> Labelling | None:
    """The cheapest labelling below `limit_s`, or None where there is none.

    `seconds` is (K, layers), `hops` the delay and the price of a byte by link of the row; `strict`
    forbids to pass over a node.
    """
    count = len(seconds)
    if count == 1:
        total = float(seconds.sum())
        return Labelling(np.zeros(wiring.layers, dtype=np.intp), total) if total < limit_s else None
    base = np.min(seconds, axis=0)
    if not np.isfinite(base).all():
        return None
    room = limit_s - float(base.sum())
    if room <= 0:
        return None
    arcs, vertices = _arcs(wiring, seconds - base, hops, strict)
    cut = cheapest_cut(arcs, vertices, room)
    if cut is None:
        return None
    behind = cut.sink_side[FIRST : FIRST + (count - 1) * wiring.layers]
    return Labelling(
        behind.reshape(count - 1, wiring.layers).sum(axis=0), float(base.sum()) + cut.bound
    )


class _Builder:
    """Collects arcs."""

    def __init__(self) -> None:
        self.parts: list[tuple[Indices, Indices, Floats]] = []

    def add(self, tail: Indices | int, head: Indices | int, capacity: Floats | float) -> None:
        """Arcs, broadcast against each other."""
        a, b, c = np.broadcast_arrays(tail, head, np.asarray(capacity, dtype=np.float64))
        self.parts.append((a.ravel(), b.ravel(), c.ravel()))

    def arcs(self) -> Arcs:
        """All of them."""
        tail, head, capacity = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return Arcs(tail.astype(np.intp), head.astype(np.intp), capacity)


def _arcs(
    wiring: Wiring, seconds: Floats, hops: tuple[Floats, Floats], strict: bool
) -> tuple[Arcs, int]:
    count, layers = seconds.shape
    found = _Builder()
    x = FIRST + np.arange((count - 1) * layers).reshape(count - 1, layers)
    found.add(x[0], SINK, seconds[0])
    found.add(SOURCE, x[-1], seconds[-1])
    for k in range(1, count - 1):
        found.add(x[k], x[k - 1], seconds[k])
        found.add(x[k - 1], x[k], math.inf)
    vertices = FIRST + x.size
    for k in range(count - 1):
        found.add(SOURCE, vertices, hops[0][k])
        found.add(vertices, x[k][wiring.ends], math.inf)
        vertices = _wire_hop(found, wiring, x[k], float(hops[1][k]), vertices + 1)
    if strict:
        for k in range(count - 2):
            found.add(_made(wiring, x[k]), x[k + 1][wiring.reader], math.inf)
    return found.arcs(), vertices


def _made(wiring: Wiring, x: Indices) -> Indices:
    """(wires,) the vertex of each wire's maker; graph inputs are born at the source."""
    return np.where(wiring.maker < 0, SOURCE, x[np.maximum(wiring.maker, 0)])


def _wire_hop(found: _Builder, wiring: Wiring, x: Indices, byte_s: float, vertices: int) -> int:
    """Arcs of every tensor over one link; returns the next free vertex."""
    made, read = _made(wiring, x), x[wiring.reader]
    inner = wiring.maker >= 0
    found.add(read[inner], made[inner], math.inf)
    sent = wiring.nbytes[wiring.tensor]
    price = sent * byte_s if math.isfinite(byte_s) else np.full(len(sent), math.inf)
    readers = np.bincount(wiring.tensor, minlength=len(wiring.nbytes))
    alone = readers[wiring.tensor] == 1
    found.add(made[alone], read[alone], price[alone])
    shared, start = np.unique(wiring.tensor[~alone], return_index=True)
    if not len(shared):
        return vertices
    place = np.searchsorted(shared, wiring.tensor[~alone])
    found.add(made[~alone][start], vertices + np.arange(len(shared)), price[~alone][start])
    found.add(vertices + place, read[~alone], math.inf)
    return vertices + len(shared)
