"""What a planning algorithm answers, and what it says when there is no answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeflow.costmodel.cost import Terms
from edgeflow.errors import DeployError
from edgeflow.layout.placement import Layout


class PlanningError(DeployError):
    """No placement can be run; the text names the node, layer or link that is in the way."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A placement, its price, and how far from the best it can be at most."""

    placement: Layout
    """Layers may be tiled in it."""
    terms: Terms
    predicted_s: float
    """From submit to result; finite."""
    lower_bound_s: float
    """No placement is faster under the same estimates."""
    optimal: bool
    """Proven: optimal for the objective, the cost model and the current estimates."""
    algorithm: str
    reason: str
    """Why this one, in a sentence for people."""
    objective: str
    """latency throughput traffic, see `edgeflow.planning.goal`"""
    value: float
    """What the objective is about; lower is better."""
    value_bound: float
    """No placement that keeps the constraints has a lower value under the same estimates."""
    unit: str
    """Of both: s, or bytes a frame."""

    @property
    def gap(self) -> float:
        """How much worse than the bound, as a share of the bound; 0 where optimal, infinite where
        the bound is 0."""
        if self.optimal:
            return 0.0
        return self.value / self.value_bound - 1 if self.value_bound > 0 else math.inf
