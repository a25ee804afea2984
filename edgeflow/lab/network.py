"""The network of a lab: namespaces, bridges, cables, and what is done to what crosses them.

    efl-cam-1            efl-switches
    eth0 ══ up: tbf ══▶ l0b ─┐
         ◀══ down: tbf ══    ├─ bridge s0 ─ l1a ══▶ l1b ─ bridge s1 ─ …
                             │
    efl-broker: eth0 ═══════ broker, unshaped

A cable is a veth pair, or two TAP devices that the relay carries frames between where there is
delay, jitter, loss or NAT (netem in their place where the kernel has it). Each end's outgoing
queue is a token bucket of one direction's rate; a direction that is cut is a `blackhole` queue:
what is sent is dropped there, and nobody is told. Hosts that are partitioned know each other by a
wrong hardware address, which is as silent.

Invariant: all that is made here is a namespace called `efl-…`, or lies in one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeflow.errors import LabError
from edgeflow.lab import command
from edgeflow.lab.command import batch
from edgeflow.lab.labfile import BROKER, LabFile, LinkSpec
from edgeflow.lab.wires import End, Impairment, Wire

PREFIX = "efl-"
SWITCHES = f"{PREFIX}switches"
"""The namespace of all bridges; no node is called so, `switches` is refused as a name there."""
SUBNET = "10.77.0"
"""Addresses inside the lab; nothing outside can see them."""
QUEUE_MS = 100
"""What a link's queue holds before it drops: about a home router. More hides loss as delay."""
QUEUE_BYTES_MIN = 64_000
BURST_MS = 2
"""A token bucket lets so much through at once."""
BURST_BYTES_MIN = 4_000
"""Two frames and a bit, or a bucket never holds enough for one."""


@dataclass(frozen=True, slots=True)
class Cable:
    """Where the two ends of a link are."""

    first: tuple[str, str]
    """Namespace and device."""
    second: tuple[str, str]


def namespace(host: str) -> str:
    """Of a host."""
    return PREFIX + host


def addresses(lab: LabFile) -> dict[str, str]:
    """IPv4 address of each host."""
    return {host: f"{SUBNET}.{at}" for at, host in enumerate(lab.hosts, start=1)}


def cable(lab: LabFile, link: LinkSpec) -> Cable:
    """The devices of a link."""
    at = lab.links.index(lab.link(link.title))
    first, _ = link.between
    is_node = first in lab.nodes
    return Cable(
        (namespace(first), "eth0") if is_node else (SWITCHES, f"l{at}a"), (SWITCHES, f"l{at}b")
    )


def wire(lab: LabFile, link: LinkSpec) -> Wire:
    """A link as the relay carries it."""
    ends = cable(lab, link)
    return Wire(
        name=link.title,
        a=End(netns=ends.first[0], device=ends.first[1]),
        b=End(netns=ends.second[0], device=ends.second[1]),
        up=impairment(link),
        down=impairment(link),
        only_a_dials=link.kind == "nat",
    )


def impairment(link: LinkSpec) -> Impairment:
    """The same in both directions."""
    return Impairment(link.delay_ms, link.jitter_ms, link.loss_percent)


def make_namespaces(lab: LabFile) -> None:
    """Empty ones, with loopback and without IPv6."""
    for name in names(lab):
        command.run("ip", "netns", "add", name)
        quiet = "net.ipv6.conf.all.disable_ipv6=1"
        command.run("ip", "netns", "exec", name, "sysctl", "-qw", quiet)
        batch("ip", ["link set lo up"], "-n", name)


def names(lab: LabFile) -> list[str]:
    """Every namespace of a lab."""
    return [SWITCHES, *(namespace(host) for host in lab.hosts)]


def need_free(lab: LabFile) -> None:
    """LabError where a namespace of somebody else has a name that the lab wants."""
    for name in names(lab):
        if Path("/run/netns", name).exists():
            raise LabError(
                f"there is a namespace {name} that no lab made: rename the node, or take it away"
                f" with ip netns del {name}"
            )


def has_netem() -> bool:
    """Whether this kernel delays packets by itself; asked in the lab's own namespace."""
    words = ["dev", "lo", "root", "netem", "delay", "1ms"]
    if not command.succeeds("tc", "-n", SWITCHES, "qdisc", "add", *words):
        return False
    command.run("tc", "-n", SWITCHES, "qdisc", "del", *words[:3])
    return True


def make_switches(lab: LabFile) -> None:
    """Bridges, and the broker's unshaped cable."""
    lines = [f"link add s{at} type bridge" for at in range(len(lab.switches))]
    lines += [f"link set s{at} up" for at in range(len(lab.switches))]
    lines += [
        f"link add broker type veth peer name eth0 netns {namespace(BROKER)}",
        f"link set broker master s{lab.switches.index(lab.broker_switch)} up",
    ]
    batch("ip", lines, "-n", SWITCHES)


