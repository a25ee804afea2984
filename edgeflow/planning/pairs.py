"""Two nodes of different tiers, and what dividing a graph between them costs, stage by stage.

    source ──entry──▶ near ──across──▶ far          near stands on the lower tier; the source may
       └─────────────entry──────────────▲           be either of them, or neither
       ◀──results── near, far

A division costs three sums: seconds of the near node, of all messages, and of the far node. Their
sum is the price that `CostModel.evaluate` gives; their maximum is what limits the frames a second
where the three work on different frames at once.

Invariant: a pair without a far node, or with what cannot be, has infinite seconds, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.wiring import Wiring

Mask = NDArray[np.bool_]

ENTRY_NEAR, ENTRY_FAR, ACROSS, BACK_NEAR, BACK_FAR = range(5)
"""The messages of a division: graph inputs to each node, tensors between them, outputs back."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What two nodes cost."""

    near: str
    far: str | None
    """None: the near node is alone."""
    near_s: Floats
    """(layers,) infinite where a layer cannot run there, or is pinned elsewhere."""
    far_s: Floats
    """(layers,)"""
    delay_s: tuple[float, ...]
    """Of each of the five messages; infinite where there is no link."""
    byte_s: tuple[float, ...]
    """Of a byte of each; 0 where there is no link."""

    @classmethod
    def of(cls, problem: Problem, near: str, far: str | None) -> Pair:
        """The prices of two candidates, or of one."""
        source, other = problem.source, far or near
        ways = ((source, near), (source, other), (near, other), (near, source), (other, source))
        prices = [problem.costs.price(*way) for way in ways]
        return cls(
            near=near,
            far=far,
            near_s=_seconds(problem, near),
            far_s=_seconds(problem, far),
            delay_s=tuple(delay_s for delay_s, _ in prices),
            byte_s=tuple(byte_s if math.isfinite(byte_s) else 0.0 for _, byte_s in prices),
        )

    def placement(self, problem: Problem, far: Mask) -> Placement:
        """Layers where `far` (layers,) is True on the far node, the others on the near one."""
        layers = problem.costs.graph.layers
        names = (self.near, self.far or self.near)
        return {layer.name: names[int(at)] for layer, at in zip(layers, far, strict=True)}


@dataclass(frozen=True, slots=True)
class Stages:
    """What divisions cost, stage by stage; each (divisions,)."""

    near_s: Floats
    messages_s: Floats
    far_s: Floats

    @property
    def latency_s(self) -> Floats:
        """Of one frame."""
        total: Floats = self.near_s + self.messages_s + self.far_s
        return total

    @property
    def slowest_s(self) -> Floats:
        """Between frames, where the stages overlap."""
        slowest: Floats = np.maximum(np.maximum(self.near_s, self.messages_s), self.far_s)
        return slowest


def pairs(problem: Problem) -> Iterator[Pair]:
    """All pairs of useful nodes of different tiers; every node alone where there is one tier."""
    tiers = list(problem.useful().values())
    if len(tiers) == 1:
        for node in tiers[0]:
            yield Pair.of(problem, node.name, None)
    for at, lower in enumerate(tiers):
        for higher in tiers[at + 1 :]:
            for near in lower:
                for far in higher:
                    yield Pair.of(problem, near.name, far.name)


def cuts_of_the_chain(problem: Problem, wiring: Wiring, pair: Pair) -> Stages:
    """Of the layers+1 cuts of the layers' order: the first c layers near, the others far."""
    chain = Chain.of(problem, wiring)
    messages_s = np.zeros(wiring.layers + 1)
    for way in range(5):
        messages_s += np.where(
            chain.tensors[way] > 0,
            pair.delay_s[way] + chain.nbytes[way] * pair.byte_s[way],
            0.0,
        )
    zero = np.zeros(1)
    near_s = np.concatenate([zero, np.cumsum(pair.near_s)])
    far_s = np.concatenate([np.cumsum(pair.far_s[::-1])[::-1], zero])
    weights = chain.weights_bytes
    near_s[_overfull(problem, pair.near, weights)] = math.inf
    if pair.far is not None:
        far_s[_overfull(problem, pair.far, weights[-1] - weights)] = math.inf
    return Stages(near_s, messages_s, far_s)


