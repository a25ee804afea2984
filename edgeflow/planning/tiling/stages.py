"""Stages of tile maps as arrays: many strips, runs and worker sets priced at once.

    sharing at p ══ exchange ══▶ what strips at q need at p ── blocks p … q-1 on each worker
    a node alone is a sharing of one strip: so scatter, halos and gather are one and the same

A *sharing* says which node has which rows of the map that crosses a position; several nodes have
strips one below the other, and a strip without rows is no strip.

Invariant: the arithmetic is that of `edgeflow.costmodel.crew`, for strips of whole rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeflow.costmodel.exchange import arrivals, finishes, same
from edgeflow.costmodel.workload import OVERHEADS, PACKINGS, class_rates
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.tiling.strips import Columns, Strips

NOBODY = -1
"""In place of a node's number, for a strip without rows."""


class Sharing(NamedTuple):
    """Many sharings at once; each array is (…, strips)."""

    nodes: Indices
    """Numbers of nodes in `Stages.names`."""
    lo: Indices
    hi: Indices

    def at(self, place: int | Indices) -> Sharing:
        """Some of them."""
        return Sharing(self.nodes[place], self.lo[place], self.hi[place])


class Runs(NamedTuple):
    """What runs of blocks that all begin at one position take, by where they end."""

    stops: Indices
    """(runs,) positions."""
    lo: Indices
    """(runs, …, strips) rows needed of what enters."""
    hi: Indices
    columns: Indices
    """(runs, 2)"""
    seconds: Floats
    """(runs, …, strips) of each strip."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A block's ops, priced on every node: the arrays are (ops, nodes), or (nodes,)."""

    flop_s: Floats
    byte_s: Floats
    fixed_s: Floats
    scale: Floats
    """What is known of the layer over what is predicted."""
    barred: NDArray[np.bool_]


