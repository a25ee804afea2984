"""The cut searched from measured latency alone: few cuts far apart, then those beside the best.

    coarse   both ends, and of each part of the chain the cut with the smallest tensor
    fine     between the best and the measured ones next to it, on either side: the smallest tensor
    over     once VAIN trials beside the best were no better, or none is left

FRAMES frames each; a cut whose first one is much worse than the best so far is left at once. What
crosses a cut is known from the graph; seconds are never predicted.

PArtNNer after its abstract (ACM TECS, doi 10.1145/3630266): the cut is found online, from
end-to-end latency, without profiling device, server or network beforehand. Coarse and fine steps
are our reading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeflow.policy.search import LATE_S, Search

FRAMES = 2
"""Of each cut, of which the mean counts. One is quicker, and noise decides more often."""
ABANDON = 1.3
"""A cut whose first frame takes so many times the best one's is left at once."""
LATE, LATE_S_MIN = 3.0, 1.0
"""Nor is a first frame waited for that takes so many times the best one's, and so long at least."""
PARTS = 4
"""Into so many parts the inner cuts fall at first. More look further and take longer."""
VAIN = 3
"""So many trials beside the best that are no better end a search. Lower ends it sooner, at worse
cuts."""


@dataclass(slots=True)
class Partnner(Search):
    """Of one deployment."""

    name = "partnner"

    def enough(self, taken_s: Sequence[float]) -> bool:
        """Whether so many frames tell what the cut takes."""
        if not taken_s:
            return False
        best_s = min(self.took_s.values(), default=math.inf)
        return len(taken_s) >= FRAMES or taken_s[0] > ABANDON * best_s

    def late_s(self) -> float:
        """Three times what the best cut takes: its first frame is much worse already."""
        best_s = min(self.took_s.values(), default=math.inf)
        return min(LATE_S, max(LATE_S_MIN, LATE * best_s))

    def following(self) -> int | None:
        """The next coarse cut, then one beside the best."""
        coarse = self._coarse()
        left = next((place for place in coarse if place not in self.took_s), None)
        if left is not None:
            return left
        known = self._known()
        if not known or self._in_vain(known[0]) >= VAIN:
            return None
        options = self._beside(known[0])
        assert self.cuts is not None
        crossing = self.cuts.crossing_bytes
        return min(options, key=lambda at: (crossing[at], abs(at - known[0]), at), default=None)

    def _coarse(self) -> list[int]:
        """All remote, all local, and of each part in between the smallest tensor."""
        assert self.cuts is not None
        crossing = self.cuts.crossing_bytes
        last = len(crossing) - 1
        bounds = [1 + part * (last - 1) // PARTS for part in range(PARTS + 1)]
        inner = [
            min(range(start, stop), key=lambda at: (crossing[at], at))
            for start, stop in pairwise(bounds)
            if stop > start
        ]
        return list(dict.fromkeys([0, *inner, last]))

    def _in_vain(self, best: int) -> int:
        """Trials since the best one that were not coarse."""
        order, coarse = list(self.took_s), self._coarse()
        since = order[order.index(best) + 1 :]
        return sum(place not in coarse for place in since)

    def _beside(self, best: int) -> list[int]:
        """Cuts that were not measured, up to the measured ones on either side."""
        assert self.cuts is not None
        last = len(self.cuts.lines) - 1
        below = max((at for at in self.took_s if at < best), default=-1)
        above = min((at for at in self.took_s if at > best), default=last + 1)
        return [at for at in range(below + 1, above) if at != best]
