"""The world of the second act: a camera that computes nothing, four equal slow boxes, no cloud.

    cam-1 ──▶ edge-1 ═ edge-2 ═ edge-3 ═ edge-4      every pair is linked; all of it emulated

A box sleeps for most of the time that it takes, so that four of them at once need no more than the
cores of a small machine: each is as slow beside the others as it is alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.config import Emulate, NodeConfig
from edgeflow.messages import DEVICE

CAMERA = "cam-1"
BOXES = ("edge-1", "edge-2", "edge-3", "edge-4")
WAVES = (("edge-1", "edge-2"), ("edge-3", "edge-4"))
"""Started together: no more than there are cores, since equal boxes have to measure themselves as
equal."""
PICTURE_S = 1.6
"""What one box takes for a picture: a small board, and a demo that does not last."""
FACTORS = (4.0, 60.0)
"""At least: four boxes on two cores leave half of them. At most: what they say to each other is not
slowed down, and should stay small beside it."""
LINK_MBPS = 500.0
"""What each node sends at most: a good half of gigabit Ethernet."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The emulated figures of one run."""

    factor: float
    """How many times slower than this machine each box computes."""

    @classmethod
    def of(cls, whole_s: float) -> Shelf:
        """Where the undivided network takes `whole_s` here."""
        low, high = FACTORS
        return cls(float(round(min(max(PICTURE_S / whole_s, low), high))))

    def camera(self, url: str) -> NodeConfig:
        """Settings of this process's own node."""
        return NodeConfig(
            name=CAMERA,
            tier=DEVICE,
            brokers=(url,),
            compute="none",
            tensors_port=0,
            signals_port=0,
            emulate=Emulate(mbps=LINK_MBPS),
        )

    def options(self) -> list[str]:
        """`--emulate …` of each box."""
        pairs = (f"compute_factor={self.factor:g}", f"mbps={LINK_MBPS:g}")
        return [word for pair in pairs for word in ("--emulate", pair)]

    def describe(self) -> str:
        """For the screen's first lines."""
        return (
            f"emulated, on this one machine: four boxes, each {self.factor:g}× slower than a core "
            f"of it; {LINK_MBPS:g} Mbit/s a node; no cloud"
        )
