"""How a running plan stands against what is wanted, and whether a new one is worth the switch.

    wish ─▶ goal     line, prices now ─▶ standing     standing, proposal ─▶ why to switch, or not

Invariant: a plan that breaks a constraint is worth nothing, whatever its objective says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeflow.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.graph import Graph
from edgeflow.messages import Spec
from edgeflow.placement import nodes_of, parse_placement
from edgeflow.planning.attain import worth_of
from edgeflow.planning.goal import Goal, Scale, restricted
from edgeflow.planning.proposal import Proposal


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
    worth, _ = worth_of(Scale.of(goal, costs), costs.evaluate(placement), goal.latency_s_max)
    return Standing(seconds, worth)


def what_is_gained(now: Standing, proposal: Proposal, gain_min: float) -> str:
    """Why to switch to another plan, in words; empty where it is not worth it.

    A plan for little traffic is left as well where it has become slow, for its limit then is the
    quickest plan's. `gain_min` is a share.
    """
    was, will = now.value, proposal.value
    slow = proposal.predicted_s <= (1 - gain_min) * now.seconds
    if math.isinf(was):
        return f"the running plan, at {now.seconds * 1e3:.1f} ms, breaks what has to be kept"
    if proposal.objective == "traffic":
        if will < was and will <= (1 - gain_min) * was:
            return f"predicted {will:.0f} bytes a frame instead of {was:.0f} as things are now"
    elif will <= (1 - gain_min) * was and was > 0:
        what = "" if proposal.objective == "latency" else " for the slowest stage"
        return (
            f"predicted {will * 1e3:.1f} ms{what} instead of {was * 1e3:.1f} ms as things are now"
        )
    if proposal.objective == "traffic" and slow:
        was, will = now.seconds * 1e3, proposal.predicted_s * 1e3
        return f"predicted {will:.1f} ms instead of {was:.1f} ms as things are now"
    return ""
