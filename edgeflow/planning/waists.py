"""All plans that change nodes at waists only, as arrays: exact for chains under any goal.

    block 0 … c₁-1 @node 0 │ c₁ … c₂-1 @node 1 │ … @node k-1       one tensor crosses each │

Where every layer is a block of its own this is every plan there is, and whatever is asked (seconds,
slowest stage, bytes, memory) is a sum or a maximum over the runs; so trying them all is exact.
Elsewhere the same is tried between any two layers, where several tensors may cross: what passes
over a node is then priced as if it went by way of it, so that is a plan worth looking at, no more.

Invariant: `exact` says that all plans of the question were tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from edgeflow.costmodel.cost import NodeCost
from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.goal import Scale, is_within
from edgeflow.planning.skip import blocks
from edgeflow.planning.wiring import Wiring

CUTS_MAX = 150_000
"""Ways to cut one row of nodes that are tried: 500 blocks on three nodes. About 20 ms."""
ROWS_MAX = 200
"""Rows of nodes that are tried."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best plans found, and whether all were tried."""

    placements: tuple[Placement, ...]
    exact: bool


class Pipelined(Problem):
    """A question about stages. A node that another beats is left out of sums of seconds; but what
    the source takes over from a node beside it adds to what its own links carry already."""

    @classmethod
    def of(cls, problem: Problem) -> Pipelined:
        """The same question."""
        return cls(problem.costs, problem.pinned, problem.allowed)

    def useful(self) -> dict[int, list[NodeCost]]:
        """Candidates, all of the source's tier."""
        home, found = self.costs.cluster.nodes[self.source].tier.rank, super().useful()
        return {rank: self.candidates[rank] if rank == home else found[rank] for rank in found}


class _Sums:
    """Prefix sums over the blocks."""

    def __init__(self, problem: Problem, wiring: Wiring, edges: Indices) -> None:
        self.problem, self.edges = problem, edges
        self.blocks = len(self.edges) - 1
        made = wiring.nbytes[wiring.inputs :]
        back = np.zeros(wiring.layers)
        back[wiring.outputs] = made[wiring.outputs]
        ends = np.zeros(wiring.layers)
        ends[wiring.outputs] = 1.0
        weights = problem.costs.workload.weights_bytes.astype(np.float64)
        self.back, self.ends, self.weights = (
            self._prefix(back),
            self._prefix(ends),
            self._prefix(weights),
        )
        read = np.unique(wiring.tensor[wiring.tensor < wiring.inputs])
        self.entering = float(wiring.nbytes[read].sum())
        self.reads = bool(len(read))
        self.crossing = crossing_bytes(wiring)[self.edges]
        self._seconds: dict[str, tuple[Floats, Floats]] = {}

    def _prefix(self, values: Floats) -> Floats:
        found: Floats = np.concatenate([[0.0], np.cumsum(values)])[self.edges]
        return found

    def seconds(self, node: str) -> tuple[Floats, Floats]:
        """Prefix sums of finite seconds, and of layers that may not stand here."""
        if node not in self._seconds:
            known = self.problem.costs.layers_s(node).copy()
            for at, layer in enumerate(self.problem.costs.graph.layers):
                if self.problem.pinned.get(layer.name, node) != node:
                    known[at] = math.inf
            barred = ~np.isfinite(known)
            known[barred] = 0.0
            self._seconds[node] = self._prefix(known), self._prefix(barred.astype(np.float64))
        return self._seconds[node]


def best_at_waists(problem: Problem, scale: Scale, limit_s: float) -> Best:
    """The plan of the least value within the limit; of equal ones the quickest."""
    wiring = Wiring.of(problem.costs.graph)
    edges = blocks(wiring)
    found, exact = _best(_Sums(problem, wiring, edges), scale, limit_s)
    if len(edges) > wiring.layers:
        return Best(found, exact)
    every = np.arange(wiring.layers + 1)
    return Best(found + _best(_Sums(problem, wiring, every), scale, limit_s)[0], False)


def _best(sums: _Sums, scale: Scale, limit_s: float) -> tuple[tuple[Placement, ...], bool]:
    """The best plan with such edges, if there is one, and whether all were tried."""
    problem, exact = sums.problem, True
    best: tuple[float, float] = (math.inf, math.inf)
    found: Placement | None = None
    for number, row in enumerate(_rows(problem, scale)):
        if number >= ROWS_MAX or math.comb(sums.blocks - 1, len(row) - 1) > CUTS_MAX:
            exact = False
            continue
        if len(row) > sums.blocks:
            continue
        edges = _cuts(sums.blocks, len(row))
        value, seconds = _price(sums, scale, row, edges)
        value[seconds > limit_s] = math.inf
        at = int(np.lexsort((seconds, value))[0]) if len(value) else 0
        if (value[at], seconds[at]) < best and is_within(float(seconds[at]), limit_s):
            best = (float(value[at]), float(seconds[at]))
            found = _placement(problem, sums, row, edges[at])
    return (() if found is None else (found,)), exact


