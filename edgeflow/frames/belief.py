"""What ways are believed to take, and how doubtful that is.

Invariant: pure data; `edgeflow.frames.explore` decides what is tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from edgeflow.plans.heldplan import Way

REST_S, REST_S_MAX = 10.0, 120.0
"""A place that no frame used for so long may have changed. Shorter finds a node that got idle
sooner, and tries more in vain."""
WORTH = 2.0
"""What is believed to take longer is not tried: guesses are seldom so far off."""


class Belief(NamedTuple):
    """What a way takes, over what the running one takes."""

    now: float
    idle: float
    """If its nodes had no other load."""

    @property
    def is_worth_it(self) -> bool:
        """Whether it may be better."""
        return self.now <= WORTH or self.idle < 1.0


UNKNOWN = Belief(math.inf, math.inf)


class Trial(NamedTuple):
    """A frame may go this way instead."""

    way: Way
    limit_s: float
    """The attempt is given up after so long."""


@dataclass(slots=True)
class Doubt:
    """About one place."""

    until_s: float = -math.inf
    """It is settled so long."""
    rest_s: float = REST_S
    trials: int = 0
    """Since it is doubtful."""
    needed: int = 1
    """That settle it."""
