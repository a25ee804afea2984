"""Several deployments on the same nodes and links: what each takes, and what that costs the others.

    busy: the share that the others take ─┬▶ seconds there = seconds alone / (1 - busy)
                                          └▶ room there = UTILISATION_MAX - busy

The price is the mean time of a job where all share one server evenly: M/G/1-PS, Kleinrock,
"Queueing Systems", volume II (1976), section 4.4. It depends on the load alone, not on how long the
jobs of the others are. A node computes frame after frame: that is the same in the mean while
jobs are alike, and longer for a short segment behind long ones.

Invariant: what a deployment takes itself never counts against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Place = tuple[str, str]
"""A directed link by its ends; a node is a link to itself."""

UTILISATION_MAX = 0.9
"""Share of a node's or link's time that plans may fill. At 0.9 a frame takes ten times as long as
alone, when frames come at random. Higher admits more and lets queues grow; lower refuses what would
just have run."""
CROWDED_MAX = 0.8
"""Others slow a frame as if they took no more than this share: five times, as behind one full
window of 4 frames. Higher flees from a busy node to one that is far slower."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one deployment takes, as shares of the time of nodes and links."""

    deployment: str
    busy: Mapping[Place, float]
    """As it is now: what others wait for."""
    kept: Mapping[Place, float]
    """That has to be left to it: what it said it needs, else what it takes."""
    is_said: bool = False
    """It said what it needs, and was promised that."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What one deployment needs, and what the others take."""

    rate_fps: float = 0.0
    """Frames a second of its own; 0: not known."""
    is_said: bool = False
    """It has to keep up with that rate: a plan that cannot is none."""
    others: tuple[Use, ...] = ()

    def slowdown(self, place: Place) -> float:
        """By how much the others make everything slower there; at least 1."""
        busy = sum(each.busy.get(place, 0.0) for each in self.others)
        return 1 / (1 - min(busy, CROWDED_MAX))

    def taken(self, place: Place) -> float:
        """Share that has to be left to the others."""
        return sum(each.kept.get(place, 0.0) for each in self.others)

    def promised(self, place: Place) -> float:
        """Share of it that others were promised."""
        return sum(each.kept.get(place, 0.0) for each in self.others if each.is_said)

    def left(self, place: Place) -> float:
        """Share that a plan may fill; not below 0."""
        return max(0.0, UTILISATION_MAX - self.taken(place))

    def users(self, place: Place) -> tuple[str, ...]:
        """Who takes something there, the most first."""
        shares = {each.deployment: each.kept.get(place, 0.0) for each in self.others}
        return tuple(
            sorted((name for name in shares if shares[name] > 0), key=lambda n: -shares[n])
        )


ALONE = Sharing()
"""Nobody else is here, and no rate is asked for."""
