"""The best plan for a goal as integer programmes: the last word where a graph is small.

    Σ price · variable of `milp`, once for each measure      latency ≤ limit, weights ≤ memory
    throughput: V ≥ each stage, V least                      traffic: bytes least

One programme for each row of nodes. All measures are sums over the same variables, so a row's
programme is built once and priced many times.

Invariant: as `milp` it stops at a number of branches, never at a time; the bound then stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.cut import Prices, Row
from edgeflow.planning.dual import TRAFFIC, Dual, Measures
from edgeflow.planning.flow import Floats
from edgeflow.planning.goal import Scale
from edgeflow.planning.milp import RowProgramme
from edgeflow.planning.waists import Pipelined
from edgeflow.planning.whole import on_one
from edgeflow.planning.wiring import Wiring

Measure = tuple[Floats, float]
"""The price of each variable, and a constant."""

CELLS_MAX = 1500
"""Layers times nodes of a row that is asked about: 500 layers on three nodes, some 0.3 s."""
ROWS_MAX = 8
"""Programmes for one plan."""
BRANCHES_MAX = 200
"""Higher proves more, while the leader waits."""
FEWER_BYTES = 0.5
"""Only plans with fewer bytes are looked for, and bytes are whole."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and what no plan goes below."""

    placements: tuple[Placement, ...]
    bound: float


def best_by_programmes(
    problem: Problem, scale: Scale, limit_s: float, best: float
) -> Verdict | None:
    """Plans and a bound; None where there is too much to ask. `best` is the best value known."""
    every = Pipelined.of(problem) if scale.goal.objective == "throughput" else problem
    rows = list(every.rows())
    layers = len(problem.costs.graph.layers)
    if len(rows) > ROWS_MAX or max(map(len, rows)) * layers > CELLS_MAX:
        return None
    found: list[Placement] = []
    bound = best
    for row in rows:
        placement, least = _solve(every, scale, row, limit_s, best)
        bound = min(bound, least)
        if placement is not None:
            found.append(placement)
    return Verdict(tuple(found), bound)


def _solve(
    problem: Problem, scale: Scale, row: Row, limit_s: float, best: float
) -> tuple[Placement | None, float]:
    """The best plan of one row, if one is found, and the row's bound."""
    if len(row) == 1:
        return on_one(problem, str(row[0])), best
    asked = _Asked.of(problem, scale, row)
    if math.isfinite(limit_s):
        asked.keep(asked.seconds, limit_s)
    for name, most in asked.dual.limits().items():
        asked.keep(asked.measure({("memory", name): float(most)}), most)
    fixed = 0.0
    if scale.goal.objective == "throughput":
        asked.minimise_slowest(best)
    else:
        is_traffic = scale.goal.objective == "traffic"
        what = asked.measure({TRAFFIC: 1.0}) if is_traffic else asked.seconds
        asked.keep(what, best - (FEWER_BYTES if is_traffic else 0.0))
        asked.row.programme.price[:], fixed = what[0].tolist(), what[1]
    values, bound = asked.row.programme.solve(BRANCHES_MAX)
    bound = bound + fixed if math.isfinite(bound) else bound
    if scale.goal.objective == "throughput":
        bound *= best
    if values is None:
        return None, bound
    layers = problem.costs.graph.layers
    nodes = asked.row.labels(values)
    return {each.name: row[at] or "" for each, at in zip(layers, nodes, strict=True)}, bound


@dataclass(frozen=True, slots=True)
class _Asked:
    """One row's programme, and the measures of what it decides: prices and a constant."""

    problem: Problem
    dual: Dual
    nodes: Row
    row: RowProgramme
    seconds: Measure

    @classmethod
    def of(cls, problem: Problem, scale: Scale, nodes: Row) -> _Asked:
        """The programme without an objective, and its latency."""
        wiring = Wiring.of(problem.costs.graph)
        row = RowProgramme(wiring, Prices.of(problem, nodes, wiring))
        seconds = np.array(row.programme.price), row.fixed_s
        row.programme.price[:] = [0.0] * len(row.programme.price)
        return cls(problem, Dual(problem, scale, math.inf, 1.0), nodes, row, seconds)

    def measure(self, given: Measures) -> Measure:
        """What weighed costs make of the same variables."""
        costs, _ = self.dual.weighed(given)
        other = Problem(costs, self.problem.pinned, self.problem.allowed)
        return self.row.priced(Prices.of(other, self.nodes, self.row.wiring))

    def keep(self, what: Measure, most: float) -> None:
        """No more of this."""
        price, fixed = what
        unit = float(np.abs(price).max(initial=0.0)) or 1.0
        self.row.programme.demand(_terms(-price / unit), (fixed - most) / unit)

    def minimise_slowest(self, best: float) -> None:
        """A variable for the slowest stage, in units of the best one known; the objective."""
        names = {name or self.problem.source for name in self.nodes} | {self.problem.source}
        stages = [(a, b) for a in sorted(names) for b in sorted(names)]
        links = self.problem.costs.cluster.links
        measures = [
            self.measure({each: 1.0}) for each in stages if each[0] == each[1] or each in links
        ]
        slowest = self.row.programme.variable(1.0)
        for price, fixed in measures:
            terms = _terms(-price / best)
            self.row.programme.demand([(slowest, 1.0), *terms], fixed / best)


def _terms(price: Floats) -> list[tuple[int, float]]:
    return [(int(at), float(price[at])) for at in np.flatnonzero(price)]
