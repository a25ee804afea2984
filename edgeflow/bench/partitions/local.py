"""How long HPA's local re-evaluation takes on 500 layers, one price changed after the other.

Over a row of all tiers, so that there is something to decide. Times are of the thread on its core:
other work on the machine does not count. `scratch` is the same row walked anew, prices read too.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost
from edgeflow.model.graph import Graph
from edgeflow.planning.candidates import Problem
from edgeflow.planning.hpa import plan_row
from edgeflow.planning.local import LocalPlan

CHANGES = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of change on one shape of graph."""

    shape: str
    layers: int
    change: str
    median_ms: float
    high_ms: float
    """99 of 100 are below."""
    worst_ms: float
    decisions_worst: int
    """Families decided again, at most."""
    moved: int
    """Changes after which another placement stood."""
    scratch_ms: float


def time_changes(shape: str, graph: Graph, cluster: Cluster, seed: int) -> list[Row]:
    """A layer's seconds by up to three times, a link's rate by 10 %, a link's rate by up to two."""
    problem = Problem(CostModel(graph, cluster), {}, frozenset(cluster.nodes))
    row = [nodes[0].name for nodes in problem.useful().values()]
    found = []
    for change, make in (
        ("a layer, x1/3 to x3", _layer),
        ("a link, -10 to +10 %", _link_a_little),
        ("a link, x1/2 to x2", _link_much),
    ):
        rng, plan = random.Random(seed), LocalPlan(problem, row)
        times: list[float] = []
        decisions, moved = [], 0
        for _ in range(CHANGES):
            do = make(plan, cluster, rng)
            start_s = time.thread_time()
            moved += do()
            times.append((time.thread_time() - start_s) * 1e3)
            decisions.append(plan.decisions)
        found.append(
            Row(
                shape=shape,
                layers=len(graph.layers),
                change=change,
                median_ms=statistics.median(times),
                high_ms=statistics.quantiles(times, n=100)[98],
                worst_ms=max(times),
                decisions_worst=max(decisions),
                moved=moved,
                scratch_ms=_scratch_ms(problem, plan),
            )
        )
    return found


Change = Callable[[], bool]


def _layer(plan: LocalPlan, _: Cluster, rng: random.Random) -> Change:
    node, layer = rng.choice(plan.tariff.row), rng.choice(plan.problem.costs.graph.layers).name
    seconds = plan.problem.costs.layer_s(layer, node) * 3 ** rng.uniform(-1, 1)
    return lambda: plan.change_layer(layer, node, seconds)


def _link(plan: LocalPlan, cluster: Cluster, rng: random.Random, factor: float) -> Change:
    sender, receiver = rng.sample(plan.tariff.row, 2)
    link = cluster.links[sender, receiver]
    changed = LinkCost(link.delay_s, link.bytes_per_s * factor)
    return lambda: plan.change_link(sender, receiver, changed)


def _link_a_little(plan: LocalPlan, cluster: Cluster, rng: random.Random) -> Change:
    return _link(plan, cluster, rng, rng.uniform(0.9, 1.1))


def _link_much(plan: LocalPlan, cluster: Cluster, rng: random.Random) -> Change:
    return _link(plan, cluster, rng, 2 ** rng.uniform(-1, 1))


def _scratch_ms(problem: Problem, plan: LocalPlan) -> float:
    times = []
    for _ in range(9):
        start_s = time.thread_time()
        plan_row(problem, plan.tariff.row, plan.families)
        times.append(time.thread_time() - start_s)
    return statistics.median(times) * 1e3
