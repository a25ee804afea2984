"""What a source believes of the ways of its plans, by what the nodes say of themselves.

    heartbeats ─▶ other loads, ratios, rates of links ─▶ explorer: what is doubtful
               '▶ survey ─▶ seconds of each way: as things are, and without load

Invariant: pure; the leader asks the same survey, so that both believe the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from edgeflow.cost import Cluster, CostModel
from edgeflow.explore import WORTH, Explorer, Home
from edgeflow.graph import Graph
from edgeflow.heldplan import HeldPlan, Place
from edgeflow.parts import Parts
from edgeflow.placement import parse_placement
from edgeflow.survey import survey

SLOWER = 8.0
"""So many times slower a radio may have become that a frame is overdue on."""


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


def refuge(graph: Graph, cluster: Cluster, running: str, lines: Sequence[str]) -> str:
    """Of other placement lines, the one that suffers least where all links of the source got slow:
    a camera has one radio, and a frame that is overdue does not tell which link it was. Only what
    should take at most WORTH times as long as the running one; empty where nothing does."""
    links = {
        pair: replace(link, bytes_per_s=link.bytes_per_s / SLOWER)
        if cluster.source in pair
        else link
        for pair, link in cluster.links.items()
    }
    now, slow = CostModel(graph, cluster), CostModel(graph, replace(cluster, links=links))
    known = [parse_placement(graph, line) for line in (running, *lines)]
    usual_s, *others_s = [now.evaluate(layout).total_s for layout in known]
    found = {
        line: slow.evaluate(layout).total_s
        for line, layout, should_s in zip(lines, known[1:], others_s, strict=True)
        if should_s <= WORTH * usual_s
    }
    return min(found, key=found.__getitem__, default="")


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
