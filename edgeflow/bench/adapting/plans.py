"""Which plans are tried by hand: all that cut one tensor between two nodes, and all undivided ones.

    every cut × every pair, undivided, planners' own ─▶ predicted ≤ PRUNE × the best ─▶ measured

Invariant: nothing is thrown away but by what it was predicted to take under the condition itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Placement, format_placement, parse_placement
from edgeflow.model.graph import Graph
from edgeflow.planning import propose

PRUNE = 1.5
"""A plan that is predicted to take so many times as long as the best is not measured."""
PLANNERS = ("mincut", "hpa", "neurosurgeon")


def lines(graph: Graph, cluster: Cluster) -> list[str]:
    """Placement lines of all candidates: a cut at every single tensor between each pair of nodes
    that data may pass between, every node alone, and what planners would do."""
    found = [format_placement(graph, each) for each in _candidates(graph, cluster)]
    return list(dict.fromkeys(found))


def _candidates(graph: Graph, cluster: Cluster) -> Iterator[Placement]:
    names = [layer.name for layer in graph.layers]
    nodes = {name: node for name, node in cluster.nodes.items() if node.rates is not None}
    for first in nodes:
        yield dict.fromkeys(names, first)
        for second in nodes:
            if nodes[first].tier.rank < nodes[second].tier.rank:
                for cut in graph.cuts:
                    yield {name: first if at < cut else second for at, name in enumerate(names)}
    for planner in PLANNERS:
        try:
            layout = propose(graph, cluster, planner, tiles=False).placement
        except EdgeflowError:
            continue
        yield {name: str(node) for name, node in layout.items()}


def predicted_s(graph: Graph, cluster: Cluster, line: str) -> float:
    """What a plan should take; infinite where it cannot be run there."""
    placement = parse_placement(graph, line)
    try:
        return CostModel(graph, cluster).evaluate(placement).total_s
    except (EdgeflowError, KeyError):
        return math.inf


def worth_measuring(graph: Graph, cluster: Cluster, known: frozenset[str]) -> list[str]:
    """Candidates that are near enough to the best and not known yet, the most promising first."""
    priced = {line: predicted_s(graph, cluster, line) for line in lines(graph, cluster)}
    best = min(priced.values(), default=math.inf)
    near = [line for line, seconds in priced.items() if seconds <= PRUNE * best]
    return sorted((line for line in near if line not in known), key=lambda line: priced[line])