def crossing_bytes(wiring: Wiring) -> Floats:
    """(layers + 1,) bytes made before each position and read behind it."""
    change = np.zeros(wiring.layers + 2)
    last = np.full(wiring.layers, -1, dtype=np.intp)
    inner = wiring.maker >= 0
    np.maximum.at(last, wiring.maker[inner], wiring.reader[inner])
    made = np.flatnonzero(last >= 0)
    nbytes = wiring.nbytes[wiring.made_by(made)]
    np.add.at(change, made + 1, nbytes)
    np.add.at(change, last[made] + 1, -nbytes)
    found: Floats = np.cumsum(change)[: wiring.layers + 1]
    return found


def _rows(problem: Problem, scale: Scale) -> Iterator[tuple[str, ...]]:
    """Nodes of rising rank, without those that another beats."""
    asked = Pipelined.of(problem) if scale.goal.objective == "throughput" else problem
    choices: list[list[NodeCost | None]] = [[None, *nodes] for nodes in asked.useful().values()]
    for team in product(*choices):
        row = tuple(node.name for node in team if node is not None)
        if row:
            yield row


def _cuts(count: int, runs: int) -> Indices:
    """(ways, runs + 1) block edges of every way to cut blocks into so many runs."""
    found = np.zeros((1, 1), dtype=np.intp)
    for left in range(runs - 1, 0, -1):
        last = found[:, -1]
        room = count - left - last
        rows = np.repeat(np.arange(len(found)), room)
        starts = np.repeat(np.cumsum(room) - room, room)
        step = np.arange(len(rows)) - starts + 1
        found = np.column_stack([found[rows], last[rows] + step])
    return np.column_stack([found, np.full(len(found), count, dtype=np.intp)])


def _price(
    sums: _Sums, scale: Scale, row: tuple[str, ...], edges: Indices
) -> tuple[Floats, Floats]:
    """(ways,) values and latencies; infinite where a plan cannot be run."""
    costs, source = sums.problem.costs, sums.problem.source
    seconds = np.zeros(len(edges))
    busy: dict[tuple[str, str], Floats] = {}
    sent: dict[tuple[str, str], Floats] = {}

    def send(link: tuple[str, str], nbytes: Floats, used: Floats) -> None:
        nonlocal seconds
        if link[0] == link[1]:
            return
        delay_s, byte_s = costs.price(*link)
        if not math.isfinite(delay_s):
            seconds = np.where(used > 0, math.inf, seconds)
            return
        seconds = seconds + used * delay_s + nbytes * byte_s
        busy[link] = busy.get(link, 0.0) + nbytes * byte_s
        sent[link] = sent.get(link, 0.0) + nbytes

    every = np.ones(len(edges))
    if sums.reads:
        send((source, row[0]), every * sums.entering, every)
    for (sender, receiver), at in zip(pairwise(row), range(1, len(row)), strict=False):
        send((sender, receiver), sums.crossing[edges[:, at]], every)
    for at, node in enumerate(row):
        low, high = edges[:, at], edges[:, at + 1]
        prefix, barred = sums.seconds(node)
        limit = costs.cluster.nodes[node].memory_bytes
        busy[node, node] = prefix[high] - prefix[low]
        seconds = seconds + busy[node, node]
        seconds[barred[high] > barred[low]] = math.inf
        if limit:
            seconds[sums.weights[high] - sums.weights[low] > limit] = math.inf
        ends = (sums.ends[high] > sums.ends[low]).astype(np.float64)
        send((node, source), sums.back[high] - sums.back[low], ends)
    return _values(scale, seconds, busy, sent), seconds


def _values(
    scale: Scale,
    seconds: Floats,
    busy: dict[tuple[str, str], Floats],
    sent: dict[tuple[str, str], Floats],
) -> Floats:
    value = seconds
    if scale.goal.objective == "throughput":
        value = np.max(np.stack(list(busy.values())), axis=0)
    elif scale.goal.objective == "traffic":
        value = sum(
            (n for link, n in sent.items() if link in scale.backbone), np.zeros(len(seconds))
        )
    return np.where(np.isfinite(seconds), value, math.inf)


def _placement(
    problem: Problem, sums: _Sums, row: tuple[str, ...], edges: Indices
) -> dict[str, str]:
    node = np.repeat(np.arange(len(row)), np.diff(sums.edges[edges]))
    layers = problem.costs.graph.layers
    return {layer.name: row[at] for layer, at in zip(layers, node, strict=True)}
