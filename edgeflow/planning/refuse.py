"""Questions without an answer, named: what is in the way, and the cure."""

from __future__ import annotations

import math

from edgeflow.costmodel.cost import Terms
from edgeflow.planning.candidates import Problem
from edgeflow.planning.proposal import PlanningError


def check(problem: Problem, *, by_hand: bool) -> None:
    """PlanningError for a source or a pin that cannot be. A placement by hand may use nodes of one
    tier side by side, and move data as it likes."""
    if problem.source not in problem.costs.cluster.nodes:
        raise PlanningError(
            f"the source {problem.source} is not known in this cluster: start it, or name another"
        )
    names = {layer.name for layer in problem.costs.graph.layers}
    for layer, node in problem.pinned.items():
        if layer not in names:
            raise PlanningError(f"pinned layer {layer} is not in {problem.costs.graph.name}")
        if why := problem.why_not(node):
            raise PlanningError(f"layer {layer} is pinned to {node}, which {why}")
        if math.isinf(problem.costs.layer_s(layer, node)):
            raise PlanningError(f"layer {layer} is pinned to {node}, which cannot run it")
    if not by_hand:
        _check_one_a_tier(problem)
        _check_rising(problem)


def _check_one_a_tier(problem: Problem) -> None:
    by_rank: dict[int, str] = {}
    for node in problem.pinned.values():
        rank = problem.costs.cluster.nodes[node].tier.rank
        if by_rank.setdefault(rank, node) != node:
            raise PlanningError(
                f"layers are pinned to {by_rank[rank]} and {node} of one tier: "
                "a plan uses one node of each tier; pin them to one, or place all layers by hand"
            )


def _check_rising(problem: Problem) -> None:
    """A pinned layer may not stand below one that feeds it."""
    nodes, pinned = problem.costs.cluster.nodes, problem.pinned
    above: dict[str, tuple[int, str]] = {}
    for layer in problem.costs.graph.layers:
        floor = max((above[name] for name in layer.inputs if name in above), default=(-1, ""))
        if layer.name in pinned:
            rank = nodes[pinned[layer.name]].tier.rank
            if rank < floor[0]:
                raise PlanningError(
                    f"layer {layer.name} is pinned to {pinned[layer.name]}, below "
                    f"{pinned[floor[1]]} where {floor[1]} before it is pinned: "
                    "data only rises through the tiers"
                )
            floor = (rank, layer.name)
        above[layer.output] = floor


def why_impossible(problem: Problem, terms: Terms | None) -> str:
    """Why a placement has no finite price, or why there is none that has."""
    graph, costs = problem.costs.graph, problem.costs
    nodes = [node.name for nodes in problem.candidates.values() for node in nodes]
    for layer in graph.layers:
        if all(math.isinf(costs.layer_s(layer.name, node)) for node in nodes):
            return f"no node can run layer {layer.name}: it does not fit into their memory"
    if terms is not None:
        return _why_infinite(problem, terms)
    return (
        f"no placement of {graph.name} on {', '.join(nodes)} can be run from {problem.source}: "
        "links are missing, pins leave no way, or memory is short"
    )


def _why_infinite(problem: Problem, terms: Terms) -> str:
    for node, seconds in terms.compute_s.items():
        if math.isinf(seconds):
            return f"{problem.costs.graph.name} does not fit into {node}: split it over more nodes"
    for sender, receiver in terms.bytes:
        if math.isinf(problem.costs.transfer_s(0, sender, receiver)):
            return (
                f"there is no link from {sender} to {receiver}: "
                "one of them must accept connections from the other"
            )
    return f"no price for {problem.costs.graph.name}: a layer or link has no finite time"
