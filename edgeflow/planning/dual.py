"""A bound for any goal, by prices: what no plan goes below, and good plans on the way.

    multipliers ─▶ one additive price a layer and byte ─▶ minimum cuts ─▶ plan, bound ─┐
         ^                                                                             │
         └──── linear programme over all plans seen so far (cutting planes) ◀──────────┘

Every stage's seconds, the backbone's bytes, the latency above its limit and the weights above a
node's memory get a multiplier. For any multipliers the least weighed sum is a bound of the goal
(Lagrange; Geoffrion, Math. Prog. Study 2, 1974), and a weighed sum is what `mincut` minimises. New
multipliers are the best ones for the plans seen so far (Kelley, J. SIAM 8(4), 1960).

Invariant: a bound holds for every multiplier, so the rounding of the programme cannot break it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linprog

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost, Seconds
from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import Link, Scale
from edgeflow.planning.mincut import place_mincut

ROUNDS_MAX = 16
"""Minimum cuts for one bound. More tighten it by less and less, while the leader waits."""
NEAR = 1e-3
"""The bound is good enough when it is so near to the best plan found."""
MULTIPLIER_MAX = 1e3
"""Of a constraint, in units of the best value found: higher only where nothing is feasible."""

LATENCY, TRAFFIC = ("", "latency"), ("", "traffic")
"""Measures that are no stage; a node's memory is ("memory", node)."""
Measures = dict[Link, float]


@dataclass
class Dual:
    """The bound so far."""

    problem: Problem
    scale: Scale
    limit_s: float
    unit: float
    """The best value known: the objective is counted in it."""
    seen: list[Measures] = field(default_factory=list)
    bound: float = -math.inf

    def offer(self, placement: Placement) -> None:
        """Learn of a plan, whether it keeps the constraints or not."""
        found = self._measures(placement)
        if found is not None and found not in self.seen:
            self.seen.append(found)

    def _measures(self, placement: Placement) -> Measures | None:
        """The parts of the objective in units; constraints as a share above their limit."""
        costs, scale = self.problem.costs, self.scale
        terms = _roomy(costs).evaluate(placement)
        if not math.isfinite(terms.total_s):
            return None
        parts = scale.stages(terms) if scale.goal.objective == "throughput" else {}
        found = {stage: busy / self.unit for stage, busy in parts.items()}
        if scale.goal.objective != "throughput":
            found[TRAFFIC] = scale.value(terms) / self.unit
        if math.isfinite(self.limit_s):
            found[LATENCY] = terms.total_s / self.limit_s - 1
        weights = costs.workload.weights_bytes
        for name, limit in self.limits().items():
            places = [
                at for at, layer in enumerate(costs.graph.layers) if placement[layer.name] == name
            ]
            found["memory", name] = float(weights[places].sum()) / limit - 1
        return found

    def limits(self) -> dict[str, int]:
        nodes = self.problem.costs.cluster.nodes.values()
        return {node.name: node.memory_bytes for node in nodes if node.memory_bytes}

    def step(self, multipliers: Measures) -> Placement | None:
        """Raise the bound by one weighed question; the plan that answers it."""
        weighed, constant = self.weighed(multipliers)
        problem = Problem(weighed, self.problem.pinned, self.problem.allowed)
        placement, bound = place_mincut(problem, cuts_only=True)
        self.bound = max(self.bound, (bound - constant) * self.unit)
        if placement is not None:
            self.offer(placement)
        return placement

    def weighed(self, given: Measures) -> tuple[CostModel, float]:
        """Costs whose sum is Σ multiplier · measure plus a constant; and the constant."""
        costs, cluster = self.problem.costs, self.problem.costs.cluster
        late = given.get(LATENCY, 0.0) / self.limit_s if math.isfinite(self.limit_s) else 0.0
        late += (
            given.get(TRAFFIC, 0.0) / self.unit if self.scale.goal.objective == "latency" else 0.0
        )
        byte = (
            given.get(TRAFFIC, 0.0) / self.unit if self.scale.goal.objective == "traffic" else 0.0
        )
        limits, known_s = self.limits(), {}
        for name in cluster.nodes:
            full = given.get(("memory", name), 0.0) / limits.get(name, 1)
            factor = late + given.get((name, name), 0.0) / self.unit
            known_s[name] = (
                _times(costs.layers_s(name), factor) + full * costs.workload.weights_bytes
            )
        links = {}
        for link in cluster.links:
            delay_s, byte_s = costs.price(*link)
            if math.isfinite(delay_s) and math.isfinite(byte_s):
                price = (late + given.get(link, 0.0) / self.unit) * byte_s
                price += byte if link in self.scale.backbone else 0.0
                links[link] = LinkCost(late * delay_s, 1 / price if price > 0 else math.inf)
        over = sum(value for key, value in given.items() if key == LATENCY or key[0] == "memory")
        return CostModel(costs.graph, Cluster(_free(cluster), links, cluster.source), known_s), over

    def next_multipliers(self) -> tuple[Measures, float]:
        """The best ones for the plans seen, and what the bound can reach at most."""
        keys = sorted({key for found in self.seen for key in found})
        rows = np.array([[-found.get(key, 0.0) for key in keys] for found in self.seen])
        matrix = np.column_stack([np.ones(len(rows)), rows])
        summed = np.array([[0.0] + [float(not _is_constraint(key)) for key in keys]])
        most = [MULTIPLIER_MAX if _is_constraint(key) else 1.0 for key in keys]
        price = np.zeros(len(keys) + 1)
        price[0] = -1.0
        solved = linprog(
            price,
            A_ub=matrix,
            b_ub=np.zeros(len(rows)),
            A_eq=summed,
            b_eq=[1.0],
            bounds=[(None, None), *((0.0, each) for each in most)],
        )
        if solved.x is None or solved.fun is None:
            return {}, -math.inf
        return _normal(dict(zip(keys, solved.x[1:].tolist(), strict=True))), float(-solved.fun)


def _is_constraint(key: Link) -> bool:
    return key == LATENCY or key[0] == "memory"


def _normal(given: Measures) -> Measures:
    """No multiplier below 0, and those of the objective sum to at most 1: then the bound holds."""
    found = {key: max(value, 0.0) for key, value in given.items()}
    total = sum(value for key, value in found.items() if not _is_constraint(key))
    return {
        key: value if _is_constraint(key) or total <= 1 else value / total * (1 - 1e-15)
        for key, value in found.items()
    }


def _times(seconds: Seconds, factor: float) -> Seconds:
    """Products in which what cannot be run stays so."""
    return np.where(
        np.isfinite(seconds), np.where(np.isfinite(seconds), seconds, 0.0) * factor, math.inf
    )


def _free(cluster: Cluster) -> Mapping[str, NodeCost]:
    return {name: replace(node, memory_bytes=0) for name, node in cluster.nodes.items()}


def _roomy(costs: CostModel) -> CostModel:
    """The same costs without limits of memory, which the multipliers stand for."""
    known_s = {name: costs.layers_s(name) for name in costs.cluster.nodes}
    cluster = Cluster(_free(costs.cluster), costs.cluster.links, costs.cluster.source)
    return CostModel(costs.graph, cluster, known_s)
