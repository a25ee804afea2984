"""Planned anew by one algorithm as costs change.

    running ──look──▶ another one, worth the switch ──▶ that one
               ^           '── not worth it yet ──▶ found
               '── it, or the best without tiles, is worth it at the prices of now ──'

To look is dear where tiles are searched. Then a look is made once in a while, sooner where
something moved; between two of them the best plan without tiles is looked for where something
moves, and what was found is priced, so that no gain has to wait for the next.

Invariant: a plan that works is given up only for what is worth it (`edgeflow.policy.worth`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from edgeflow.layout.placement import format_placement
from edgeflow.planning import PlanningError, Proposal
from edgeflow.policy.prepared import or_prepared, priced
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.ration import Ration
from edgeflow.policy.survey import ask, is_dear
from edgeflow.policy.worth import Worth

SEARCH_S = 20.0
"""A dear look is made this often where nothing moves. Lower finds tiles sooner, and takes more of a
leader that has frames to compute."""
LOOKS, LOOK_S = 3.0, 6.0
"""Where something does: so many at once, who joins is heard of before its links are measured; then
one in so many seconds."""
SHIFT = 0.1
"""The running plan's price moved where it changed by this share since."""


@dataclass(slots=True)
class Live:
    """Of one deployment."""

    worth: Worth = field(default_factory=Worth)
    searched: tuple[float, float] = (-math.inf, 0.0)
    """When a better plan was last looked for, and what the running one took then."""
    has_moved: bool = False
    """Something did since."""
    looks: Ration = field(default_factory=lambda: Ration(LOOKS, LOOK_S))
    """For where something moves."""
    found: Proposal | None = None
    """The better plan of that look, as long as it is not worth the switch."""
    measures = False

    def first(self, question: Question) -> Proposal:
        """The best plan now; PlanningError says why there is none."""
        self.searched, self.found = (question.now_s, question.standing.seconds), None
        self.has_moved = False
        return ask(question.spec, question.graph, question.cluster, question.shunned)

    def review(self, question: Question) -> Choice | None:
        """A plan that is worth the switch."""
        plan = question.plan
        assert plan is not None
        if not (self._is_due(question) or self._promises(question)):
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
        now_s = question.now_s
        self.has_moved |= question.is_news or self._is_moved(question)
        if not is_dear(question.spec, question.cluster) or now_s - self.searched[0] >= SEARCH_S:
            return True
        return self.has_moved and self.looks.take(now_s)

    def _is_moved(self, question: Question) -> bool:
        _, was_s = self.searched
        return abs(question.standing.seconds - was_s) > SHIFT * was_s

    def _promises(self, question: Question) -> bool:
        """Whether a look would find what is worth the switch: what was found does already, or the
        best plan without tiles, where something moved."""
        known = []
        if self.found is not None:
            line = format_placement(question.graph, self.found.placement)
            known.append(priced(question, self.found, line))
        if question.is_news or self._is_moved(question):
            known.append(_untiled(question))
        plans = (each for each in known if each is not None)
        best = min(plans, key=lambda each: each.value, default=None)
        return best is not None and bool(self.worth.weigh(question, best)[1])


def _untiled(question: Question) -> Proposal | None:
    """The best plan without tiles, if there is one that is not running."""
    assert question.plan is not None
    spec = changed(question.spec, tiles=False)
    try:
        found = ask(spec, question.graph, question.cluster, question.shunned)
    except PlanningError:
        return None
    line = format_placement(question.graph, found.placement)
    return found if line != question.plan.variants[0] else None
