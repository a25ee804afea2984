"""The undivided rivals: the whole network on the device, on one edge node, or on one cloud node."""

from __future__ import annotations

from edgeflow.costmodel.cost import NodeCost
from edgeflow.layout.placement import Placement
from edgeflow.messages import CLOUD, DEVICE, EDGE, Tier
from edgeflow.planning.candidates import Problem
from edgeflow.planning.proposal import PlanningError

TIERS = {"device-only": DEVICE, "edge-only": EDGE, "cloud-only": CLOUD}


def place_whole(problem: Problem, algorithm: str) -> Placement:
    """The best single node of the tier; for `device-only` the source itself where it computes.

    PlanningError where no node of the tier may compute it: an undivided rival runs where its name
    says, or not at all.
    """
    tier = TIERS[algorithm]
    if tier is DEVICE and problem.why_not(problem.source) is None:
        nodes = [problem.costs.cluster.nodes[problem.source]]
    else:
        nodes = problem.candidates.get(tier.rank, [])
    return _best_single(problem, nodes, tier)


def on_one(problem: Problem, node: str) -> Placement:
    """All layers on one node."""
    return {layer.name: node for layer in problem.costs.graph.layers}


def _best_single(problem: Problem, nodes: list[NodeCost], tier: Tier) -> Placement:
    if not nodes:
        raise PlanningError(
            f"no {tier.name} node can compute {problem.costs.graph.name}: start one, "
            "or choose another algorithm"
        )
    contrary = [
        layer for layer, node in problem.pinned.items() if len(set(problem.pinned.values())) > 1
    ]
    if contrary:
        raise PlanningError(f"layers are pinned to several nodes: {tier.name}-only cannot be")
    names = [node.name for node in nodes if set(problem.pinned.values()) <= {node.name}]
    if not names:
        layer, node = next(iter(problem.pinned.items()))
        raise PlanningError(f"layer {layer} is pinned to {node}: {tier.name}-only cannot be")
    plans = [on_one(problem, name) for name in names]
    return min(plans, key=lambda plan: problem.costs.evaluate(plan).total_s)
