"""Memory that several deployments share: what one may still take of a node.

    free, as the node says ─▶ less what others are about to build ─▶ plus what it has built itself

Invariant: only nodes on which others hold plans are limited, and there only where not all would
fit; a running plan always fits where it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeflow.costmodel.cost import Cluster
from edgeflow.layout.placement import nodes_of, parse_placement
from edgeflow.leader.cover import WEIGHTS_FACTOR
from edgeflow.messages import Plan
from edgeflow.model.graph import Graph
from edgeflow.plans.deployments import View

Seen = Mapping[str, tuple[View, Graph]]
"""Deployments by name, and their models."""


def newest(view: View) -> Plan | None:
    """The plan that a deployment runs, or is about to."""
    board = view.board
    return (board.preparing or board.committed) if board is not None else None


def is_on_its_way(view: View) -> bool:
    """Whether another placement than the running one is under preparation."""
    board = view.board
    if board is None or board.preparing is None:
        return False
    return board.committed is None or board.committed.variants[0] != board.preparing.variants[0]


def needs(graph: Graph, plan: Plan | None) -> dict[str, int]:
    """Bytes that each node takes for its part of a plan, variants included."""
    layers: dict[str, set[str]] = {}
    for line in plan.variants if plan is not None else ():
        for layer, where in parse_placement(graph, line).items():
            for node in nodes_of({layer: where}):
                layers.setdefault(node, set()).add(layer)
    return {node: WEIGHTS_FACTOR * _bytes(graph, names) for node, names in layers.items()}


def free_for(name: str, seen: Seen, free_bytes: Mapping[str, int]) -> dict[str, int]:
    """What nodes say is free, less what other deployments are about to take."""
    free = dict(free_bytes)
    for other, (view, graph) in seen.items():
        if other != name and is_on_its_way(view):
            for node, size_bytes in needs(graph, newest(view)).items():
                if node in free:
                    free[node] = max(0, free[node] - size_bytes)
    return free


def limited(cluster: Cluster, name: str, seen: Seen, free_bytes: Mapping[str, int]) -> Cluster:
    """The cluster of a deployment, with what its weights may take where others hold plans."""
    plans = [newest(view) for other, (view, _) in seen.items() if other != name]
    crowded = {node for plan in plans if plan is not None for node in plan.sessions}
    if name not in seen or not crowded:
        return cluster
    view, graph = seen[name]
    whole_bytes = WEIGHTS_FACTOR * _bytes(graph, {layer.name for layer in graph.layers})
    nodes = dict(cluster.nodes)
    short = [
        node for node in crowded & nodes.keys() if free_bytes.get(node, whole_bytes) < whole_bytes
    ]
    built = needs(graph, view.board.committed if short and view.board is not None else None)
    for node in short:
        limit_bytes = (free_bytes[node] + built.get(node, 0)) // WEIGHTS_FACTOR
        nodes[node] = replace(nodes[node], memory_bytes=max(1, limit_bytes))
    return replace(cluster, nodes=nodes)


def _bytes(graph: Graph, layers: set[str]) -> int:
    return sum(graph.weights[each].nbytes for each in graph.weights_of(layers))