class Stages:
    """The prices of one question."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.costs = problem, problem.costs
        self.strips = Strips.of(problem.costs.graph)
        nodes = problem.costs.cluster.nodes
        self.names = tuple(nodes)
        self.number = {name: at for at, name in enumerate(self.names)}
        self.rank = np.array([nodes[name].tier.rank for name in self.names])
        pairs = [[problem.costs.price(a, b) for b in self.names] for a in self.names]
        self.delay_s, self.byte_s = np.moveaxis(np.array(pairs, dtype=np.float64), -1, 0)
        self.source = self.number[problem.source]

    def alone(self, node: int | Indices, position: int) -> Sharing:
        """Nodes that each have all rows: (nodes, 1)."""
        nodes = np.atleast_1d(np.asarray(node, dtype=np.intp))[:, None]
        rows = int(self.strips.rows[position])
        return Sharing(nodes, np.zeros_like(nodes), np.full_like(nodes, rows))

    # --- computing -------------------------------------------------------------------------------

    @cached_property
    def layers_s(self) -> Floats:
        """(nodes, layers) seconds; infinite where a layer may not stand."""
        found = np.full((len(self.names), len(self.costs.graph.layers)), math.inf)
        for at, name in enumerate(self.names):
            if self.problem.why_not(name) is None:
                found[at] = self.costs.layers_s(name)
        for at, layer in enumerate(self.costs.graph.layers):
            if layer.name in self.problem.pinned:
                others = np.arange(len(self.names)) != self.number[self.problem.pinned[layer.name]]
                found[others, at] = math.inf
        return found

    @cached_property
    def _scale(self) -> Floats:
        """(nodes, layers)"""
        work, nodes = self.costs.workload, self.costs.cluster.nodes
        prior = np.array([work.prior(nodes[name]) for name in self.names])
        known = np.isfinite(self.layers_s) & (prior > 0)
        found: Floats = np.divide(self.layers_s, prior, out=np.zeros_like(prior), where=known)
        return found

    @cached_property
    def _works(self) -> list[_Work | None]:
        return [self._work(at) for at in range(self.strips.last)]

    def _work(self, at: int) -> _Work | None:
        block, work = self.strips.blocks[at], self.costs.workload
        if block is None:
            return None
        rates = [self.costs.cluster.nodes[name].rates for name in self.names]
        kind, layer = work.kind[block.ops], work.layer[block.ops]
        per_class = np.array([class_rates(r) if r else np.ones(len(OVERHEADS)) for r in rates])
        over = np.array([r.op_overhead_s if r else 0.0 for r in rates])
        byte_s = np.array([1 / r.memory_bytes_per_s if r else 0.0 for r in rates])
        return _Work(
            flop_s=(work.flops[block.ops] / per_class[:, kind]).T,
            byte_s=byte_s,
            fixed_s=(np.array(OVERHEADS)[kind] * over[:, None]).T
            + PACKINGS * work.packed_bytes[block.ops][:, None] * byte_s,
            scale=self._scale[:, layer].T,
            barred=np.asarray(np.isinf(self.layers_s[:, layer]).any(axis=1)),
        )

    def _seconds(self, at: int, nodes: Indices, shares: Floats) -> Floats:
        """(…, strips) of strips that take these shares of a block's maps."""
        block, work = self.strips.blocks[at], self._works[at]
        assert block is not None
        assert work is not None
        moved = (block.moved @ shares.reshape(len(shares), -1)).reshape(-1, *nodes.shape)
        moved += block.fixed.reshape(-1, *([1] * nodes.ndim))
        busy = np.maximum(work.flop_s[:, nodes] * shares[block.made], moved * work.byte_s[nodes])
        found: Floats = ((busy + work.fixed_s[:, nodes]) * work.scale[:, nodes]).sum(axis=0)
        return np.where(work.barred[nodes], math.inf, found)

    def step(self, at: int, goal: Sharing, run: Runs) -> Runs:
        """Runs that begin one block earlier, at block `at`; `goal` (runs, …) is what they make."""
        block, work = self.strips.blocks[at], self._works[at]
        assert block is not None
        assert work is not None
        lo, hi, seconds = np.empty_like(run.lo), np.empty_like(run.hi), run.seconds.copy()
        columns = run.columns.copy()
        for each in {(int(a), int(b)) for a, b in run.columns}:
            mine = np.flatnonzero((run.columns == each).all(axis=1))
            found = block.demand(run.lo[mine], run.hi[mine], each)
            lo[mine], hi[mine], columns[mine] = found.lo, found.hi, found.columns
            seconds[mine] += self._seconds(at, goal.nodes[mine], found.shares)
        is_strip = goal.lo < goal.hi
        lo, hi = np.where(is_strip, lo, 0), np.where(is_strip, hi, 0)
        return Runs(run.stops, lo, hi, columns, np.where(is_strip, seconds, 0.0))

    def ending(self, stop: int, goal: Sharing) -> Runs:
        """A run without blocks yet; `goal` is (1, …)."""
        columns: Columns = (0, int(self.strips.columns[stop]))
        return Runs(
            np.array([stop], dtype=np.intp),
            goal.lo,
            goal.hi,
            np.array([columns], dtype=np.intp),
            np.zeros(goal.lo.shape),
        )

    def run(self, start: int, stop: int, goal: Sharing) -> Runs:
        """One run of blocks; `goal` is (…, strips) at its stop."""
        every = Sharing(*(each[None] for each in goal))
        found = self.ending(stop, every)
        for at in range(stop - 1, start - 1, -1):
            found = self.step(at, every, found)
        return found

    def all_runs(self, goals: list[Sharing]) -> list[tuple[Runs, Sharing] | None]:
        """By position, the runs that begin there, and what they make; None where none does.
        `goals` are (sharings, strips) by position, all of one shape."""
        found: list[tuple[Runs, Sharing] | None] = [None] * (self.strips.last + 1)
        open_: tuple[Runs, Sharing] | None = None
        for at in range(self.strips.last - 1, -1, -1):
            if self.strips.blocks[at] is None:
                open_ = None
                continue
            goal = Sharing(*(each[None] for each in goals[at + 1]))
            run = self.ending(at + 1, goal)
            if open_ is not None and not self.strips.leaves[at + 1]:
                run = Runs(*(np.concatenate(pair) for pair in zip(run, open_[0], strict=True)))
                goal = Sharing(*(np.concatenate(pair) for pair in zip(goal, open_[1], strict=True)))
            open_ = self.step(at, goal, run), goal
            found[at] = open_
        return found

    # --- exchanging ------------------------------------------------------------------------------

    def arrive(self, position: int, held: Sharing, run: Runs, goal: Sharing) -> Floats:
        """(held, runs, sharings, strips) when each strip has what it needs at a position.
        `held` is (held, strips), `run` and `goal` are (runs, sharings, strips)."""
        sender = held.nodes[:, None, None, :, None]
        reader = goal.nodes[None, :, :, None, :]
        top = np.maximum(held.lo[:, None, None, :, None], run.lo[None, :, :, None, :])
        bottom = np.minimum(held.hi[:, None, None, :, None], run.hi[None, :, :, None, :])
        width = (run.columns[:, 1] - run.columns[:, 0])[None, :, None, None, None]
        nbytes = np.maximum(bottom - top, 0) * width * int(self.strips.element_bytes[position])
        there = (bottom > top) & (sender != reader)
        byte_s = np.where(there, self.byte_s[sender, reader], 0.0)
        senders, readers = same(held.nodes), same(goal.nodes)
        return arrivals(
            nbytes * byte_s,
            np.where(there, self.delay_s[sender, reader], 0.0),
            there,
            None if senders is None else senders[:, None, None],
            None if readers is None else readers[None],
        )

    def stage(self, position: int, held: Sharing, run: Runs, goal: Sharing) -> Floats:
        """(held, runs, sharings) seconds of exchange and computing."""
        found: Floats = self.done(position, held, run, goal).max(axis=-1)
        return found

    def done(self, position: int, held: Sharing, run: Runs, goal: Sharing) -> Floats:
        """(held, runs, sharings, strips) when each strip is made."""
        readers = same(goal.nodes)
        arrive_s = self.arrive(position, held, run, goal)
        return finishes(arrive_s, run.seconds[None], None if readers is None else readers[None])

    def gather(self, position: int, held: Sharing, nodes: Indices) -> Floats:
        """(held, nodes) seconds until each node alone has all rows."""
        goal = Sharing(*(each[None] for each in self.alone(nodes, position)))
        return self.arrive(position, held, self.ending(position, goal), goal)[:, 0, :, 0]
