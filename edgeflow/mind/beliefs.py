"""What a source believes of the ways of its plans, by what the nodes say of themselves.

    heartbeats ─▶ other loads, ratios, rates of links ─▶ explorer: what is doubtful
               '▶ survey ─▶ seconds of each way: as things are, and without load

Invariant: pure; the leader asks the same survey, so that both believe the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from edgeflow.costmodel.cost import CostModel
from edgeflow.frames.explore import Explorer, Home
from edgeflow.layout.placement import parse_placement
from edgeflow.mind.parts import Parts
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import HeldPlan, Place
from edgeflow.policy.survey import survey


def listen(explorer: Explorer, parts: Parts, held: HeldPlan, now_s: float) -> None:
    """Tell it what is heard now of all that a plan's ways use."""
    nodes = frozenset().union(*(way.nodes for way in held.ways))
    places = frozenset().union(*(way.places for way in held.ways))
    explorer.on_load(_other_loads(parts, nodes), now_s)
    explorer.on_ratios(_ratios(parts, held.plan.model))
    explorer.on_rates(_rates(parts, places), now_s)


def priced(
    parts: Parts, held: HeldPlan, graph: Graph, calm: Mapping[Home, float], now_s: float
) -> tuple[dict[str, float], dict[str, float]]:
    """By placement line of a plan's ways, the seconds of a frame as this node knows the fleet, and
    if its nodes were as quick as when they were timed, or as they have been since."""
    cluster = survey(parts.membership, held.plan.source, held.plan.model, now_s)
    homes = held.plan.sessions
    nodes = {
        name: replace(node, ratio=min(1.0, node.ratio, calm.get((name, homes.get(name, 0)), 1.0)))
        for name, node in cluster.nodes.items()
    }
    here = [way.line for way in held.ways if way.nodes <= cluster.nodes.keys()]
    layouts = [parse_placement(graph, line) for line in here]
    now, idle = CostModel(graph, cluster), CostModel(graph, replace(cluster, nodes=nodes))
    return (
        {line: now.evaluate(each).total_s for line, each in zip(here, layouts, strict=True)},
        {line: idle.evaluate(each).total_s for line, each in zip(here, layouts, strict=True)},
    )


def _other_loads(parts: Parts, nodes: Collection[str]) -> dict[str, float]:
    """By node, the share of its time that goes to other work than deployments."""
    return {
        name: peer.other_load
        for name, peer in parts.membership.peers.items()
        if peer.load is not None and name in nodes
    }


def _ratios(parts: Parts, model: str) -> dict[Home, float]:
    """How slow each node says it is now, where it ran the model."""
    return {
        (name, peer.session): peer.load.compute_ratio[model]
        for name, peer in parts.membership.peers.items()
        if peer.load is not None and model in peer.load.compute_ratio
    }


def _rates(parts: Parts, places: Collection[Place]) -> dict[Place, float]:
    """How quick each link is told to be now, where that was measured."""
    return {
        (name, other): report.bytes_per_s
        for name, peer in parts.membership.peers.items()
        if peer.load is not None
        for other, report in peer.load.links.items()
        if report.up and report.bytes_per_s > 0 and (name, other) in places
    }
