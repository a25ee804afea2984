"""Goals that cannot be kept, named: which constraint, and the nearest one that can be."""

from __future__ import annotations

import math
from dataclasses import replace

from edgeflow.costmodel.cost import CostModel
from edgeflow.layout.placement import Layout, nodes_of
from edgeflow.messages import Tier
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import Goal, is_within, private_layers, rank_of, restricted
from edgeflow.planning.mincut import place_mincut
from edgeflow.planning.proposal import PlanningError


def check_sound(costs: CostModel) -> None:
    """PlanningError for layers out of order, or a time, delay or rate that is none."""
    graph, cluster = costs.graph, costs.cluster
    known = {contract.name for contract in graph.inputs}
    for layer in graph.layers:
        for name in layer.inputs:
            if name not in known:
                raise PlanningError(
                    f"layer {layer.name} reads {name}, which no input or earlier layer makes: the "
                    "layers go in a circle, or stand out of order"
                )
        known.add(layer.output)
    for name in cluster.nodes:
        seconds = costs.layers_s(name)
        wrong = (~(seconds >= 0)).nonzero()[0]
        if len(wrong):
            at = int(wrong[0])
            raise PlanningError(
                f"layer {graph.layers[at].name} takes {seconds[at]} s on {name}: no time is below 0"
            )
    for (a, b), link in cluster.links.items():
        if not link.delay_s >= 0 or math.isnan(link.bytes_per_s):
            raise PlanningError(
                f"the link from {a} to {b} has a delay of {link.delay_s} s and "
                f"{link.bytes_per_s} bytes/s: measure it again"
            )


def check_private(costs: CostModel, pinned: Layout, goal: Goal) -> None:
    """PlanningError where the source or a pin stands above the private tier."""
    if not goal.private:
        return
    cluster, graph = costs.cluster, costs.graph
    most = rank_of(cluster, goal.private_tier)
    places = private_layers(graph, goal.private_layer)
    source = cluster.nodes.get(cluster.source)
    if source is not None and source.tier.rank > most:
        raise PlanningError(
            f"{what_is_private(goal)} cannot stay on tier {goal.private_tier} or below: frames "
            f"enter at {source.name}; the lowest tier possible is {source.tier.name}, its own"
        )
    pins = [(at, name) for at in places for name in _pinned_to(pinned, graph.layers[at].name)]
    for at, name in pins:
        node = cluster.nodes.get(name)
        if node is not None and node.tier.rank > most:
            raise PlanningError(
                f"layer {graph.layers[at].name} is pinned to {node.name}, of tier "
                f"{node.tier.name}, but {what_is_private(goal)} must stay on tier "
                f"{goal.private_tier} or below"
            )


def _pinned_to(pinned: Layout, layer: str) -> list[str]:
    return sorted(nodes_of({layer: pinned[layer]})) if layer in pinned else []


def what_is_private(goal: Goal) -> str:
    """In words."""
    last = goal.private_layer
    return f"what is made before the output of {last}" if last else "the raw input"


def why_unmet(problem: Problem, open_: CostModel, goal: Goal) -> str:
    """Why no plan keeps memory or privacy; empty where neither is in the way. `open_` are the costs
    without the goal's constraints."""
    if lacking := _missing_bytes(problem):
        total = int(problem.costs.workload.weights_bytes.sum())
        return (
            f"{problem.costs.graph.name} has {total} bytes of weights, {lacking} more than one "
            "node of each tier can hold together: add memory, or a node of another tier"
        )
    if any(node.memory_bytes for nodes in problem.candidates.values() for node in nodes):
        return (
            f"no plan was found that fits {problem.costs.graph.name} into the memory of "
            f"{', '.join(node.name for nodes in problem.candidates.values() for node in nodes)}"
        )
    if not goal.private:
        return ""
    lowest = _lowest_tier(problem, open_, goal)
    cure = f"the lowest tier possible is {lowest.name}" if lowest else "nor on any higher tier"
    return (
        f"{what_is_private(goal)} cannot stay on tier {goal.private_tier} or below: no plan on "
        f"these nodes keeps it there; {cure}"
    )


def _missing_bytes(problem: Problem) -> int:
    """Weights beyond what the best team holds; 0 where they fit."""
    total = int(problem.costs.workload.weights_bytes.sum())
    most = 0
    for nodes in problem.candidates.values():
        if any(not node.memory_bytes for node in nodes):
            return 0
        most += max(node.memory_bytes for node in nodes)
    return max(0, total - most)


def _lowest_tier(problem: Problem, open_: CostModel, goal: Goal) -> Tier | None:
    """The lowest tier above the one asked for on which privacy can be kept."""
    least = rank_of(open_.cluster, goal.private_tier)
    above = {node.tier for node in open_.cluster.nodes.values() if node.tier.rank > least}
    for tier in sorted(above):
        asked = replace(goal, private=f"{goal.private_layer}@{tier.rank}".lstrip("@"))
        costs = restricted(open_, asked)
        placement, _ = place_mincut(Problem(costs, problem.pinned, problem.allowed))
        if placement is not None and math.isfinite(costs.evaluate(placement).total_s):
            return tier
    return None


def check_latency(seconds: float, limit_s: float, who: str) -> None:
    """PlanningError where a plan that was asked for is too slow."""
    if not is_within(seconds, limit_s):
        raise PlanningError(
            f"{who} takes {milli(seconds)} ms, more than {milli(limit_s)} ms allowed"
        )


def why_too_slow(limit_s: float, quickest_s: float, bound_s: float) -> str:
    """No plan keeps the latency, or none was found where the bound leaves it open."""
    proven = "" if bound_s >= quickest_s * (1 - 1e-9) else f" (bound {milli(bound_s)})"
    found = "found " if bound_s <= limit_s else ""
    least = f"the fastest {found}takes {milli(quickest_s)} ms{proven}"
    return f"no plan {found}answers within {milli(limit_s)} ms; {least}"


def milli(seconds: float) -> str:
    """Milliseconds with as many digits as anybody needs."""
    return f"{seconds * 1e3:.4g}"
