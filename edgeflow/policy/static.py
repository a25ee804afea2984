"""Planned once, by the default algorithm; it stays until it breaks, or something else is wished.

    first ─▶ runs ─▶ runs ─▶ …         broken, another wish ─▶ first

What a pre-planned partition is: all that adapting does better can be held against it.

Invariant: no change of any cost changes the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.planning import Proposal
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.survey import ask


@dataclass(slots=True)
class Static:
    """Of one deployment; it has no notes."""

    measures = False

    def first(self, question: Question) -> Proposal:
        """The best plan now; PlanningError says why there is none."""
        return ask(question.spec, question.graph, question.cluster, question.shunned)

    def review(self, question: Question) -> Choice | None:
        """Whatever runs is good enough."""
        return None

    def is_searching(self, now_s: float) -> bool:
        """Never."""
        return False
