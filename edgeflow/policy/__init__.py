"""How a deployment's plan is made and follows what changes: one interface, one file a policy.

    leader ── Question ─▶ first()    a plan is needed: none yet, broken, another wish
                        ─▶ review()  a plan runs: another one that is worth the switch, or None

    mincut, dads …  planned anew by that algorithm as costs change; mincut is default   `live`
    hpa             D3's local re-evaluation when a cost leaves its band                 `hpa`
    partnner        the cut searched from measured latency alone       `partnner`, `search`, `cuts`
    profile-first   every cut measured, then the best                           `profile_first`
    static          planned once                                                      `static`

What a switch costs and when it is worth that is in `switching` and `worth`. A policy keeps notes of
one deployment, and only the leader has any: a new leader starts anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgeflow.messages import Spec
from edgeflow.planning import ALGORITHMS, PlanningError, Proposal
from edgeflow.policy.hpa import Hpa
from edgeflow.policy.live import Live
from edgeflow.policy.partnner import Partnner
from edgeflow.policy.profile_first import ProfileFirst
from edgeflow.policy.question import Choice, Question
from edgeflow.policy.static import Static
from edgeflow.policy.switching import Switches

__all__ = ["POLICIES", "Choice", "Policy", "Question", "Switches", "policy_of"]


class Policy(Protocol):
    """Chooses plans of one deployment."""

    measures: bool
    """Wants to be asked as soon as frames were measured."""

    def first(self, question: Question) -> Proposal:
        """A plan that is needed now; PlanningError says why there is none."""

    def review(self, question: Question) -> Choice | None:
        """Another plan than the running one; None where that stays."""

    def is_searching(self, now_s: float) -> bool:
        """Whether the running plan is only tried: nothing is prepared beside it."""


_OWN: dict[str, Callable[[], Policy]] = {
    "hpa": Hpa,
    "partnner": Partnner,
    "profile-first": ProfileFirst,
    "static": Static,
}
POLICIES = ("mincut", *_OWN, *(name for name in ALGORITHMS if name not in ("mincut", *_OWN)))
"""All names: those with a file of their own, and every planner."""


def policy_of(spec: Spec) -> Policy:
    """A fresh one, for what is wanted; PlanningError where nobody knows it."""
    if spec.policy not in POLICIES:
        raise PlanningError(f"no policy {spec.policy!r}: choose of {', '.join(POLICIES)}")
    return _OWN.get(spec.policy, Live)()
