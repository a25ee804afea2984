"""Planned anew by one algorithm as costs change.

    running ──much better, after DWELL_S──▶ that one

Invariant: a plan that works is given up only for what is measurably better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeflow.placement import format_placement
from edgeflow.planning import Proposal
from edgeflow.planning.standing import what_is_gained
from edgeflow.policy.question import Choice, Question
from edgeflow.survey import ask, is_worth_a_search

GAIN_MIN = 0.15
"""A better plan must promise so much less of what is wanted: below, noise would cause switches."""
DWELL_S = 8.0
"""A plan that works stays at least so long."""


@dataclass(slots=True)
class Live:
    """Of one deployment."""

    searched: tuple[float, float] = (-math.inf, 0.0)
    """When a better plan was last looked for, and what the running one took then."""

    def first(self, question: Question) -> Proposal:
        """The best plan now; PlanningError says why there is none."""
        self.searched = question.now_s, question.standing.seconds
        return ask(question.spec, question.graph, question.cluster, question.shunned)

    def review(self, question: Question) -> Choice | None:
        """A plan that is worth the switch."""
        plan, now = question.plan, question.standing
        assert plan is not None
        seen = question.now_s, now.seconds
        if question.now_s - question.since_s < DWELL_S:
            return None
        if not is_worth_a_search(question.spec, question.cluster, self.searched, seen):
            return None
        proposal = self.first(question)
        if format_placement(question.graph, proposal.placement) == plan.variants[0]:
            return None
        why = what_is_gained(now, proposal, GAIN_MIN)
        return Choice(proposal, why) if why else None
