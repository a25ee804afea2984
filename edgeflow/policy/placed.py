"""A placement that a policy found by its own ways, as a proposal with price, bound and sentence."""

from __future__ import annotations

from dataclasses import replace

from edgeflow.layout.placement import Placement
from edgeflow.planning import Proposal, propose
from edgeflow.planning.standing import goal_of
from edgeflow.policy.question import Question


def placed(question: Question, placement: Placement, by: str) -> Proposal:
    """Of that policy; PlanningError where it cannot be run, or breaks what has to be kept."""
    goal = goal_of(question.spec)
    found = propose(question.graph, question.cluster, pinned=placement, goal=goal)
    reason = found.reason.replace("placed by hand", f"placed by {by}", 1)
    return replace(found, algorithm=by, reason=reason)
