"""The little world of the demo: who is how slow, and what links carry. All of it emulated.

    cam-1 (slow device) ──radio──▶ edge-1 edge-2 edge-3
       └────────────────thin up-link────────────────▶ cloud-1

Rates of links are set to this machine's own speed, so that computing and sending weigh the same on
a fast machine and on a slow one, and the story stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.config import Emulate, NodeConfig
from edgeflow.messages import DEVICE

CAMERA, LEADER, CLOUD = "cam-1", "edge-1", "cloud-1"
EDGES = ("edge-1", "edge-2", "edge-3")
WAVES = (("edge-1",), ("edge-2", "edge-3"), ("cloud-1",))
"""Started together; the next wave once these are ready. A node measures itself at its start, and
two cores have no room for five that measure at once. The first leads, and is the fastest edge."""
FACTORS = {"cam-1": 8.0, "edge-1": 1.2, "edge-2": 2.0, "edge-3": 2.0, "cloud-1": 1.0}
"""How many times slower than this machine each node computes."""
RADIO_MBPS = 40.0
"""Camera to edge on a machine that takes 100 ms a picture."""
UPLINK_MBPS = 8.0
"""To and from the cloud on such a machine."""
WIRE_MBPS = 100.0
"""Between the edge nodes."""


@dataclass(frozen=True, slots=True)
class World:
    """The emulated rates of one run."""

    radio_mbps: float
    uplink_mbps: float

    @classmethod
    def of(cls, whole_s: float) -> World:
        """Where the undivided network takes `whole_s` here."""
        speed = min(max(0.1 / whole_s, 0.2), 5.0)
        return cls(round(RADIO_MBPS * speed, 1), round(UPLINK_MBPS * speed, 1))

    def camera(self, url: str) -> NodeConfig:
        """Settings of this process's own node."""
        return NodeConfig(
            name=CAMERA,
            tier=DEVICE,
            brokers=(url,),
            threads=1,
            tensors_port=0,
            signals_port=0,
            # A camera that also draws this screen has better things to do than to lead.
            can_lead=False,
            emulate=Emulate(
                compute_factor=FACTORS[CAMERA],
                peers_mbps={"edge": self.radio_mbps, "cloud": self.uplink_mbps},
            ),
        )

    def options(self, name: str) -> list[str]:
        """`--emulate …` of an edge or cloud node."""
        edge = {"device": self.radio_mbps, "edge": WIRE_MBPS, "cloud": self.uplink_mbps}
        cloud = {"device": self.uplink_mbps, "edge": self.uplink_mbps}
        rates = cloud if name == CLOUD else edge
        pairs = [f"compute_factor={FACTORS[name]}"]
        pairs += [f"peers_mbps.{tier}={mbps}" for tier, mbps in rates.items()]
        return [word for pair in pairs for word in ("--emulate", pair)]

    def describe(self) -> str:
        """For the screen's first line."""
        slow = ", ".join(f"{name} {factor:g}×" for name, factor in FACTORS.items())
        return (
            f"emulated on this one machine: time to compute {slow}; "
            f"camera–edge {self.radio_mbps:g} Mbit/s, up-link {self.uplink_mbps:g} Mbit/s"
        )
