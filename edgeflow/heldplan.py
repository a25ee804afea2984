"""One plan at one node: how far it is prepared, what the node does in it, and how long that takes.

Invariant: `segments` are this node's own, each under its place in the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeflow.events import SegmentKey
from edgeflow.messages import Plan
from edgeflow.split import Segment, Split

RECENT_RUNS = 8
"""A segment's seconds are those of about so many runs. Fewer show one hiccup as the truth."""


@dataclass(slots=True)
class HeldPlan:
    """One plan here, and how far its preparation is."""

    plan: Plan
    step: str = "manifest"
    """manifest checking fetching building links ready failed"""
    why: str = ""
    split: Split | None = None
    segments: tuple[Segment, ...] = ()
    """This node's own; none where it is only the source."""
    built: set[int] = field(default_factory=set)
    """Of them, by their place in the plan."""
    missing: dict[str, int] = field(default_factory=dict)
    want_bytes: int = 0
    engines: dict[int, str] = field(default_factory=dict)
    """On what each built segment runs."""
    predicted: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By segment, as far as asked for: seconds by this node's own rates and timings, and what a
    sample of it counts."""

    shares: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """By tiled segment, as far as asked for: which part of each layer's seconds it should take."""
    measured: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By segment that ran: seconds of the last few runs, and how many there were."""
    frame_s: tuple[float, float] = (0.0, 0.0)
    """Of the segments since the last one of a frame: seconds that they took, and should have."""

    @property
    def home(self) -> tuple[str, int]:
        """Source and its session: every frame of this plan comes from there."""
        return self.plan.source, self.plan.sessions[self.plan.source]

    def key(self, segment: int) -> SegmentKey:
        """Names a built segment of variant 0."""
        return SegmentKey(self.plan.hash, 0, segment)

    def segment(self, at: int) -> Segment | None:
        """This node's segment of that place in the plan; None where it is another node's."""
        return next((segment for segment in self.segments if segment.at == at), None)

    def on_ran(self, segment: int, seconds: float) -> None:
        """A frame's segment took so long."""
        known_s, runs = self.measured.get(segment, (seconds, 0))
        known_s += (seconds - known_s) / min(runs + 1, RECENT_RUNS)
        self.measured[segment] = known_s, runs + 1

    def peers(self, me: str) -> set[str]:
        """Whom this node sends to under this plan."""
        assert self.split is not None
        all_ = self.split.segments
        peers = {all_[at].node for at in self.split.entry} if self.plan.source == me else set()
        for segment in self.segments:
            peers |= {all_[at].node for at in segment.sends}
            if segment.results:
                peers.add(self.plan.source)
        return peers - {me}
