"""Which nodes a simulated fleet has, and what each is.

Invariant: follows from the number of nodes and the world's chance alone.
"""

from __future__ import annotations

import random

from edgeflow.messages import CLOUD, DEVICE, EDGE, Caps, Endpoint, Rates, Tier

SMALLEST, SIZES = 3, 4
"""Mixed fleets have 3 to 6 nodes: most of what can go wrong goes wrong among three."""


def size_of(seed: int, nodes: int) -> int:
    """Nodes of a seed's fleet; 0 stands for a mixture."""
    return nodes or SMALLEST + seed % SIZES


def tiers(nodes: int) -> dict[str, Tier]:
    """A quarter devices, a sixth clouds, the rest edges."""
    devices, clouds = max(1, nodes // 4), max(1, nodes // 6)
    found = {f"cam-{at + 1}": DEVICE for at in range(devices)}
    found.update({f"edge-{at + 1}": EDGE for at in range(max(1, nodes - devices - clouds))})
    found.update({f"cloud-{at + 1}": CLOUD for at in range(clouds)})
    return found


def drawn(nodes: int, chance: random.Random, *, plain: bool) -> dict[str, Caps]:
    """A fleet of that size."""
    return {name: caps_of(name, tier, chance, plain=plain) for name, tier in tiers(nodes).items()}


def caps_of(name: str, tier: Tier, chance: random.Random, *, plain: bool) -> Caps:
    """A node ten times as fast as the tier before it; some behind NAT, some without engine."""
    speed = 10.0**tier.rank * (1 + 0.1 * (ord(name[-1]) % 7))
    rates = Rates(1e9 * speed, 1e9 * speed, 1e9 * speed, 1e-5)
    behind_nat = not plain and tier != CLOUD and chance.random() < 0.15
    computes = plain or tier != DEVICE or chance.random() < 0.8
    return Caps(
        node=name,
        session=0,
        tier=tier,
        board="simulated",
        arch="none",
        cores=1,
        memory_bytes=1 << 30,
        accelerators=(),
        engines=("symbolic",) if computes else (),
        rates=rates if computes else None,
        can_lead=computes,
        reachable=not behind_nat,
        endpoints=(Endpoint("127.0.0.1", 1, 2),),
        public_key="",
    )