def make_cables(lab: LabFile, relayed: Sequence[LinkSpec]) -> None:
    """Veth pairs for what is not relayed (the relay has made its own); plug everything in."""
    lines = []
    for link in lab.links:
        ends = cable(lab, link)
        if link not in relayed:
            (space, device), (_, other) = ends.first, ends.second
            where = f" netns {space}" if space != SWITCHES else ""
            lines.append(f"link add {other} type veth peer name {device}{where}")
        for switch, (space, device) in zip(link.between, (ends.first, ends.second), strict=True):
            if space == SWITCHES:
                lines.append(f"link set {device} master s{lab.switches.index(switch)} up")
    batch("ip", lines, "-n", SWITCHES)
    for host, address in addresses(lab).items():
        lines = [f"addr add {address}/24 dev eth0", "link set eth0 up"]
        batch("ip", lines, "-n", namespace(host))


def shape(lab: LabFile, link: LinkSpec, cut: str, *, by_netem: bool) -> None:
    """Rates of both directions (and with netem the rest), or nothing where it is cut."""
    ends = cable(lab, link)
    sides = (("up", ends.first, link.up_mbps), ("down", ends.second, link.down_mbps))
    for direction, (space, device), mbps in sides:
        lines = _queue(device, mbps, link if by_netem and link.is_impaired else None)
        if cut in (direction, "both"):
            lines = [f"qdisc add dev {device} root blackhole"]
        if len(lines) == 1 and _changes_in_place(space, lines[0]):
            continue
        command.succeeds("tc", "-n", space, "qdisc", "del", "dev", device, "root")
        batch("tc", lines, "-n", space)


def _changes_in_place(space: str, line: str) -> bool:
    """Another rate of a token bucket that is there already: what is queued stays queued."""
    words = line.replace("qdisc add", "qdisc change").split()
    return "tbf" in words and command.succeeds("tc", "-n", space, *words)


def _queue(device: str, mbps: float | None, impaired: LinkSpec | None) -> list[str]:
    """Lines for `tc`: a token bucket, and netem below it."""
    lines = []
    if mbps is not None:
        per_ms = mbps * 1e6 / 8 / 1e3
        burst = max(BURST_BYTES_MIN, round(per_ms * BURST_MS))
        limit = burst + max(QUEUE_BYTES_MIN, round(per_ms * QUEUE_MS))
        rate = f"rate {round(mbps * 1e6)}bit burst {burst} limit {limit}"
        lines.append(f"qdisc add dev {device} root handle 1: tbf {rate}")
    if impaired:
        at = "parent 1:1" if lines else "root"
        delay = f"delay {impaired.delay_ms}ms {impaired.jitter_ms}ms"
        lines.append(
            f"qdisc add dev {device} {at} netem {delay} loss {impaired.loss_percent}% limit 100000"
        )
    return lines


def sever(lab: LabFile, pairs: Sequence[tuple[str, str]]) -> None:
    """From now on nothing that the first of a pair sends reaches the second; all others do."""
    where = addresses(lab)
    for host in lab.hosts:
        batch("ip", ["neigh flush dev eth0 nud permanent"], "-n", namespace(host))
        # A frame to oneself goes no further than the bridge: it came in where it would go out.
        own = devices(namespace(host))["eth0"]["address"]
        lines = [
            f"neigh replace {where[other]} lladdr {own} dev eth0 nud permanent"
            for sender, other in pairs
            if sender == host
        ]
        batch("ip", lines, "-n", namespace(host))


def set_congestion(lab: LabFile) -> dict[str, str]:
    """Ask for the lab's congestion control; what each host really has."""
    found = {}
    for host in lab.hosts:
        inside = ["ip", "netns", "exec", namespace(host), "sysctl"]
        command.succeeds(*inside, "-qw", f"net.ipv4.tcp_congestion_control={lab.tcp}")
        found[host] = command.run(*inside, "-n", "net.ipv4.tcp_congestion_control").strip()
    return found


def devices(space: str) -> dict[str, dict[str, Any]]:
    """What `ip` knows about each device of a namespace, counters included."""
    listed = json.loads(command.run("ip", "-n", space, "-j", "-s", "link", "show") or "[]")
    return {each["ifname"]: each for each in listed if "ifname" in each}


def carried_bytes(lab: LabFile) -> Mapping[str, tuple[int, int]]:
    """(up, down) bytes that came through each link since it was made."""
    found = devices(SWITCHES)
    counts = {}
    for link in lab.links:
        stats = found[cable(lab, link).second[1]]["stats64"]
        counts[link.title] = (int(stats["rx"]["bytes"]), int(stats["tx"]["bytes"]))
    return counts


def remove(made: Sequence[str]) -> None:
    """These namespaces, with what is in them."""
    for name in made:
        if Path("/run/netns", name).exists():
            command.run("ip", "netns", "del", name)
