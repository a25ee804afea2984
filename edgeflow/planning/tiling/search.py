"""Where tiled runs begin and end, who works in them, and what stays on one node: one search.

    at a waist, the tensor is      fresh on n: just arrived     done on n: made there     shared
    fresh, done ── a block ──▶ done ── handed to a higher tier ──▶ fresh
    done, shared ── a tiled run ──▶ shared ── gathered ──▶ fresh

A dynamic programme over waists, from the source to the last layer. States are the three of the
drawing, with the node, or one of the sharings of that waist (`sharings`); the price of a step hangs
on the states at its ends alone, so that the best way to each state is all that is remembered. Data
only rises through the tiers; the first node may stand anywhere; a gather may stay in the tier.

On small maps all sharings are states and the programme is exact: it equals trying every layout
whose nodes and tiles change at waists (`brute`). On large ones it knows a handful of shares,
and the boundaries of what it finds are moved afterwards (`polish`). Whether a node's memory holds
all its runs is known when the layout is priced (`together`).

Invariant: the price of what is found is that of `CostModel.evaluate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.tiling.sharings import Strip
from edgeflow.planning.tiling.stages import Runs, Sharing, Stages
from edgeflow.planning.waists import crossing_bytes
from edgeflow.planning.wiring import Wiring

State = tuple[str, int, int]
"""fresh, done or shared; position; number of the node or the sharing."""


@dataclass(frozen=True, slots=True)
class Step:
    """Blocks start … stop-1, whole on a node or in strips."""

    start: int
    stop: int
    strips: tuple[Strip, ...]
    """One node with all rows where it is not tiled."""
    is_tiled: bool


class Programme:
    """The best way to every state, position by position."""

    def __init__(self, problem: Problem, stages: Stages, goals: list[Sharing]) -> None:
        self.problem, self.stages, self.goals = problem, stages, goals
        self.last = stages.strips.last
        size = (self.last + 1, len(stages.names))
        self.fresh, self.done = np.full(size, math.inf), np.full(size, math.inf)
        self.shared = np.full((self.last + 1, len(goals[0].nodes)), math.inf)
        self.came: dict[State, State] = {}
        self.stage_s = 0.0
        self.wiring = Wiring.of(problem.costs.graph)
        self.crossing = crossing_bytes(self.wiring)[stages.strips.edges]
        self.plain = self._plain()
        self.share_rank = [self._rank(goal) for goal in goals]

    def _rank(self, goal: Sharing) -> Floats:
        """(sharings,) rank of the workers' tier; infinite where there is no sharing."""
        first = goal.nodes[:, 0]
        rank: Floats = np.where(first >= 0, self.stages.rank[first], math.inf)
        return rank

    def _plain(self) -> Floats:
        """(nodes, blocks) seconds of whole blocks, the way back of their results included."""
        stages, wiring = self.stages, self.wiring
        found = np.add.reduceat(stages.layers_s, stages.strips.edges[:-1], axis=1)
        for at in range(self.last):
            low, high = stages.strips.edges[at : at + 2]
            made = wiring.outputs[(wiring.outputs >= low) & (wiring.outputs < high)]
            if len(made):
                nbytes = int(wiring.nbytes[wiring.made_by(made)].sum())
                found[:, at] += self._message(nbytes)[:, stages.source]
        return found

    def _message(self, nbytes: int) -> Floats:
        """(senders, receivers) seconds of a message."""
        byte_s = nbytes * self.stages.byte_s if nbytes else 0.0
        found: Floats = self.stages.delay_s + byte_s
        return found

    def solve(self, limit_s: float, stage_s: float = 0.0) -> tuple[float, list[Step]]:
        """Seconds and steps of the best way below the limit; infinite where there is none.
        `stage_s` is put on each stage: what one more has to save."""
        self.stage_s = stage_s
        runs = self.stages.all_runs(self.goals)
        self._enter()
        for at in range(self.last):
            if at:
                self._hand_on(at)
                self._gather(at)
            self._compute(at)
            found = runs[at]
            if found is not None:
                self._share(at, *found, limit_s)
        return self._best()

    def _enter(self) -> None:
        """Inputs go from the source to the first node, wherever it stands."""
        wiring, source = self.wiring, self.stages.source
        read = np.unique(wiring.tensor[wiring.tensor < wiring.inputs])
        way_s = self._message(int(wiring.nbytes[read].sum()))[source] if len(read) else 0.0
        self.done[0, source] = 0.0
        self.fresh[0] = way_s
        self.fresh[0, source] = 0.0

    def _hand_on(self, at: int) -> None:
        rises = self.stages.rank[:, None] < self.stages.rank
        price = self.done[at][:, None] + self._message(int(self.crossing[at]))
        self._keep_fresh(at, np.where(rises, price, math.inf), "done")

    def _gather(self, at: int) -> None:
        if not np.isfinite(self.shared[at]).any():
            return
        nodes = np.arange(len(self.stages.names))
        price = self.shared[at][:, None] + self.stages.gather(at, self.goals[at], nodes)
        rises = self.share_rank[at][:, None] <= self.stages.rank
        self._keep_fresh(at, np.where(rises, price, math.inf), "shared")

    def _keep_fresh(self, at: int, price: Floats, kind: str) -> None:
        best = price.argmin(axis=0)
        for node, sender in enumerate(best):
            if price[sender, node] < self.fresh[at, node]:
                self.fresh[at, node] = price[sender, node]
                self.came["fresh", at, node] = (kind, at, int(sender))

    def _compute(self, at: int) -> None:
        """A whole block on every node."""
        stays = self.done[at] if at else np.full(len(self.stages.names), math.inf)
        for node, seconds in enumerate(self.plain[:, at]):
            kind = "done" if stays[node] < self.fresh[at, node] else "fresh"
            price = min(stays[node], self.fresh[at, node]) + seconds
            if price < self.done[at + 1, node]:
                self.done[at + 1, node] = price
                self.came["done", at + 1, node] = (kind, at, node)

    def _share(self, at: int, run: Runs, goal: Sharing, limit_s: float) -> None:
        """Tiled runs from here to every waist that they reach."""
        held, known, states, ranks = self._held(at, limit_s)
        if not states:
            return
        price = known[:, None, None] + self.stages.stage(at, held, run, goal)
        reached = np.stack([self.share_rank[stop] for stop in run.stops])
        price = np.where(ranks[:, None, None] <= reached, price, math.inf)
        price[:, ~np.isfinite(reached)] = math.inf
        price += self._results(run.stops) + self.stage_s
        best = price.argmin(axis=0)
        least = np.take_along_axis(price, best[None], axis=0)[0]
        better = least < self.shared[run.stops]
        for place, sharing in zip(*np.nonzero(better), strict=True):
            stop = int(run.stops[place])
            self.shared[stop, sharing] = least[place, sharing]
            self.came["shared", stop, int(sharing)] = states[best[place, sharing]]

    def _held(self, at: int, limit_s: float) -> tuple[Sharing, Floats, list[State], Floats]:
        """Who holds the tensor at a position, and what it took: nodes alone, and sharings."""
        alone = np.flatnonzero(self.done[at] < limit_s)
        shared = np.flatnonzero(self.shared[at] < limit_s)
        goal = self.goals[at]
        wide = goal.nodes.shape[1]
        single = self.stages.alone(alone, at)
        padded = Sharing(
            *(
                np.pad(each, ((0, 0), (0, wide - 1)), constant_values=fill)
                for each, fill in zip(single, (-1, 0, 0), strict=True)
            )
        )
        held = Sharing(
            *(np.concatenate([one, other[shared]]) for one, other in zip(padded, goal, strict=True))
        )
        known = np.concatenate([self.done[at][alone], self.shared[at][shared]])
        states: list[State] = [("done", at, int(node)) for node in alone]
        states += [("shared", at, int(each)) for each in shared]
        lowest = -1.0 if at == 0 else 0.0
        ranks = np.where(lowest < 0, lowest, self.stages.rank[alone].astype(np.float64))
        return held, known, states, np.concatenate([ranks, self.share_rank[at][shared]])

    def _results(self, stops: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
        """(runs, sharings) seconds of the way back, where what is made is an output."""
        found = np.zeros((len(stops), self.shared.shape[1]))
        source = np.array([self.stages.source])
        for place, stop in enumerate(stops):
            if self.stages.strips.leaves[stop]:
                found[place] = self.stages.gather(int(stop), self.goals[stop], source)[:, 0]
        return found

    def _best(self) -> tuple[float, list[Step]]:
        ends: list[tuple[float, State]] = [
            (float(price), (kind, self.last, at))
            for kind, prices in (("done", self.done), ("shared", self.shared))
            for at, price in enumerate(prices[self.last])
        ]
        seconds, state = min(ends)
        return seconds, self._steps(state) if math.isfinite(seconds) else []

    def _steps(self, state: State) -> list[Step]:
        """Back from the last state; runs of one node are one step."""
        found: list[Step] = []
        while state in self.came:
            before = self.came[state]
            if state[0] == "shared":
                found.append(Step(before[1], state[1], self._strips(state), is_tiled=True))
            elif state[0] == "done":
                found.append(Step(before[1], state[1], ((state[2], 0, 0),), is_tiled=False))
            state = before
        return found[::-1]

    def _strips(self, state: State) -> tuple[Strip, ...]:
        goal = self.goals[state[1]].at(state[2])
        every = zip(*(map(int, each) for each in goal), strict=True)
        return tuple((node, lo, hi) for node, lo, hi in every if lo < hi)
