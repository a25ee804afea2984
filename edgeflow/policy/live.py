"""Planned anew by one algorithm as costs change.

    running ──look──▶ another one, worth the switch ──▶ that one
               ^           '── not worth it yet ──▶ found
               '── it has become worth it, at the prices of now ──'

To look is dear where tiles are searched: then one look in a while is made, and what it found is
priced between them, so that a gain that has to prove itself need not wait for the next.

Invariant: a plan that works is given up only for what is worth it (`edgeflow.policy.worth`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.placement import format_placement
from edgeflow.planning import Proposal
from edgeflow.policy.prepared import or_prepared, priced
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.worth import Worth
from edgeflow.survey import ask, is_worth_a_search


@dataclass(slots=True)
class Live:
    """Of one deployment."""

    worth: Worth = field(default_factory=Worth)
    searched: tuple[float, float] = (-math.inf, 0.0)
    """When a better plan was last looked for, and what the running one took then."""
    found: Proposal | None = None
    """The better plan of that look, as long as it is not worth the switch."""
    measures = False

    def first(self, question: Question) -> Proposal:
        """The best plan now; PlanningError says why there is none."""
        self.searched, self.found = (question.now_s, question.standing.seconds), None
        return ask(question.spec, question.graph, question.cluster, question.shunned)

    def review(self, question: Question) -> Choice | None:
        """A plan that is worth the switch."""
        plan = question.plan
        assert plan is not None
        if not (question.is_news or self._is_due(question) or self._is_worth_it_now(question)):
            return None
        proposal = self.first(question)
        if format_placement(question.graph, proposal.placement) == plan.variants[0]:
            self.worth.rest()
            return None
        proposal = or_prepared(question, proposal)
        if why := self.worth.judge(question, proposal):
            return Choice(proposal, why)
        self.found = proposal
        return None

    def is_searching(self, now_s: float) -> bool:
        """It asks for no plans but those that it wants to keep."""
        return False

    def _is_due(self, question: Question) -> bool:
        """Whether it is time for a look."""
        seen = question.now_s, question.standing.seconds
        return is_worth_a_search(question.spec, question.cluster, self.searched, seen)

    def _is_worth_it_now(self, question: Question) -> bool:
        """Whether what was found would be worth the switch by now; a look tells whether it is."""
        if self.found is None:
            return False
        line = format_placement(question.graph, self.found.placement)
        now = priced(question, self.found, line)
        return now is not None and bool(self.worth.weigh(question, now)[1])
