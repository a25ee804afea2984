"""HPA kept up to date: D3's local re-evaluation, when a cost leaves its band.

    a layer's or a link's seconds off by BAND from where it was last decided
        ──▶ that one alone is changed in `edgeflow.planning.local` ──▶ another placement stands
    a node comes or goes ──▶ HPA from scratch
    what stands differs from what runs ──▶ a switch, where that is worth it

Our reading of D3's abstract: the plan is not made anew when the network or a load changes; only
vertices whose costs changed, and those behind them, are decided again. As HPA itself does, that is
done for one node of each tier and for every part of that row, and the best of them stands. Which
nodes these are stays as it was until one comes or goes, or another is better by more than BAND.

Invariant: what stays within its band is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from edgeflow.costmodel.cost import CostModel, NodeCost, Seconds
from edgeflow.layout.placement import format_placement
from edgeflow.planning import Proposal
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import restricted
from edgeflow.planning.local import LocalPlan
from edgeflow.planning.pairs import Mask
from edgeflow.planning.standing import goal_of
from edgeflow.policy.placed import placed
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.survey import ask
from edgeflow.policy.worth import Worth

BAND = 1.25
"""A cost is decided on again once it is so many times more, or less, than when it was last. Lower
follows more closely and decides more often; D3 names thresholds and no values."""

Link = tuple[str, str]


@dataclass(slots=True)
class Hpa:
    """Of one deployment."""

    worth: Worth = field(default_factory=Worth)
    rows: tuple[LocalPlan, ...] = ()
    """One node of each tier, and every part of that row."""
    fleet: tuple[str, frozenset[str]] = ("", frozenset())
    """Model and nodes that `rows` were made for."""
    layers_s: dict[str, Seconds] = field(default_factory=dict)
    """By node of the row: (layers,) at which they were last decided."""
    links_s: dict[Link, float] = field(default_factory=dict)
    """Seconds of one input at which each link was last decided."""
    touched: tuple[str | Link, ...] = ()
    """What the last review decided again: layer@node, links."""
    measures = False

    def first(self, question: Question) -> Proposal:
        """HPA's plan from scratch; PlanningError says why there is none."""
        self._anew(question, self._problem(question))
        return self._proposal(question)

    def review(self, question: Question) -> Choice | None:
        """What stands after the costs that left their bands, where that is worth the switch."""
        assert question.plan is not None
        problem = self._problem(question)
        is_same = self.fleet == _fleet(problem, question)
        if is_same and not _is_outdone(problem, self.layers_s):
            self._change(problem)
        else:
            self._anew(question, problem)
        stands = self._best
        if math.isinf(stands.price_s):
            return None
        if format_placement(question.graph, stands.placement) == question.plan.variants[0]:
            self.worth.rest()
            return None
        proposal = self._proposal(question)
        why = self.worth.judge(question, proposal)
        return Choice(proposal, why) if why else None

    def is_searching(self, now_s: float) -> bool:
        """It asks for no plans but those that it wants to keep."""
        return False

    @property
    def _best(self) -> LocalPlan:
        return min(self.rows, key=lambda each: each.price_s)

    def _proposal(self, question: Question) -> Proposal:
        """What stands; HPA's own way out where no row has a plan."""
        if math.isinf(self._best.price_s):
            return ask(question.spec, question.graph, question.cluster, question.shunned)
        return placed(question, self._best.placement, "hpa")

    def _problem(self, question: Question) -> Problem:
        costs = CostModel(question.graph, question.cluster)
        allowed = frozenset(question.cluster.nodes) - frozenset(question.shunned)
        return Problem(restricted(costs, goal_of(question.spec)), {}, allowed)

    def _anew(self, question: Question, problem: Problem) -> None:
        self.fleet, self.touched = _fleet(problem, question), ()
        row = _row(problem)
        parts = (part for count in range(len(row), 0, -1) for part in combinations(row, count))
        self.rows = tuple(LocalPlan(problem, part) for part in parts)
        self.layers_s = {node: problem.costs.layers_s(node).copy() for node in row}
        self.links_s = {link: _link_s(problem, link) for link in _links(problem, row)}

    def _change(self, problem: Problem) -> None:
        """Decides on what left its band, and nothing else."""
        layers, touched = problem.costs.graph.layers, list[str | Link]()
        for node, was_s in self.layers_s.items():
            now_s = problem.costs.layers_s(node)
            for at in np.flatnonzero(_is_off(was_s, now_s)).tolist():
                was_s[at] = now_s[at]
                touched.append(f"{layers[at].name}@{node}")
                for plan in self.rows:
                    plan.change_layer(layers[at].name, node, float(now_s[at]))
        for link, was in self.links_s.items():
            now = _link_s(problem, link)
            if _is_off(np.array(was), np.array(now)):
                self.links_s[link] = now
                touched.append(link)
                for plan in self.rows:
                    plan.change_link(*link, problem.costs.cluster.links.get(link))
        self.touched = tuple(touched)


def _row(problem: Problem) -> tuple[str, ...]:
    """One node of each tier: the source, else the one that is best with the whole network."""
    return tuple(_quickest(problem, nodes)[0] for nodes in problem.candidates.values())


def _quickest(problem: Problem, nodes: list[NodeCost]) -> tuple[str, float]:
    """Of a tier, and its price; of the source's own tier the source."""
    prices = {node.name: problem.undivided_s(node.name) for node in nodes}
    name = problem.source if problem.source in prices else min(prices, key=prices.__getitem__)
    return name, prices[name]


def _is_outdone(problem: Problem, row: Collection[str]) -> bool:
    """Whether another node of a tier is better by more than BAND than the one in the row."""
    for nodes in problem.candidates.values():
        best, best_s = _quickest(problem, nodes)
        mine = next((node.name for node in nodes if node.name in row), best)
        if problem.undivided_s(mine) > BAND * best_s:
            return True
    return False


def _fleet(problem: Problem, question: Question) -> tuple[str, frozenset[str]]:
    """Whoever may compute; when that changes, so may the row."""
    nodes = (node.name for nodes in problem.candidates.values() for node in nodes)
    return f"{question.spec.model} {question.spec.private}", frozenset(nodes)


def _links(problem: Problem, row: tuple[str, ...]) -> list[Link]:
    """Between the nodes of a row and the source."""
    ends = dict.fromkeys((*row, problem.source))
    return [(a, b) for a in ends for b in ends if a != b]


def _link_s(problem: Problem, link: Link) -> float:
    """What a link takes for the inputs of one frame; infinite where there is none."""
    graph = problem.costs.graph
    nbytes = sum(graph.tensors[contract.name].nbytes for contract in graph.inputs)
    return problem.costs.transfer_s(nbytes, *link)


def _is_off(was_s: Seconds, now_s: Seconds) -> Mask:
    """Whether costs left their bands."""
    off: Mask = (now_s > was_s * BAND) | (was_s > now_s * BAND)
    return off
