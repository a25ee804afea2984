"""A cluster on paper: what the planner is asked about, and how one number changes it.

    nodes ─────────────────────────────────▶┐
    wires ──▶ ways: a pair's wires, in turn ─▶ Cluster      rate: the thinnest, delay: the sum

    uplink.mbps=4    edge:cloud.delay_ms=20    edge-1.ratio=2    edge.memory_gb=1

A wire is set by its name, or by its ends, nodes or tiers; a node by its name or its tier.

Invariant: a scene never changes; `changed` makes another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.errors import UsageError

Pair = tuple[str, str]
Way = tuple[tuple[int, bool], ...]
"""Wires by their place in `Scene.wires`, and whether each is passed upwards."""

UNITS = {
    "mbps": "Mbit/s",
    "up_mbps": "Mbit/s",
    "down_mbps": "Mbit/s",
    "delay_ms": "ms",
    "ratio": "× the predicted time",
    "memory_gb": "GB",
}
"""What of a scene can be set, and in which unit. `mbps` is both directions."""
WIRE_KEYS = ("mbps", "up_mbps", "down_mbps", "delay_ms")
NODE_KEYS = ("ratio", "memory_gb")
TURNED = {"up_mbps": "down_mbps", "down_mbps": "up_mbps"}
"""Keys of a wire whose ends are named the other way round."""
MAY_BE_ZERO = ("delay_ms", "memory_gb")
GIGA = 1e9


def unit_of(name: str) -> str:
    """The unit of `uplink.mbps` and the like."""
    return UNITS[name.rpartition(".")[2]]


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable, a radio, a way through the internet."""

    name: str
    """Several may share one, and are then set together."""
    ends: tuple[tuple[str, ...], tuple[str, ...]]
    """Nodes or switches at either end; `up` is from the first to the second."""
    up_mbps: float
    down_mbps: float
    delay_ms: float
    """One way, in each direction."""


