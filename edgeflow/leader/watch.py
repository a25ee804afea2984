"""The leader's notes on one deployment.

Invariant: all of it can be lost; a new leader starts with empty notes and the board it has heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgeflow.costmodel.cost import Cluster
from edgeflow.leader.boards import Word
from edgeflow.leader.history import Chronicle
from edgeflow.leader.news import News
from edgeflow.leader.prices import Prices
from edgeflow.messages import Lately, Metrics, PlanId, Spec, Status
from edgeflow.policy import Policy, Switches, policy_of
from edgeflow.policy.question import Choice
from edgeflow.policy.worth import TRIED_TELL

Fleet = frozenset[tuple[str, int]]
"""Nodes that may compute, each with its session."""


@dataclass(slots=True)
class Watch:
    """What the leader remembers between two ticks."""

    since_s: float
    waiting_s: float = math.inf
    """Since when the source is unheard."""
    progress: int = -1
    progress_s: float = 0.0
    committed_s: float = -math.inf
    reviewed_s: float = -math.inf
    published_s: float = -math.inf
    unheld_s: float = math.inf
    """Since when some node does not hold the committed plan."""
    hold_until_s: float = -math.inf
    """No new plan before this, unless the wish changes."""
    held_generation: int = 0
    verdict: Word = ("waiting", "no plan yet")
    """What is said while held."""
    covered: tuple[PlanId, Fleet] | None = None
    """For which plan, among whom, it was last looked what stands in for a lost node."""
    gaps: Mapping[str, str] = field(default_factory=dict)
    """Nodes that nothing can stand in for, and why."""
    covered_s: float = -math.inf
    """When that was."""
    scene: Cluster | None = None
    """The fleet as it was priced then."""
    likely: Mapping[str, str] = field(default_factory=dict)
    """By placement line of a likely next plan, what would have to change."""
    shunned: dict[str, float] = field(default_factory=dict)
    status: Status | None = None
    prices: Prices = field(default_factory=Prices)
    policy: Policy | None = None
    policy_name: str = ""
    chosen: tuple[PlanId, Choice] | None = None
    """The plan that was decided on in this tick."""
    history: Chronicle = field(default_factory=Chronicle)
    news: News = field(default_factory=News)
    switches: Switches = field(default_factory=Switches)
    metrics: Metrics | None = None
    """What the source had measured when plans were last compared."""

    def policy_for(self, spec: Spec) -> Policy:
        """That of the wish, with its notes; a fresh one where another was wished for.

        PlanningError where nobody knows it.
        """
        if self.policy is None or self.policy_name != spec.policy:
            self.policy, self.policy_name = policy_of(spec), spec.policy
        return self.policy

    def shunned_at(self, now_s: float) -> tuple[str, ...]:
        """Nodes that failed so lately that they are to compute nothing of it."""
        return tuple(name for name, until_s in self.shunned.items() if now_s < until_s)

    def was_tried(self, lately: Iterable[Lately]) -> bool:
        """Whether more frames on trial were told since plans were last compared, and enough of them
        to be held against the running plan."""
        known = self.metrics.lately if self.metrics is not None else ()
        before = {(each.plan, each.variant): each.frames for each in known}
        return any(
            each.variant
            and len(each.flights_s) >= TRIED_TELL
            and each.frames > before.get((each.plan, each.variant), 0)
            for each in lately
        )

    def hold(self, spec: Spec, until_s: float, verdict: Word) -> None:
        """Ask for no plan for a while."""
        self.hold_until_s, self.held_generation, self.verdict = until_s, spec.generation, verdict

    def is_held(self, spec: Spec, now_s: float) -> bool:
        """Whether it is too early for a new plan for this wish."""
        return now_s < self.hold_until_s and spec.generation == self.held_generation
