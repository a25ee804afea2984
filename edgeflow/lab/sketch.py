"""A lab as a cluster on paper: what its nodes would be like, without building it.

    cpu of a node × this machine's calibrated rates ─▶ rates        calibrated now, kept nowhere
    cables of the tree between two nodes ──▶ way: the thinnest rate, the sum of delays

What a quota takes from a second it takes from an op's overhead too. Jitter and loss are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from edgeflow.costmodel.cost import NodeCost
from edgeflow.io.clusterfile import only_device
from edgeflow.io.settings import TIERS
from edgeflow.lab.labfile import LabFile, NodeSpec
from edgeflow.messages import DEVICE, Rates
from edgeflow.whatif.scene import Pair, Scene, Way, Wire

BASIS = "on paper: this machine's cores at N %, calibrated now, and the lab file's links"
FREE_MBPS = 10_000.0
"""A cable without a rate, between two namespaces of one machine."""

Calibrate = Callable[[int], Rates]
"""Rates of this machine's engine with so many threads."""


def sketch(lab: LabFile, source: str, where: str, calibrate: Calibrate) -> Scene:
    """The scene of a lab. Frames enter at `source`, or at its first device."""
    wires = tuple(
        Wire(
            link.title,
            ((link.between[0],), (link.between[1],)),
            link.up_mbps or FREE_MBPS,
            link.down_mbps or FREE_MBPS,
            link.delay_ms,
        )
        for link in lab.links
    )
    devices = [name for name, node in lab.nodes.items() if node.tier == DEVICE.name]
    measured = {
        threads: calibrate(threads) for threads in {_threads(node) for node in lab.nodes.values()}
    }
    return Scene(
        name=lab.name,
        about=lab.about,
        basis=BASIS,
        nodes={
            name: NodeCost(name, TIERS[node.tier], _rates(node, measured))
            for name, node in lab.nodes.items()
        },
        wires=wires,
        ways=_ways(lab),
        source=source or only_device(devices[:1], where),
    )


def share_of(rates: Rates, share: float) -> Rates:
    """What is left of rates when only a share of each second may be used."""
    return Rates(
        conv_flops_per_s=rates.conv_flops_per_s * share,
        matmul_flops_per_s=rates.matmul_flops_per_s * share,
        memory_bytes_per_s=rates.memory_bytes_per_s * share,
        op_overhead_s=rates.op_overhead_s / share,
        depthwise_flops_per_s=rates.depthwise_flops_per_s * share,
    )


def _threads(node: NodeSpec) -> int:
    """As many as a node of the lab runs: those that its quota feeds."""
    return int(node.settings.get("threads") or math.ceil(node.cpu))


def _rates(node: NodeSpec, measured: Mapping[int, Rates]) -> Rates | None:
    if node.bare or node.settings.get("compute") == "none":
        return None
    threads = _threads(node)
    return share_of(measured[threads], min(1.0, node.cpu / threads))


def _ways(lab: LabFile) -> dict[Pair, Way]:
    """The cables between every two nodes, where one of them can dial the other."""
    found = {}
    for first in lab.nodes:
        for second, way in _from(lab, first).items():
            if second in lab.nodes and second != first and _can_meet(lab, first, second, way):
                found[first, second] = way
    return found


def _from(lab: LabFile, start: str) -> dict[str, Way]:
    """Every node and switch, and the way there."""
    found: dict[str, Way] = {start: ()}
    left = [start]
    while left:
        here = left.pop()
        for at, link in enumerate(lab.links):
            if here in link.between:
                is_up = link.between[0] == here
                there = link.between[1] if is_up else link.between[0]
                if there not in found:
                    found[there] = (*found[here], (at, is_up))
                    left.append(there)
    return found


def _can_meet(lab: LabFile, first: str, second: str, way: Way) -> bool:
    """Links are opened outwards through a NAT, and towards a node that can be reached."""
    outwards = {is_up for at, is_up in way if lab.links[at].kind == "nat"}
    shy = {name for name in (first, second) if not lab.nodes[name].settings.get("reachable", True)}
    dials = False not in outwards and second not in shy
    is_dialled = True not in outwards and first not in shy
    return dials or is_dialled
