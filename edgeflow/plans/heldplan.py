"""One plan at one node: how far it is prepared, what the node does in it, and how long that takes.

    plan ── variant 0 ─▶ Way: split, this node's segments, what they run on     used
         '─ variant k ─▶ Way: the same, on other nodes                          when one is lost

Invariant: a way's `segments` are this node's own, each under its place in that variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeflow.events import SegmentKey
from edgeflow.layout.split import Segment, Split
from edgeflow.messages import Plan

Place = tuple[str, str]
"""A directed link by its ends; a node is a link to itself."""

RECENT_RUNS = 8
"""A segment's seconds are those of about so many runs. Fewer show one hiccup as the truth."""


class Route(NamedTuple):
    """Under what an attempt flies."""

    hash: str
    """Of the plan."""
    variant: int


@dataclass(slots=True)
class Way:
    """One variant of a plan, as this node takes part in it."""

    plan: Plan
    variant: int
    split: Split
    me: str
    """This node."""
    segments: tuple[Segment, ...] = field(init=False)
    """This node's own; none where it is only the source."""
    nodes: frozenset[str] = field(init=False)
    """All whose loss ends it: who computes, and the source."""
    peers: frozenset[str] = field(init=False)
    """Whom this node sends to."""
    places: frozenset[Place] = field(init=False)
    """All that a frame along it uses, at whichever node."""
    route: Route = field(init=False)
    """Names this way."""
    built: set[int] = field(default_factory=set)
    """Of them, by their place in the variant."""
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

    def __post_init__(self) -> None:
        self.segments = self.split.of(self.me)
        self.nodes = frozenset({self.plan.source, *self.split.nodes})
        self.peers = frozenset(self._peers()) - {self.me}
        self.places = frozenset(self._places())
        self.route = Route(self.plan.hash, self.variant)

    @property
    def line(self) -> str:
        """Its placement."""
        return self.plan.variants[self.variant]

    @property
    def home(self) -> tuple[str, int]:
        """Source and its session: every frame of this plan comes from there."""
        return self.plan.source, self.plan.sessions[self.plan.source]

    def key(self, segment: int) -> SegmentKey:
        """Names a built segment."""
        return SegmentKey(self.plan.hash, self.variant, segment)

    def segment(self, at: int) -> Segment | None:
        """This node's segment of that place; None where it is another node's."""
        return next((segment for segment in self.segments if segment.at == at), None)

    def on_ran(self, segment: int, seconds: float) -> None:
        """A frame's segment took so long."""
        known_s, runs = self.measured.get(segment, (seconds, 0))
        known_s += (seconds - known_s) / min(runs + 1, RECENT_RUNS)
        self.measured[segment] = known_s, runs + 1

    def _places(self) -> Iterator[Place]:
        all_ = self.split.segments
        yield from ((self.plan.source, all_[at].node) for at in self.split.entry)
        for segment in all_:
            yield segment.node, segment.node
            yield from ((segment.node, all_[at].node) for at in segment.sends)
            if segment.results:
                yield segment.node, self.plan.source

    def _peers(self) -> Iterator[str]:
        all_ = self.split.segments
        if self.plan.source == self.me:
            yield from (all_[at].node for at in self.split.entry)
        for segment in self.segments:
            yield from (all_[at].node for at in segment.sends)
            if segment.results:
                yield self.plan.source


@dataclass(slots=True)
class HeldPlan:
    """One plan here, and how far its preparation is."""

    plan: Plan
    step: str = "manifest"
    """manifest checking fetching building links ready failed"""
    why: str = ""
    ways: tuple[Way, ...] = ()
    """By variant; none before the model is known here."""
    missing: dict[str, int] = field(default_factory=dict)
    want_bytes: int = 0

    @property
    def segments(self) -> Iterator[tuple[SegmentKey, Segment]]:
        """This node's own in all variants."""
        return ((way.key(each.at), each) for way in self.ways for each in way.segments)

    def way(self, variant: int) -> Way | None:
        """One variant; None where the plan has no such."""
        return self.ways[variant] if 0 <= variant < len(self.ways) else None

    @property
    def peers(self) -> frozenset[str]:
        """Whom this node sends to in any variant."""
        return frozenset(peer for way in self.ways for peer in way.peers)
