"""What is changed in the lab while frames come in: conditions, and phases that lead through them.

    cold ─▶ thin ─▶ back ─▶ cloud busy ─▶ edge busy too ─▶ both calm ─▶ edge-2 joins ─▶ dies

A condition is how things stand; the best plan under it is measured once, whoever planned. A phase
is a condition that begins while frames come in. In configs/labs/adapt.toml each of them has another
best plan than the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

RADIO, CLOUD, EDGE, LATE = "radio", "cloud-1", "edge-1", "edge-2"
"""Names in the lab: the link that is changed, who gets load, who joins and dies."""
FULL_MBPS = 50.0
THIN_MBPS = 4.0
BUSY = 4
"""Processes beside the node, each of which takes as much as it: 80 % of the node's quota."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How things stand."""

    name: str
    mbps: float = FULL_MBPS
    """Of the radio, both ways."""
    cloud_load: int = 0
    edge_load: int = 0
    """Busy processes."""
    has_late: bool = False
    """Whether edge-2 is there."""

    def scaled(self, work: float) -> Condition:
        """For a network with so many times the work: a rate below the full one is as many times
        lower, or no rate would change its best plan."""
        return self if self.mbps >= FULL_MBPS else replace(self, mbps=self.mbps / work)

    def words(self, before: Condition | None = None) -> Iterator[str]:
        """Changes of the lab that lead here, in the words of `edgeflow lab do`."""
        if before is None or before.mbps != self.mbps:
            yield f"link {RADIO} up_mbps={self.mbps:g} down_mbps={self.mbps:g}"
        if before is None or before.cloud_load != self.cloud_load:
            yield f"load {CLOUD} {self.cloud_load}"
        if before is None or before.edge_load != self.edge_load:
            yield f"load {EDGE} {self.edge_load}"
        if before is not None and before.has_late != self.has_late:
            yield f"{'restart' if self.has_late else 'kill'} {LATE}"


NOMINAL = Condition("nominal")
THIN = Condition("thin", mbps=THIN_MBPS)
CLOUD_BUSY = Condition("cloud busy", cloud_load=BUSY)
BOTH_BUSY = Condition("both busy", cloud_load=BUSY, edge_load=BUSY)
JOINED = Condition("joined", has_late=True)
CONDITIONS = {each.name: each for each in (NOMINAL, THIN, CLOUD_BUSY, BOTH_BUSY, JOINED)}
ALONG = tuple(Condition(f"{mbps:g} Mbit/s", mbps=mbps) for mbps in (2.0, 8.0, 16.0, 30.0))
"""Where plans are measured for a trace, beside `nominal` and `thin`."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that happens."""

    name: str
    condition: Condition


PHASES = (
    Phase("cold start", NOMINAL),
    Phase("50 to 4", THIN),
    Phase("4 to 50", NOMINAL),
    Phase("cloud 80 % busy", CLOUD_BUSY),
    Phase("edge 80 % busy too", BOTH_BUSY),
    Phase("edge calm", CLOUD_BUSY),
    Phase("cloud calm", NOMINAL),
    Phase("edge-2 joins", JOINED),
    Phase("edge-2 dies", NOMINAL),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A model, and how the lab is driven with it."""

    name: str
    rate_fps: float
    """What its slowest best plan takes still fits in."""
    deadline_s: float = 10.0
    """Of a frame. Longer, and what piles up while a bad plan is tried holds up all that follow."""
    phase_frames: int = 40
    """At least: 20 s of them, and 20 frames more."""
    work: float = 1.0
    """Against resnet18's, as a divisor of thin rates."""


NETWORKS = {
    "resnet18": Network("resnet18", rate_fps=2.0, phase_frames=60),
    "vgg16": Network("vgg16", rate_fps=0.5, deadline_s=30.0, work=4.0),
}


def network(name: str) -> Network:
    """By name; of an unknown one nothing is changed."""
    return NETWORKS.get(name, Network(name, rate_fps=1.0))
