"""What the judge remembers of one process between two events, and what it may see of it.

Invariant: written by the judge alone, after each event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from edgeflow.events import BuildSegment, SegmentKey
from edgeflow.frames.stage import WorkKey
from edgeflow.messages import Claim, PlanId
from edgeflow.mind.node import NodeCore
from edgeflow.sim.toy import Value, Values

FrameKey = tuple[str, str, int, int]
"""Deployment, source and its session, the source's number of the frame."""


@dataclass(slots=True)
class Shadow:
    """The last that was seen of a core."""

    highest: Claim | None = None
    lease_s: float = float("inf")
    fences: dict[str, PlanId] = field(default_factory=dict)
    held: dict[str, tuple[PlanId, str]] = field(default_factory=dict)
    """Hash of each plan -> its id and step."""
    beats: set[tuple[Claim, int]] = field(default_factory=set)
    """Heard live."""
    budgets: dict[WorkKey, float] = field(default_factory=dict)
    """When the budget of each frame's segment ends, counted from its first message."""
    cancelled: dict[FrameKey, int] = field(default_factory=dict)
    """Frames of whose cancel this node heard -> up to which attempt."""
    deaths: dict[int, set[int]] = field(default_factory=dict)
    """At a source: attempts at a frame that were heard to have cost a worker its life."""
    spent: dict[int, int] = field(default_factory=dict)
    """Attempts that counted, by open frame."""
    retries: dict[str, int] = field(default_factory=dict)
    """Retries seen, by deployment."""


class Watched(Protocol):
    """What the judge sees of a machine."""

    core: NodeCore
    shadow: Shadow
    built: dict[SegmentKey, BuildSegment]
    bundles: dict[int, Values]
    outcomes: dict[int, int]
    submitted: dict[int, tuple[float, Value]]
    """Token -> deadline on its own clock, and the image."""
    woke_s: float
    """On its own clock: when it last stood still, or when its clock jumped."""
    is_alive: bool

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def session(self) -> int:
        """Of this life."""

    def clock_s(self) -> float:
        """Its own time."""
