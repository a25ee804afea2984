"""How a running plan stands against what is wanted, and whether a new one is worth the switch.

    wish ─▶ goal     line, prices now ─▶ standing     standing, proposal ─▶ why to switch, or not

Invariant: a plan that breaks a constraint is worth nothing, whatever its objective says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import nodes_of, parse_placement
from edgeflow.messages import Spec
from edgeflow.model.graph import Graph
from edgeflow.planning.attain import worth_of
from edgeflow.planning.fit import is_overrun
from edgeflow.planning.goal import Goal, Scale, restricted
from edgeflow.planning.proposal import Proposal

SLOW = 0.15
"""A plan for little traffic that takes so much longer than another one is slow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A plan at the prices of now."""

    seconds: float
    """Infinite where it cannot be run."""
    value: float
    """Of the objective; infinite where it cannot be run, or breaks a constraint."""


def goal_of(spec: Spec) -> Goal:
    """What a deployment is to be good at."""
    return Goal(spec.objective, spec.latency_s_max or math.inf, spec.private)


def standing(spec: Spec, graph: Graph, cluster: Cluster, line: str) -> Standing:
    """What a placement line costs now, and what it is worth for the goal."""
    lost = Standing(math.inf, math.inf)
    try:
        placement = parse_placement(graph, line)
        if not nodes_of(placement) <= cluster.nodes.keys():
            return lost
        open_, goal = CostModel(graph, cluster), goal_of(spec)
        costs = restricted(open_, goal)
    except EdgeflowError:
        return lost
    seconds = open_.evaluate(placement).total_s
    if is_overrun(cluster, open_.evaluate(placement)):
        return Standing(seconds, math.inf)
    worth, _ = worth_of(Scale.of(goal, costs), costs.evaluate(placement), goal.latency_s_max)
    return Standing(seconds, worth)


def gain_of(now: Standing, proposal: Proposal) -> tuple[float, str]:
    """Which share of the running plan's value another plan saves, and that in words; infinite where
    the running one breaks a constraint.

    A plan for little traffic is left as well where it has become slow, for its limit then is the
    quickest plan's.
    """
    was, will = now.value, proposal.value
    was_ms, will_ms = now.seconds * 1e3, proposal.predicted_s * 1e3
    quicker = f"predicted {will_ms:.1f} ms instead of {was_ms:.1f} ms as things are now"
    if math.isinf(was):
        return math.inf, f"the running plan, at {was_ms:.1f} ms, breaks what has to be kept"
    gain = 1 - will / was if was > 0 else 0.0
    if proposal.objective == "traffic":
        sooner = 1 - proposal.predicted_s / now.seconds if now.seconds > 0 else 0.0
        if sooner >= SLOW and sooner > gain:
            return sooner, quicker
        return gain, f"predicted {will:.0f} bytes a frame instead of {was:.0f} as things are now"
    if proposal.objective == "throughput":
        stage = f"predicted {will * 1e3:.1f} ms for the slowest stage instead of {was * 1e3:.1f} ms"
        return gain, f"{stage} as things are now"
    return gain, quicker
