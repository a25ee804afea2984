"""What the plans of one deployment take as things are now: predicted, and as frames tell.

    plan made, plan reviewed ──▶ note ──▶ seconds, tile views ──▶ status
    plan reviewed ──▶ frames that came since its price last moved ──▶ what they took

Invariant: only plans that the board names are kept, so that there are two at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from edgeflow.costmodel.cost import Cluster
from edgeflow.costmodel.tileviews import told
from edgeflow.messages import Board, Lately, Plan, PlanId, TileMapView
from edgeflow.model.graph import Graph

MOVED = 0.1
"""Share by which a price must differ to be another one."""
TOLD_FRAMES = 6
"""So many frames have to come after a price moved, before what they took is held against it: those
under way then, a window of them, were quicker than things are now."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of one plan."""

    seconds: float
    """Infinite where it cannot be run."""
    tiles: tuple[TileMapView, ...] = ()


@dataclass(slots=True)
class Prices:
    """By plan."""

    known: dict[PlanId, Price] = field(default_factory=dict)
    level: tuple[PlanId | None, float, int] = (None, 0.0, 0)
    """The running plan, its price when that last moved, and how many frames it had answered."""

    def note(
        self, board: Board, plan: Plan, seconds: float, graph: Graph, cluster: Cluster
    ) -> None:
        """A plan of the board at the prices of now."""
        named = {each.id for each in (board.preparing, board.committed) if each is not None}
        kept = {each: price for each, price in self.known.items() if each in named}
        self.known = kept | {plan.id: Price(seconds, told(graph, cluster, plan.variants[0]))}

    def as_told(self, plan: Plan, seconds: float, lately: Lately | None) -> float:
        """What the last frames under a plan took, where enough came at its price of now; infinite
        where they did not."""
        frames = lately.frames if lately is not None else 0
        known, level_s, since = self.level
        if known != plan.id or abs(seconds - level_s) > MOVED * level_s:
            self.level = known, level_s, since = plan.id, seconds, frames
        if lately is None or not lately.flights_s or frames - since < TOLD_FRAMES:
            return math.inf
        return median(lately.flights_s[since - frames :])

    def of(self, plan: Plan) -> Price:
        """As noted, where that is finite; else as predicted when it was made."""
        price = self.known.get(plan.id)
        if price is None or math.isinf(price.seconds):
            return Price(plan.predicted_s)
        return price


def tried(plan: Plan, lately: Iterable[Lately]) -> dict[str, Lately]:
    """By placement line, what frames along the other variants of a plan took."""
    return {
        plan.variants[each.variant]: each
        for each in lately
        if each.plan == str(plan.id) and 0 < each.variant < len(plan.variants)
    }
