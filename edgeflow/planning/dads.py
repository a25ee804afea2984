"""DADS: the best division of a DAG between two nodes, as a minimum cut.

    far(l) = the sink's side of the cut; arcs and who pays:

    l ─▶ sink                 seconds of l near        source ─▶ l              seconds of l far
    maker ─▶ y ─▶ readers     a tensor across, once for all readers: bytes, then ∞
    reader ─▶ maker           ∞: data only rises
    reader ─▶ p ─▶ sink       an input (or its delay) to the near node, where any reader is there
    source ─▶ q ─▶ reader     the same to the far node; outputs and their delay likewise

The delay of the message across is the one price that no arc can hold: it is a constant where the
cut divides, and a second cut, in which nothing may cross, is free of it. So two cuts are exact.

Hu et al., "Dynamic adaptive DNN surgery for inference acceleration on the edge", INFOCOM 2019. From
its abstract: a DNN is a DAG divided between edge and cloud; under light load the latency of one
frame is minimised, and that is a min-cut; under heavy load the throughput is maximised, which is
hard (NP) and approximated. Our reading: `dads` is the light mode over the best pair of nodes, and
`dads-heavy` minimises the slowest of three stages, near node, messages and far node, by repeated
cuts: each stage's seconds count by a weight, and the weights move towards the stage that limits
(multiplicative weights: Arora, Hazan and Kale, Theory of Computing 8, 2012) until the bound that
the cuts give is met or the rounds are over. All cuts of the chain compete too. The paper chooses
the mode by the load it sees; here the caller does. Its approximation may find other plans.

Invariant: without memory limits the light mode is exact over all plans on at most two nodes. Where
the best cut overfills a node, the best cut of the chain that fits is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import FIRST, SINK, SOURCE, Arcs, Floats, Indices, cheapest_cut
from edgeflow.planning.pairs import (
    ACROSS,
    BACK_FAR,
    BACK_NEAR,
    ENTRY_FAR,
    ENTRY_NEAR,
    Mask,
    Pair,
    Stages,
    cuts_of_the_chain,
    division,
    pairs,
)
from edgeflow.planning.wiring import Wiring

ROUNDS = 16
"""Cuts of a pair under heavy load. More come nearer to the bound, at a millisecond or two each."""
HEAVY_PAIRS = 4
"""Pairs for which that is done: those with the best cuts of the chain."""
NEAR_ENOUGH = 1.01
"""A slowest stage within 1 % of the bound ends the rounds."""
STEP = 0.7
"""How fast weights follow the stages; higher moves faster and swings wider."""
PROOF = 1e-9

Weights = tuple[float, float, float]
EVEN: Weights = (1.0, 1.0, 1.0)


@dataclass
class Best:
    """The best division so far."""

    heavy: bool
    price_s: float = math.inf
    latency_s: float = math.inf
    """Decides between plans of one price."""
    found: tuple[Pair, Mask] | None = None

    def offer(self, pair: Pair, stages: Stages, far: Callable[[int], Mask]) -> float:
        """Keeps the best of some divisions, which `far` gives by number; its price."""
        prices = stages.slowest_s if self.heavy else stages.latency_s
        at = int(np.lexsort((stages.latency_s, prices))[0])
        price_s, latency_s = float(prices[at]), float(stages.latency_s[at])
        if (price_s, latency_s) < (self.price_s, self.latency_s):
            self.price_s, self.latency_s = price_s, latency_s
            self.found = (pair, far(at))
        return price_s


def place_dads(problem: Problem, *, heavy: bool = False) -> Placement | None:
    """The best division over the best pair; None where none can be run."""
    wiring, best = Wiring.of(problem.costs.graph), Best(heavy)
    layers = np.arange(wiring.layers)
    asked: list[tuple[float, Pair]] = []
    for pair in pairs(problem):
        chain = cuts_of_the_chain(problem, wiring, pair)
        price_s = best.offer(pair, chain, lambda cut: layers >= cut)
        if pair.far is not None:
            asked.append((price_s, pair))
    asked.sort(key=lambda each: each[0])
    for _, pair in asked[: HEAVY_PAIRS if heavy else None]:
        if floor_s(pair, heavy=heavy) < best.price_s * (1 - PROOF):
            (_try_heavy if heavy else _try_light)(problem, wiring, pair, best)
    return best.found[0].placement(problem, best.found[1]) if best.found else None


def floor_s(pair: Pair, *, heavy: bool) -> float:
    """No division of the pair costs less: computing alone, each layer where it is fastest."""
    total = float(np.minimum(pair.near_s, pair.far_s).sum())
    return total / 2 if heavy else total


def _try_light(problem: Problem, wiring: Wiring, pair: Pair, best: Best) -> None:
    for apart in (False, True):
        found = cheapest_division(wiring, pair, EVEN, best.price_s, apart=apart)
        if found is not None:
            _offer(best, problem, wiring, pair, found[0])


def _offer(best: Best, problem: Problem, wiring: Wiring, pair: Pair, far: Mask) -> None:
    best.offer(pair, division(problem, wiring, pair, far), lambda _: far)


def _try_heavy(problem: Problem, wiring: Wiring, pair: Pair, best: Best) -> None:
    """Cuts with weights that move towards the stage that limits. The weights sum to 1, so that a
    weighted sum never exceeds the slowest stage: no cut below the best price, nothing better."""
    share, bound_s = np.full(3, 1 / 3), 0.0
    for _ in range(ROUNDS):
        weights = (float(share[0]), float(share[1]), float(share[2]))
        cuts = [
            found
            for apart in (False, True)
            if (found := cheapest_division(wiring, pair, weights, best.price_s, apart=apart))
        ]
        if not cuts:
            return
        for far, _ in cuts:
            _offer(best, problem, wiring, pair, far)
        bound_s = max(bound_s, min(bound for _, bound in cuts))
        if best.price_s <= bound_s * NEAR_ENOUGH:
            return
        far = min(cuts, key=lambda cut: cut[1])[0]
        share = _moved(share, division(problem, wiring, pair, far))


def _moved(share: Floats, stages: Stages) -> Floats:
    """Weights after one round; each stays above a thousandth, so that ∞ stays ∞."""
    stage_s = np.array([stages.near_s[0], stages.messages_s[0], stages.far_s[0]])
    most_s = stage_s[np.isfinite(stage_s)].max(initial=0.0)
    if most_s <= 0:
        return share
    moved = share * np.exp(STEP * (np.minimum(stage_s, most_s) / most_s))
    moved = np.maximum(moved / moved.sum(), 1e-3)
    kept: Floats = moved / moved.sum()
    return kept


def cheapest_division(
    wiring: Wiring, pair: Pair, weights: Weights, limit_s: float, *, apart: bool
) -> tuple[Mask, float] | None:
    """The division whose weighted stages cost least, and a bound of all of them; None where none
    costs less than the limit.

    `apart`: no tensor may cross. Otherwise the delay of the message across is always paid, and what
    divides nothing is better found undivided.
    """
    if apart and _is_joined(wiring):
        return None
    near_s, far_s = pair.near_s * weights[0], pair.far_s * weights[2]
    net = _Net(wiring, pair, weights[1])
    net.outputs(near_s, far_s)
    base = np.minimum(near_s, far_s)
    across_s = 0.0 if apart else pair.delay_s[ACROSS] * weights[1]
    fixed_s = float(base.sum()) + across_s
    if not math.isfinite(fixed_s):
        return None
    net.seconds(near_s - base, far_s - base)
    net.inputs()
    net.tensors(apart=apart)
    arcs = net.arcs()
    finite = arcs.capacity[np.isfinite(arcs.capacity)]
    room = min(limit_s - fixed_s, 2 * float(finite.sum()) + 1e-9)
    cut = cheapest_cut(arcs, net.vertices, room) if room > 0 else None
    if cut is None:
        return None
    return cut.sink_side[FIRST : FIRST + wiring.layers], fixed_s + cut.bound


def _is_joined(wiring: Wiring) -> bool:
    """Do tensors between layers join all of them? Then nothing divides them without crossing."""
    inner = wiring.maker >= 0
    pairs_ = (wiring.maker[inner], wiring.reader[inner])
    shape = (wiring.layers, wiring.layers)
    joined = coo_array((np.ones(len(pairs_[0]), dtype=np.int8), pairs_), shape=shape)
    count, _ = connected_components(joined, directed=False)
    return count == 1


class _Net:
    """Collects arcs; layers are the first vertices."""

    def __init__(self, wiring: Wiring, pair: Pair, weight: float) -> None:
        self.wiring, self.pair, self.weight = wiring, pair, weight
        self.vertices = FIRST + wiring.layers
        self.parts: list[tuple[Indices, Indices, Floats]] = []

    def arcs(self) -> Arcs:
        """All of them."""
        tail, head, capacity = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return Arcs(tail, head, capacity)

    def add(self, tail: Indices | int, head: Indices | int, capacity: Floats | float) -> None:
        """Arcs, broadcast against each other."""
        a, b, c = np.broadcast_arrays(
            np.asarray(tail, dtype=np.intp),
            np.asarray(head, dtype=np.intp),
            np.asarray(capacity, dtype=np.float64),
        )
        self.parts.append((a.ravel(), b.ravel(), c.ravel()))

    def near_any(self, layers: Indices, price_s: float) -> None:
        """Paid once where any of these layers is near."""
        self.add(FIRST + layers, self.vertices, math.inf)
        self.add(self.vertices, SINK, price_s)
        self.vertices += 1

    def far_any(self, layers: Indices, price_s: float) -> None:
        """Paid once where any of these layers is far."""
        self.add(SOURCE, self.vertices, price_s)
        self.add(self.vertices, FIRST + layers, math.inf)
        self.vertices += 1

    def outputs(self, near_s: Floats, far_s: Floats) -> None:
        """The way back: delays as arcs, bytes added to the seconds of the outputs' layers."""
        made, pair = self.wiring.outputs, self.pair
        nbytes = self.wiring.nbytes[self.wiring.made_by(made)]
        near_s[made] += nbytes * (pair.byte_s[BACK_NEAR] * self.weight)
        far_s[made] += nbytes * (pair.byte_s[BACK_FAR] * self.weight)
        if len(made):
            self.near_any(made, pair.delay_s[BACK_NEAR] * self.weight)
            self.far_any(made, pair.delay_s[BACK_FAR] * self.weight)

    def seconds(self, near_s: Floats, far_s: Floats) -> None:
        """What each layer costs on either side."""
        layers = FIRST + np.arange(self.wiring.layers)
        self.add(layers, SINK, near_s)
        self.add(SOURCE, layers, far_s)

    def inputs(self) -> None:
        """Graph inputs, from the source to either side."""
        reads = self.wiring.tensor < self.wiring.inputs
        if not reads.any():
            return
        for way, any_ in ((ENTRY_NEAR, self.near_any), (ENTRY_FAR, self.far_any)):
            delay_s, byte_s = self.pair.delay_s[way], self.pair.byte_s[way]
            any_(np.unique(self.wiring.reader[reads]), delay_s * self.weight)
            for tensor in np.unique(self.wiring.tensor[reads]):
                readers = self.wiring.reader[self.wiring.tensor == tensor]
                any_(readers, float(self.wiring.nbytes[tensor]) * byte_s * self.weight)

    def tensors(self, *, apart: bool) -> None:
        """Tensors between layers."""
        inner = self.wiring.maker >= 0
        maker, reader = FIRST + self.wiring.maker[inner], FIRST + self.wiring.reader[inner]
        self.add(reader, maker, math.inf)
        if apart:
            self.add(maker, reader, math.inf)
            return
        shared, start, place = np.unique(maker, return_index=True, return_inverse=True)
        sent = self.wiring.nbytes[self.wiring.tensor[inner]][start]
        price_s = sent * (self.pair.byte_s[ACROSS] * self.weight)
        self.add(shared, self.vertices + np.arange(len(shared)), price_s)
        self.add(self.vertices + place, reader, math.inf)
        self.vertices += len(shared)
