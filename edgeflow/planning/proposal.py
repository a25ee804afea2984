"""What a planning algorithm answers, and what it says when there is no answer."""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.cost import Terms
from edgeflow.errors import DeployError
from edgeflow.placement import Placement


class PlanningError(DeployError):
    """No placement can be run; the text names the node, layer or link that is in the way."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A placement, its price, and how far from the best it can be at most."""

    placement: Placement
    terms: Terms
    predicted_s: float
    """From submit to result; finite."""
    lower_bound_s: float
    """No placement is faster under the same estimates."""
    optimal: bool
    """Proven: optimal for the additive cost model and the current estimates."""
    algorithm: str
    reason: str
    """Why this one, in a sentence for people."""

    @property
    def gap(self) -> float:
        """How much slower than the bound, as a share of the bound; 0 where optimal."""
        if self.optimal or self.lower_bound_s <= 0:
            return 0.0
        return self.predicted_s / self.lower_bound_s - 1