def division(problem: Problem, wiring: Wiring, pair: Pair, far: Mask) -> Stages:
    """Of one division, `far` (layers,); one entry each."""
    maker, graph_input = np.maximum(wiring.maker, 0), wiring.maker < 0
    reads_far, made_far = far[wiring.reader], far[maker]
    outputs_far = far[wiring.outputs]
    made = wiring.made_by(wiring.outputs)
    sent = (
        wiring.tensor[graph_input & ~reads_far],
        wiring.tensor[graph_input & reads_far],
        wiring.tensor[~graph_input & ~made_far & reads_far],
        made[~outputs_far],
        made[outputs_far],
    )
    messages_s = 0.0
    for way, tensors in enumerate(sent):
        if len(tensors):
            nbytes = float(wiring.nbytes[np.unique(tensors)].sum())
            messages_s += pair.delay_s[way] + nbytes * pair.byte_s[way]
    weights = problem.costs.workload.weights_bytes
    near_s, far_s = float(pair.near_s[~far].sum()), float(pair.far_s[far].sum())
    if not problem.holds(pair.near, int(weights[~far].sum())):
        near_s = math.inf
    if pair.far is not None and not problem.holds(pair.far, int(weights[far].sum())):
        far_s = math.inf
    return Stages(np.array([near_s]), np.array([messages_s]), np.array([far_s]))


@dataclass(frozen=True, slots=True)
class Chain:
    """What crosses each cut of the layers' order; kept with the graph."""

    tensors: Floats
    """(5, layers + 1) tensors in each of the five messages."""
    nbytes: Floats
    """(5, layers + 1)"""
    weights_bytes: Indices
    """(layers + 1,) of the layers before each cut."""

    @classmethod
    def of(cls, problem: Problem, wiring: Wiring) -> Chain:
        """The chain of a graph."""
        graph = problem.costs.graph
        weights = problem.costs.workload.weights_bytes
        kept = graph.__dict__.get("_chain")
        if isinstance(kept, cls) and np.array_equal(np.diff(kept.weights_bytes), weights):
            return kept
        spans = _spans(wiring)
        tensors, nbytes = np.zeros((2, 5, wiring.layers + 2))
        for way, (tensor, start, stop) in enumerate(spans):
            for change, found in ((1.0, tensors), (wiring.nbytes[tensor], nbytes)):
                np.add.at(found[way], start, change)
                np.add.at(found[way], stop, -np.asarray(change))
        made = cls(
            np.cumsum(tensors, axis=1)[:, :-1],
            np.cumsum(nbytes, axis=1)[:, :-1],
            np.concatenate([[0], np.cumsum(weights)]).astype(np.intp),
        )
        graph.__dict__["_chain"] = made
        return made


def _spans(wiring: Wiring) -> tuple[tuple[Indices, Indices, Indices], ...]:
    """By message: tensors, and the half open range of cuts at which each is in it."""
    count = len(wiring.nbytes)
    first = np.full(count, wiring.layers, dtype=np.intp)
    last = np.full(count, -1, dtype=np.intp)
    np.minimum.at(first, wiring.tensor, wiring.reader)
    np.maximum.at(last, wiring.tensor, wiring.reader)
    read = np.flatnonzero(last >= 0)
    inputs, inner = read[read < wiring.inputs], read[read >= wiring.inputs]
    made, end = wiring.made_by(wiring.outputs), wiring.layers + 1
    none, all_ = np.zeros(len(inputs), dtype=np.intp), np.full(len(inputs), end)
    return (
        (inputs, first[inputs] + 1, all_),
        (inputs, none, last[inputs] + 1),
        (inner, inner - wiring.inputs + 1, last[inner] + 1),
        (made, wiring.outputs + 1, np.full(len(made), end)),
        (made, np.zeros(len(made), dtype=np.intp), wiring.outputs + 1),
    )


def _seconds(problem: Problem, node: str | None) -> Floats:
    layers = problem.costs.graph.layers
    if node is None:
        return np.full(len(layers), math.inf)
    seconds = problem.costs.layers_s(node).copy()
    if problem.pinned:
        elsewhere = [problem.pinned.get(layer.name, node) != node for layer in layers]
        seconds[elsewhere] = math.inf
    return seconds


def _overfull(problem: Problem, node: str, weights_bytes: Indices) -> Mask:
    limit = problem.costs.cluster.nodes[node].memory_bytes
    found: Mask = weights_bytes > limit if limit else np.zeros(len(weights_bytes), dtype=bool)
    return found
