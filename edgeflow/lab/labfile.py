"""A lab on paper: nodes, switches, the links between them, and what happens when.

    [nodes.cam-1]  tier, cpu            a machine: a network namespace with a CPU quota
    switches       home, internet       a bridge; the broker is plugged into one of them
    [[links]]      cam-1 ── home        a cable: rate, delay, jitter, loss, a direction each
    [[timeline]]   at_s, do, …          edgeflow.lab.changes

Nodes and switches form a tree, so that there is exactly one way between any two of them, and every
byte on it can be counted. `up` is from the first end of a link to the second.

Every error names the file, the place in it, and the cure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from edgeflow.errors import UsageError
from edgeflow.io.settings import TIERS, read_toml
from edgeflow.lab import tracing
from edgeflow.lab.changes import Change, subjects_of
from edgeflow.messages import Name

BROKER = "broker"
"""The broker's name in links and changes."""
MACHINE_SHARE_MAX = 0.8
"""Of all cores, for nodes and relay together: above it they would wait for each other."""
RELAY_CORES, RELAY_CORES_PER_MBPS = 0.05, 0.001
"""What the relay takes of this machine: its rounds, and each Mbit/s that it carries; measured on
x86 at MTU 1500, 10 to 100 Mbit/s."""
CPU_MIN = 0.02
"""Cores. A quota is at least 1 ms, and its period at most 50 ms, or a node stutters."""

Positive = Annotated[float, Meta(gt=0)]
Milliseconds = Annotated[float, Meta(ge=0, le=10_000)]


class NodeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One machine."""

    tier: str
    """device edge cloud"""
    cpu: Annotated[float, Meta(ge=CPU_MIN)]
    """Cores: 0.2 is a fifth of one core of this machine."""
    settings: dict[str, Any] = {}
    """More settings of the node, as in a node's own file: `threads`, `reachable`, …"""
    bare: bool = False
    """Nothing runs there: a place for a program that connects by itself (`lab exec`)."""


class LinkSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A cable or a radio between a node or switch and a switch."""

    between: tuple[Name, Name]
    name: str = ""
    """Default: `first:second`."""
    up_mbps: Positive | None = None
    """From the first end to the second; None: as fast as it goes."""
    down_mbps: Positive | None = None
    delay_ms: Milliseconds = 0.0
    """One way, in each direction."""
    jitter_ms: Milliseconds = 0.0
    loss_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    kind: Literal["plain", "nat"] = "plain"
    """nat: connections are only opened from the first end's side."""

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or ":".join(self.between)

    @property
    def is_impaired(self) -> bool:
        """More than a rate."""
        return bool(self.delay_ms or self.jitter_ms or self.loss_percent) or self.kind == "nat"


class LabFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    name: Name
    nodes: dict[Name, NodeSpec]
    links: tuple[LinkSpec, ...]
    switches: tuple[Name, ...] = ("home",)
    broker_at: Name | None = None
    """The switch of the broker; default: the first."""
    about: str = ""
    tcp: str = "cubic"
    """Congestion control wanted in each namespace; boards use cubic."""
    clocks: bool = False
    """The change `clock` can set nodes' time of day; takes a C compiler."""
    timeline: tuple[Change, ...] = ()

    @property
    def broker_switch(self) -> str:
        """Where the broker is plugged in."""
        return self.broker_at or self.switches[0]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Everything with an address: the broker, then the nodes."""
        return (BROKER, *self.nodes)

    @property
    def running(self) -> tuple[str, ...]:
        """Nodes that the lab starts."""
        return tuple(name for name, node in self.nodes.items() if not node.bare)

    def link_of(self, node: str) -> LinkSpec:
        """The one cable of a node."""
        return next(link for link in self.links if link.between[0] == node)

    def link(self, title: str) -> LinkSpec:
        """By its name."""
        return next(link for link in self.links if link.title == title)

    @property
    def cores(self) -> float:
        """What the nodes and the relay may use of this machine, in cores."""
        relayed = [link for link in self.links if link.is_impaired]
        rates = [max(link.up_mbps or 0.0, link.down_mbps or 0.0) for link in relayed]
        relay = RELAY_CORES + RELAY_CORES_PER_MBPS * sum(rates) if relayed else 0.0
        return sum(node.cpu for node in self.nodes.values()) + relay


def load(path: Path) -> LabFile:
    """Read and check a lab file, and the traces it names; UsageError says what is wrong in it."""
    lab = convert(read_toml(path), str(path))
    timeline = tracing.located(lab.timeline, path.absolute().parent)
    return msgspec.structs.replace(lab, timeline=timeline)


def convert(table: dict[str, Any], where: str) -> LabFile:
    """A lab out of a table, checked as a whole."""
    try:
        lab = msgspec.convert(table, LabFile)
    except msgspec.ValidationError as error:
        hint = ""
        if "mbps" in str(error):
            hint = "; a rate is above 0: leave it out for no limit, or cut the link on the timeline"
        raise UsageError(f"{where}: {error}{hint}") from None
    for problem in _problems(lab):
        raise UsageError(f"{where}: {problem}")
    return lab


def need_room(lab: LabFile, cores: int) -> None:
    """UsageError where nodes and relay would not have the machine to themselves."""
    most = MACHINE_SHARE_MAX * cores
    if lab.cores > most + 1e-9:
        nodes = sum(node.cpu for node in lab.nodes.values())
        raise UsageError(
            f"{lab.name} wants {lab.cores:.2f} cores ({nodes:.2f} for nodes,"
            f" {lab.cores - nodes:.2f} to relay delayed links), but {most:.2f} is all it may use of"
            f" this machine's {cores} ({MACHINE_SHARE_MAX:.0%}): lower `cpu` of some nodes or the"
            " rate of delayed links, or take a larger machine"
        )


def _problems(lab: LabFile) -> Iterator[str]:
    """What is wrong with a lab, in sentences."""
    if not lab.nodes:
        yield "there is no node; add [nodes.edge-1] with tier and cpu"
    if not lab.switches:
        yield 'there is no switch; add switches = ["home"]'
        return
    for name, node in lab.nodes.items():
        if name in (*lab.switches, BROKER, "switches"):
            yield f"nodes.{name}: the name is taken"
        if node.tier not in TIERS:
            yield f"nodes.{name}: tier {node.tier!r} is none of {', '.join(TIERS)}"
    if lab.broker_switch not in lab.switches:
        yield f"broker_at: there is no switch {lab.broker_at}; there is {', '.join(lab.switches)}"
    yield from _end_problems(lab)
    yield from _tree_problems(lab)
    yield from _nat_problems(lab)
    yield from _timeline_problems(lab)


def _end_problems(lab: LabFile) -> Iterator[str]:
    """Each end of a link is somewhere, and each link has a name of its own."""
    there = (*lab.nodes, *lab.switches)
    titles = [link.title for link in lab.links]
    for at, link in enumerate(lab.links):
        for end in link.between:
            if end not in there:
                yield f"links[{at}]: there is no node or switch {end}; there is {', '.join(there)}"
        if link.between[1] in lab.nodes:
            yield f"links[{at}]: the second end must be a switch, {link.between[1]} is a node"
        if link.between[0] in {each.between[0] for each in lab.links[:at]} & lab.nodes.keys():
            yield f"links[{at}]: {link.between[0]} has a link already; put a switch in between"
        if link.title in titles[:at]:
            yield f"links[{at}]: {link.title} is there twice; give one another name"


def _tree_problems(lab: LabFile) -> Iterator[str]:
    """Exactly one way between any two: a node has one link, and switches make no circle."""
    joined = {name: name for name in (*lab.nodes, *lab.switches)}

    def root(name: str) -> str:
        while joined[name] != name:
            name = joined[name]
        return name

    for at, link in enumerate(lab.links):
        if not joined.keys() >= {*link.between}:
            continue
        first, second = link.between
        if root(first) == root(second):
            yield f"links[{at}]: {first} and {second} are already connected; one way is enough"
        joined[root(first)] = root(second)
    for name in joined:
        if root(name) != root(lab.switches[0]):
            yield f"{name} is not connected: add [[links]] with between = [{name!r}, SWITCH]"


def _nat_problems(lab: LabFile) -> Iterator[str]:
    """Who is beyond a NAT must not have to dial a broker behind it."""
    for link in lab.links:
        inside, outside = link.between
        if link.kind == "nat" and lab.broker_switch in _side(lab, inside, link):
            beyond = sorted(_side(lab, outside, link) & lab.nodes.keys())
            if beyond:
                yield (
                    f"{link.title}: {', '.join(beyond)} cannot dial a broker behind NAT; plug it in"
                    f' on the other side: broker_at = "{outside}"'
                )


def _side(lab: LabFile, start: str, without: LinkSpec) -> set[str]:
    """What can be reached from `start` without one link."""
    found, left = set(), [start]
    while left:
        found.add(left.pop())
        for link in lab.links:
            if link != without and found & {*link.between}:
                left += {*link.between} - found - {*left}
    return found


def _timeline_problems(lab: LabFile) -> Iterator[str]:
    there = {
        "link": [link.title for link in lab.links],
        "node": [*lab.nodes],
        "host": [*lab.hosts],
    }
    for at, change in enumerate(lab.timeline):
        for kind, name in subjects_of(change):
            if name not in there[kind]:
                listed = ", ".join(there[kind])
                yield f"timeline[{at}]: there is no {kind} {name}; there is {listed}"
