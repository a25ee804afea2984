"""Every cut is measured first, then the best one is used: what pre-characterizing means.

    cut 0 · 3 frames ─▶ cut 1 · 3 frames ─▶ … ─▶ all local · 3 frames ─▶ the best
           ^────────────────── its frames take DRIFT more or less ───────────┘

What is needed before any choice is (cuts · FRAMES) frames, most of them along poor plans. It is
here to be held against: see `edgeflow.policy.search` for what both searches share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeflow.policy.search import Search

FRAMES = 3
"""Of each cut, of which the median counts: one alone may be an outlier."""


@dataclass(slots=True)
class ProfileFirst(Search):
    """Of one deployment."""

    name = "profile-first"

    def enough(self, taken_s: Sequence[float]) -> bool:
        """Whether so many frames tell what the cut takes."""
        return len(taken_s) >= FRAMES

    def following(self) -> int | None:
        """The first cut that was not measured."""
        assert self.cuts is not None
        places = range(len(self.cuts.lines))
        return next((place for place in places if place not in self.took_s), None)
