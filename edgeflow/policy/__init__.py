"""How a deployment's plan is made and follows what changes: one interface, one file a policy.

    leader ── Question ─▶ first()    a plan is needed: none yet, broken, another wish
                        ─▶ review()  a plan runs: another one that is worth the switch, or None

    mincut (default), dads, edge-only …   planned anew by that algorithm as costs change   `live`

A policy keeps notes of one deployment, and only the leader has any: a new leader starts anew.
"""

from __future__ import annotations

from typing import Protocol

from edgeflow.messages import Spec
from edgeflow.planning import Proposal
from edgeflow.policy.live import Live
from edgeflow.policy.question import Choice, Question

__all__ = ["Choice", "Policy", "Question", "policy_of"]


class Policy(Protocol):
    """Chooses plans of one deployment."""

    def first(self, question: Question) -> Proposal:
        """A plan that is needed now; PlanningError says why there is none."""

    def review(self, question: Question) -> Choice | None:
        """Another plan than the running one; None where that stays."""


def policy_of(spec: Spec) -> Policy:
    """A fresh one, for what is wanted."""
    return Live()
