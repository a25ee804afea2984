"""Planned anew by one algorithm as costs change.

    running ──another one is worth the switch──▶ that one

Invariant: a plan that works is given up only for what is worth it (`edgeflow.policy.worth`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.placement import format_placement
from edgeflow.planning import Proposal
from edgeflow.policy.prepared import or_prepared
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.worth import Worth
from edgeflow.survey import ask, is_worth_a_search


@dataclass(slots=True)
class Live:
    """Of one deployment."""

    worth: Worth = field(default_factory=Worth)
    searched: tuple[float, float] = (-math.inf, 0.0)
    """When a better plan was last looked for, and what the running one took then."""
    measures = False

    def first(self, question: Question) -> Proposal:
        """The best plan now; PlanningError says why there is none."""
        self.searched = question.now_s, question.standing.seconds
        return ask(question.spec, question.graph, question.cluster, question.shunned)

    def review(self, question: Question) -> Choice | None:
        """A plan that is worth the switch."""
        plan, seen = question.plan, (question.now_s, question.standing.seconds)
        assert plan is not None
        if not question.is_news and not is_worth_a_search(
            question.spec, question.cluster, self.searched, seen
        ):
            return None
        proposal = self.first(question)
        if format_placement(question.graph, proposal.placement) == plan.variants[0]:
            self.worth.rest()
            return None
        proposal = or_prepared(question, proposal)
        why = self.worth.judge(question, proposal)
        return Choice(proposal, why) if why else None

    def is_searching(self, now_s: float) -> bool:
        """It asks for no plans but those that it wants to keep."""
        return False