@dataclass(frozen=True, slots=True)
class Cited:
    """A figure of a profile that a scene uses, and where it comes from."""

    what: str
    value: float
    unit: str
    source: str
    """The public document or benchmark; of an estimate, the reasoning."""
    is_estimate: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Nodes, wires and where frames enter."""

    name: str
    about: str
    basis: str
    """What its figures are, in words: on paper, or live estimates."""
    nodes: Mapping[str, NodeCost]
    wires: tuple[Wire, ...]
    ways: Mapping[Pair, Way]
    """No entry, no link."""
    source: str
    cited: tuple[Cited, ...] = ()

    @classmethod
    def of(cls, cluster: Cluster, name: str, about: str, basis: str) -> Scene:
        """What is known of a running cluster: each direction is a wire of its own."""
        wires: list[Wire] = []
        ways: dict[Pair, Way] = {}
        for at, (sender, receiver) in enumerate(sorted(cluster.links)):
            link = cluster.links[sender, receiver]
            mbps, delay_ms = link.bytes_per_s * 8e-6, link.delay_s * 1e3
            ends = ((sender,), (receiver,))
            wires.append(Wire(f"{sender}:{receiver}", ends, mbps, mbps, delay_ms))
            ways[sender, receiver] = ((at, True),)
        return cls(name, about, basis, cluster.nodes, tuple(wires), ways, cluster.source)

    def cluster(self) -> Cluster:
        """The same in the planner's terms."""
        links = {}
        for pair, way in self.ways.items():
            passed = [(self.wires[at], is_up) for at, is_up in way]
            mbps = min(wire.up_mbps if is_up else wire.down_mbps for wire, is_up in passed)
            delay_ms = sum(wire.delay_ms for wire, _ in passed)
            links[pair] = LinkCost(delay_ms / 1e3, mbps * 1e6 / 8)
        return Cluster(self.nodes, links, self.source)

    def entered_at(self, source: str) -> Scene:
        """Frames enter at another node; UsageError where it is not there."""
        if source not in self.nodes:
            raise UsageError(
                f"{self.name}: there is no source {source}; there is {', '.join(self.nodes)}"
            )
        return replace(self, source=source)

    def changed(self, name: str, value: float) -> Scene:
        """With `name`, as in `uplink.mbps`, set; UsageError where that is nothing to set."""
        subject, _, key = name.rpartition(".")
        if key not in UNITS or not subject:
            raise UsageError(
                f"{name}: set WIRE.{'|'.join(WIRE_KEYS)} or NODE.{'|'.join(NODE_KEYS)}, "
                "as in uplink.mbps=4 or edge-1.ratio=2"
            )
        if not math.isfinite(value) or value < 0 or (value == 0 and key not in MAY_BE_ZERO):
            least = "0 or more" if key in MAY_BE_ZERO else "above 0"
            raise UsageError(f"{name}={value:g}: must be a number {least}")
        return (
            self._set_wires(subject, key, value)
            if key in WIRE_KEYS
            else self._set_nodes(subject, key, value)
        )

    def value_of(self, name: str) -> float | None:
        """What `name` is now; None where it is several things."""
        subject, _, key = name.rpartition(".")
        if key in WIRE_KEYS:
            field = "up_mbps" if key == "mbps" else key
            found = {getattr(self.wires[at], field) for at in self._wires_named(subject)}
        else:
            nodes = self._nodes_named(subject)
            found = {self.nodes[node].ratio for node in nodes} if key == "ratio" else set()
        return found.pop() if len(found) == 1 else None

    def _set_wires(self, subject: str, key: str, value: float) -> Scene:
        found = self._wires_named(subject)
        if not found:
            names = ", ".join(dict.fromkeys(wire.name for wire in self.wires)) or "none"
            raise UsageError(
                f"{subject}.{key}: there is no link {subject}; there is {names};"
                " FIRST:SECOND names the links between two nodes or tiers"
            )
        wires = list(self.wires)
        for at, is_reversed in found.items():
            wires[at] = _set(wires[at], TURNED.get(key, key) if is_reversed else key, value)
        return replace(self, wires=tuple(wires))

    def _set_nodes(self, subject: str, key: str, value: float) -> Scene:
        found = self._nodes_named(subject)
        if not found:
            raise UsageError(
                f"{subject}.{key}: there is no node or tier {subject}; "
                f"there is {', '.join(self.nodes)}"
            )
        nodes = dict(self.nodes)
        for name in found:
            if key == "ratio":
                nodes[name] = replace(nodes[name], ratio=value)
            else:
                nodes[name] = replace(nodes[name], memory_bytes=int(value * GIGA))
        return replace(self, nodes=nodes)

    def _nodes_named(self, subject: str) -> list[str]:
        """A node, or all of a tier."""
        if subject in self.nodes:
            return [subject]
        return [name for name, node in self.nodes.items() if node.tier.name == subject]

    def _wires_named(self, subject: str) -> dict[int, bool]:
        """Wires by name or by ends, and whether the ends were named the other way round."""
        found = {at: False for at, wire in enumerate(self.wires) if wire.name == subject}
        first, _, second = subject.partition(":")
        for at, wire in enumerate(self.wires):
            for is_reversed, (one, other) in enumerate((wire.ends, wire.ends[::-1])):
                if self._fits(one, first) and self._fits(other, second):
                    found.setdefault(at, bool(is_reversed))
        return found

    def _fits(self, end: tuple[str, ...], wanted: str) -> bool:
        """Is this end that node, or made of nodes of that tier?"""
        tiers = [self.nodes[name].tier.name if name in self.nodes else "" for name in end]
        return end == (wanted,) or (bool(tiers) and set(tiers) == {wanted})


def _set(wire: Wire, key: str, value: float) -> Wire:
    match key:
        case "mbps":
            return replace(wire, up_mbps=value, down_mbps=value)
        case "up_mbps":
            return replace(wire, up_mbps=value)
        case "down_mbps":
            return replace(wire, down_mbps=value)
    return replace(wire, delay_ms=value)
