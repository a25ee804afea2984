"""Where the networks are divided: one device, one edge node, one cloud machine, four up-links.

    cam ══ radio ══ home ══ up-link ══ cloud          edge is wired to home; cam and edge share the
                     └───── edge                      up-link, so that a direct way exists

All rates are ours, chosen to be plausible; none was measured on a board or in a radio network. The
links are those of `configs/labs/d3-*.toml`.

Invariant: everything that a prediction rests on stands in this file.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates

CAM, NEAR, FAR = "cam", "edge", "cloud"

CLOUD_RATES = Rates(4e12, 1e12, 3e11, 3e-6, 4e11)
"""A server's GPU: 4,000 GFLOP/s in convolutions."""
MACHINES = {
    "board": (Rates(8e9, 4e9, 3e9, 2e-5, 2e9), Rates(1.2e11, 4e10, 1.2e10, 4e-6, 2e10)),
    "phone": (Rates(2e10, 1e10, 8e9, 8e-6, 5e9), Rates(6e10, 2e10, 8e9, 6e-6, 1e10)),
}
"""Device and edge node: a small ARM board beside a desktop, 8 and 120 GFLOP/s in convolutions; a
phone beside a mini PC, 20 and 60."""


@dataclass(frozen=True, slots=True)
class Way:
    """Both directions of a wire or a radio."""

    up_mbps: float
    down_mbps: float
    delay_ms: float


RADIO = Way(40, 40, 2)
WIRE = Way(100, 100, 0.2)
UPLINKS = {
    "wifi": Way(18, 30, 8),
    "4g": Way(6, 15, 25),
    "5g": Way(15, 30, 12),
    "fibre": Way(40, 40, 4),
}


def cluster(machines: str, uplink: str) -> Cluster:
    """Three nodes, of `MACHINES`, behind one of `UPLINKS`."""
    up, (device, edge) = UPLINKS[uplink], MACHINES[machines]
    nodes = {
        CAM: NodeCost(CAM, DEVICE, device),
        NEAR: NodeCost(NEAR, EDGE, edge),
        FAR: NodeCost(FAR, CLOUD, CLOUD_RATES),
    }
    links = {
        (CAM, NEAR): _through(RADIO.up_mbps, WIRE.down_mbps, RADIO, WIRE),
        (NEAR, CAM): _through(WIRE.up_mbps, RADIO.down_mbps, RADIO, WIRE),
        (CAM, FAR): _through(RADIO.up_mbps, up.up_mbps, RADIO, up),
        (FAR, CAM): _through(RADIO.down_mbps, up.down_mbps, RADIO, up),
        (NEAR, FAR): _through(WIRE.up_mbps, up.up_mbps, WIRE, up),
        (FAR, NEAR): _through(WIRE.down_mbps, up.down_mbps, WIRE, up),
    }
    return Cluster(nodes, links, CAM)


def _through(first_mbps: float, second_mbps: float, first: Way, second: Way) -> LinkCost:
    """As fast as the slower of the two, as late as both together."""
    rate = min(first_mbps, second_mbps) * 1e6 / 8
    return LinkCost((first.delay_ms + second.delay_ms) / 1e3, rate)


def describe() -> list[str]:
    """What it is, in sentences."""
    pairs = "; ".join(
        f"{name} {device.conv_flops_per_s / 1e9:g} and {edge.conv_flops_per_s / 1e9:g}"
        for name, (device, edge) in MACHINES.items()
    )
    ways = "; ".join(
        f"{name} {way.up_mbps:g} up, {way.down_mbps:g} down, {way.delay_ms:g} ms"
        for name, way in UPLINKS.items()
    )
    return [
        "Predicted by the cost model, not measured; all rates are ours, chosen to be plausible.",
        f"Device and edge node in GFLOP/s of convolutions: {pairs}; the cloud "
        f"{CLOUD_RATES.conv_flops_per_s / 1e9:,.0f}.",
        "Inputs: raw uint8 pictures, or the float32 tensor made of them (`-float32`), four times"
        " the bytes.",
        f"Up-links in Mbit/s: {ways}. The camera's radio: {RADIO.up_mbps:g} Mbit/s, "
        f"{RADIO.delay_ms:g} ms; the edge node's wire: {WIRE.up_mbps:g} Mbit/s.",
    ]
