"""What the plans of one deployment take as things are now, for its status.

    plan made, plan reviewed ──▶ note ──▶ seconds, tile views ──▶ status

Invariant: only plans that the board names are kept, so that there are two at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.cost import Cluster
from edgeflow.graph import Graph
from edgeflow.messages import Board, Plan, PlanId, TileMapView
from edgeflow.tileviews import told


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

    def note(
        self, board: Board, plan: Plan, seconds: float, graph: Graph, cluster: Cluster
    ) -> None:
        """A plan of the board at the prices of now."""
        named = {each.id for each in (board.preparing, board.committed) if each is not None}
        kept = {each: price for each, price in self.known.items() if each in named}
        self.known = kept | {plan.id: Price(seconds, told(graph, cluster, plan.variants[0]))}

    def of(self, plan: Plan) -> Price:
        """As noted, where that is finite; else as predicted when it was made."""
        price = self.known.get(plan.id)
        if price is None or math.isinf(price.seconds):
            return Price(plan.predicted_s)
        return price
