"""What a plan is to be good at, and what it has to keep.

    latency      seconds of one frame that is alone                       the default
    throughput   seconds of the slowest stage, while frames follow each other
    traffic      bytes a frame over the backbone, both ways, among plans that are quick enough

A *stage* is a node, busy for its compute seconds, or a directed link, busy for bytes / rate, the
way back included; a link's delay keeps nobody else waiting. The *backbone* is every link to and
from the highest tier, if no other one is named.

    latency_s_max   one frame takes no longer; `traffic` without it may take TRAFFIC_SLACK more than
                    the quickest plan
    private         "edge": graph inputs are read on tiers up to the edge only
                    "conv3@edge": nor is anything seen above that is made before conv3's output
    memory_bytes    what weights may take on a node, if less than the node itself says

Invariant: a constraint is never traded for the objective; where it cannot be kept is no plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeflow.costmodel.cost import Cluster, CostModel, Terms
from edgeflow.messages import CLOUD, DEVICE, EDGE
from edgeflow.model.graph import Graph
from edgeflow.planning.proposal import PlanningError

OBJECTIVES = ("latency", "throughput", "traffic")
UNITS = {"latency": "s", "throughput": "s", "traffic": "bytes"}
TRAFFIC_SLACK = 0.05
"""Share of the best latency that `traffic` gives away where no limit is set. Higher saves bytes."""
ROUNDING = 1e-9
"""Share by which a latency may exceed its limit: less than anybody can measure."""

Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective and its constraints."""

    objective: str = "latency"
    latency_s_max: float = math.inf
    private: str = ""
    """`[LAYER@]TIER`; empty: anything may go anywhere."""
    backbone: str = ""
    """The tier whose links, and those of higher tiers, to lower ones count for `traffic`."""
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    """By node."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise PlanningError(
                f"no objective {self.objective!r}: choose of {', '.join(OBJECTIVES)}"
            )
        if not self.latency_s_max > 0:
            raise PlanningError(
                f"a latency of at most {self.latency_s_max} s is no limit: give seconds above 0"
            )

    @property
    def private_layer(self) -> str:
        """The last layer that is private; empty where only the graph's inputs are."""
        return self.private.rpartition("@")[0]

    @property
    def private_tier(self) -> str:
        """The highest tier that may see what is private."""
        return self.private.rpartition("@")[2]


def rank_of(cluster: Cluster, tier: str) -> int:
    """The rank of a tier by its name, or the rank itself; PlanningError where nobody knows it."""
    known = {each.name: each.rank for each in (DEVICE, EDGE, CLOUD)}
    known |= {node.tier.name: node.tier.rank for node in cluster.nodes.values()}
    if tier.isdecimal():
        return int(tier)
    if tier not in known:
        raise PlanningError(f"no node is of a tier {tier!r}: here are {', '.join(known)}")
    return known[tier]


def private_layers(graph: Graph, last: str) -> list[int]:
    """Places of the layers that read the graph's inputs, or anything made before `last`'s output.

    "Before" is the graph's layer order, as in a placement line. PlanningError where there is no
    such layer.
    """
    places = {layer.name: at for at, layer in enumerate(graph.layers)}
    if last and last not in places:
        raise PlanningError(
            f"{graph.name} has no layer {last!r} to keep private; see `edgeflow show`"
        )
    stop = places[last] if last else -1
    secret = {contract.name for contract in graph.inputs}
    secret |= {layer.output for layer in graph.layers[: max(stop, 0)]}
    return [
        at
        for at, layer in enumerate(graph.layers)
        if at <= stop or any(name in secret for name in layer.inputs)
    ]


def restricted(costs: CostModel, goal: Goal) -> CostModel:
    """The same costs with what the goal forbids at an infinite price, and its memory limits."""
    if not goal.private and not goal.memory_bytes:
        return costs
    nodes = {
        name: replace(node, memory_bytes=_least(node.memory_bytes, goal.memory_bytes.get(name, 0)))
        for name, node in costs.cluster.nodes.items()
    }
    cluster = Cluster(nodes, costs.cluster.links, costs.cluster.source)
    known_s = {name: costs.layers_s(name).copy() for name in nodes}
    for name, node in nodes.items():
        if node.memory_bytes:
            known_s[name][costs.workload.weights_bytes > node.memory_bytes] = math.inf
    if goal.private:
        most = rank_of(cluster, goal.private_tier)
        places = np.array(private_layers(costs.graph, goal.private_layer), dtype=np.intp)
        for name, node in nodes.items():
            if node.tier.rank > most:
                known_s[name][places] = math.inf
    return CostModel(costs.graph, cluster, known_s)


def _least(one: int, other: int) -> int:
    """The lower limit, where 0 is none."""
    return min(one, other) if one and other else one or other


@dataclass(frozen=True, slots=True)
class Scale:
    """Values placements by a goal, on one cluster."""

    goal: Goal
    costs: CostModel
    backbone: frozenset[Link]
    """The links whose bytes count."""

    @classmethod
    def of(cls, goal: Goal, costs: CostModel) -> Scale:
        """The scale of a goal; `costs` are `restricted` already."""
        rank = {name: node.tier.rank for name, node in costs.cluster.nodes.items()}
        top = rank_of(costs.cluster, goal.backbone) if goal.backbone else max(rank.values())
        links = [(a, b) for a, b in costs.cluster.links if a in rank and b in rank]
        return cls(
            goal, costs, frozenset((a, b) for a, b in links if (rank[a] < top) != (rank[b] < top))
        )

    def stages(self, terms: Terms) -> dict[Link, float]:
        """Busy seconds a frame of each node (as a link to itself) and directed link."""
        busy = {(node, node): seconds for node, seconds in terms.compute_s.items()}
        for link, nbytes in terms.bytes.items():
            busy[link] = nbytes * self.costs.price(*link)[1] if nbytes else 0.0
        return busy

    def value(self, terms: Terms) -> float:
        """What the objective is about, lower is better; infinite where it cannot be run."""
        if not math.isfinite(terms.total_s):
            return math.inf
        if self.goal.objective == "throughput":
            return max(self.stages(terms).values(), default=0.0)
        if self.goal.objective == "traffic":
            return float(sum(n for link, n in terms.bytes.items() if link in self.backbone))
        return terms.total_s


def is_within(seconds: float, limit_s: float) -> bool:
    """Is a latency no more than its limit?"""
    return seconds <= limit_s * (1 + ROUNDING)
