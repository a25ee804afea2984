"""The plan that serves a goal best among those that keep its constraints.

    the quickest plan ─▶ few plans? ─▶ a chain? ─▶ small? integer  ─▶ prices: a bound, and
                         try all       all cuts    programmes         plans on the way

The first two are exact, the third nearly always; of the last one the gap is told.

Invariant: what is returned keeps every constraint and is valued by `Scale`, never by an algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.costmodel.cost import Terms
from edgeflow.layout.placement import Placement
from edgeflow.planning.brute import few_placements, place_brute
from edgeflow.planning.candidates import Problem
from edgeflow.planning.dual import NEAR, ROUNDS_MAX, Dual
from edgeflow.planning.goal import TRAFFIC_SLACK, Goal, Scale, is_within
from edgeflow.planning.limits import best_by_programmes
from edgeflow.planning.mincut import PROOF, place_mincut
from edgeflow.planning.waists import best_at_waists
from edgeflow.planning.whole import on_one

PLACEMENTS_MAX = 1500
"""So few plans are tried one by one: about 0.1 s. Higher proves more small graphs, later."""

PROGRAMME_PROOF = 1e-6
"""A plan is optimal if an integer programme's bound is lower by no more than this share."""


@dataclass
class Attempt:
    """The best plan so far, and what no plan that keeps the constraints goes below."""

    problem: Problem
    scale: Scale
    limit_s: float
    best: Placement | None = None
    worth: tuple[float, float] = (math.inf, math.inf)
    """Its value, and its seconds where values are equal."""
    bound: float = 0.0
    others: list[Placement] = field(default_factory=list)
    """Plans worth telling the dual about."""

    def offer(self, placement: Placement | None) -> None:
        """Keep a plan where it is the best one."""
        if placement is None:
            return
        self.others.append(placement)
        worth = worth_of(self.scale, self.problem.costs.evaluate(placement), self.limit_s)
        if worth < self.worth:
            self.best, self.worth = placement, worth

    def run(self, seeds: Iterable[Placement | None]) -> None:
        """All ways, the exact ones first."""
        for placement in seeds:
            self.offer(placement)
        few = few_placements(self.problem, PLACEMENTS_MAX)
        if few is not None:
            for placement in few:
                self.offer(placement)
            self.bound = self.worth[0]
            return
        found = best_at_waists(self.problem, self.scale, self.limit_s)
        for placement in found.placements:
            self.offer(placement)
        if found.exact or self.worth[0] <= 0:
            self.bound = self.worth[0]
        elif not self._by_programmes():
            self.bound = self._by_prices()

    def _by_prices(self) -> float:
        """A bound by multipliers; better plans on the way."""
        self.others += [
            on_one(self.problem, node.name)
            for nodes in self.problem.useful().values()
            for node in nodes
            if not self.problem.pinned
        ]
        unit = self.worth[0] if math.isfinite(self.worth[0]) else 1.0
        if unit <= 0:
            return unit
        dual = Dual(self.problem, self.scale, self.limit_s, unit)
        for placement in self.others:
            dual.offer(placement)
        for _ in range(ROUNDS_MAX):
            if not dual.seen or self._is_near(dual.bound):
                break
            multipliers, reach = dual.next_multipliers()
            if reach * unit <= dual.bound * (1 + PROOF):
                break
            self.offer(dual.step(multipliers))
        return min(self._whole(dual.bound), self.worth[0])

    def _by_programmes(self) -> bool:
        """The same by integer programmes; False where the graph is large, or no plan is known."""
        if not math.isfinite(self.worth[0]):
            return False
        found = best_by_programmes(self.problem, self.scale, self.limit_s, self.worth[0])
        if found is None:
            return False
        for placement in found.placements:
            self.offer(placement)
        bound = max(self.bound, self._whole(found.bound))
        is_proven = bound >= self.worth[0] * (1 - PROGRAMME_PROOF)
        self.bound = self.worth[0] if is_proven else bound
        return True

    def _is_near(self, bound: float) -> bool:
        near = 0.0 if self.scale.goal.objective == "traffic" else NEAR
        return self._whole(bound) >= self.worth[0] * (1 - near)

    def _whole(self, bound: float) -> float:
        """Bytes are whole; nothing is below 0."""
        if self.scale.goal.objective == "traffic" and math.isfinite(bound):
            bound = float(math.ceil(bound - 1e-6))
        return max(bound, 0.0)


def worth_of(scale: Scale, terms: Terms, limit_s: float) -> tuple[float, float]:
    """What a plan counts: lower is better, infinite where it breaks a constraint."""
    if not is_within(terms.total_s, limit_s):
        return math.inf, math.inf
    return scale.value(terms), terms.total_s


def quickest(problem: Problem) -> tuple[Placement | None, float]:
    """The plan of the least latency and a bound; memory that is short takes more than a cut."""
    placement, bound_s = place_mincut(problem)
    tight = any(node.memory_bytes for node in problem.costs.cluster.nodes.values())
    proven = placement is not None and _is_proven(problem, placement, bound_s)
    if not tight or proven:
        return placement, bound_s
    attempt = Attempt(problem, Scale.of(Goal(), problem.costs), math.inf)
    attempt.run([placement])
    if attempt.best is None:
        return None, bound_s
    return attempt.best, max(attempt.bound, min(bound_s, attempt.worth[0]))


def _is_proven(problem: Problem, placement: Placement, bound_s: float) -> bool:
    return bound_s >= problem.costs.evaluate(placement).total_s * (1 - PROOF)


def latency_limit_s(goal: Goal, quickest_s: float) -> float:
    """What one frame may take."""
    if goal.objective == "traffic" and math.isinf(goal.latency_s_max):
        return quickest_s * (1 + TRAFFIC_SLACK)
    return goal.latency_s_max


def attain(
    problem: Problem, scale: Scale, quick: tuple[Placement, float], limit_s: float, *, brute: bool
) -> tuple[Placement | None, float]:
    """The best plan within the limit, and a bound of all such plans; `quick` as of `quickest`."""
    placement, bound_s = quick
    if brute:
        best = place_brute(
            problem, lambda plan: worth_of(scale, problem.costs.evaluate(plan), limit_s)
        )
        worth = worth_of(scale, problem.costs.evaluate(best), limit_s)
        return (best, worth[0]) if math.isfinite(worth[0]) else (None, math.inf)
    if scale.goal.objective == "latency":
        kept = is_within(problem.costs.evaluate(placement).total_s, limit_s)
        return (placement if kept else None), bound_s
    attempt = Attempt(problem, scale, limit_s)
    attempt.run([placement])
    return attempt.best, attempt.bound
