"""What the weather is: hosts, what their links carry, and what changes when.

    link A B 4mbps    load NODE 0.8    noise A B 0.2    kill NODE    join NODE

`*` stands for every node. A load of 0.8 leaves a fifth of the machine, so all takes five times as
long; noise of 0.2 moves a rate by up to 20 % either way, anew each second. A node that joins later
is not here before.

Invariant: a Weather is data; what it cannot mean is refused before anything is simulated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.errors import UsageError
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Tier
from edgeflow.traces import Trace

ANY = "*"
_FORMS = {
    "link": re.compile(r"link (\S+) (\S+) ([0-9.]+)mbps"),
    "noise": re.compile(r"noise (\S+) (\S+) ([0-9.]+)"),
    "load": re.compile(r"load (\S+) ([0-9.]+)"),
    "kill": re.compile(r"kill (\S+)"),
    "join": re.compile(r"join (\S+)"),
}


@dataclass(frozen=True, slots=True)
class Host:
    """One machine, before chance makes it faster or slower."""

    name: str
    tier: Tier
    rates: Rates
    mbps: float = 100.0
    """Between it and any other; of two the lower counts."""
    delay_s: float = 0.001
    """The same; of two the higher counts."""


def cluster_of(hosts: Sequence[Host]) -> Cluster:
    """All linked with all; frames enter at the first."""
    links = {
        (a.name, b.name): LinkCost(max(a.delay_s, b.delay_s), min(a.mbps, b.mbps) * 1e6 / 8)
        for a in hosts
        for b in hosts
        if a is not b
    }
    nodes = {host.name: NodeCost(host.name, host.tier, host.rates) for host in hosts}
    return Cluster(nodes, links, hosts[0].name)


HOME = cluster_of(
    (
        Host("cam-1", DEVICE, Rates(4e9, 3e9, 3e9, 2e-5)),
        Host("edge-1", EDGE, Rates(7e10, 4e10, 2e10, 1e-5)),
        Host("edge-2", EDGE, Rates(1.4e11, 8e10, 4e10, 1e-5)),
        Host("cloud-1", CLOUD, Rates(2e11, 2e11, 4e10, 5e-6), 50.0, 0.005),
    )
)
"""A camera, edge nodes beside it, a cloud machine behind 50 Mbit/s. edge-2 is here where the script
lets it join."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the script, read."""

    at_s: float
    kind: str
    nodes: tuple[str, ...]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Weather:
    """All that decides a run."""

    seed: int = 0
    policy: str = "mincut"
    minutes: float = 2.0
    rate_fps: float = 2.0
    events: tuple[tuple[float, str], ...] = ()
    """(seconds, words as above)."""
    traces: tuple[tuple[str, Trace], ...] = ()
    """("A B", rates from the start, over and over); before `link` events."""
    radios: tuple[str, ...] = ()
    """Hosts whose links are one radio: what leaves for one peer waits for what left for others."""
    cluster: Cluster = HOME
    """What the machines and links are like, before chance and events."""
    stocked: bool = True
    """Has every node all weights? Else they come from the source, over the same links."""
    tiles: bool = True
    objective: str = "latency"

    @property
    def ends_s(self) -> float:
        """When the last frame is handed in."""
        return 60 * self.minutes

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """The script, in the order of time; UsageError where a line means nothing."""
        found = [_read(at_s, words, self.cluster.nodes) for at_s, words in self.events]
        return tuple(sorted(found, key=lambda each: each.at_s))

    @property
    def fleet(self) -> tuple[NodeCost, ...]:
        """Nodes that are here at some time; in HOME one that nobody lets join never is."""
        joining = {each.nodes[0] for each in self.happenings if each.kind == "join"}
        spare = {"edge-2"} - joining if self.cluster is HOME else set()
        return tuple(node for name, node in self.cluster.nodes.items() if name not in spare)

    def here(self, name: str) -> Iterator[tuple[float, bool]]:
        """(seconds, whether it is here) from the start on."""
        mine = [each for each in self.happenings if each.nodes == (name,)]
        comings = [each for each in mine if each.kind in ("join", "kill")]
        yield 0.0, not comings or comings[0].kind == "kill"
        yield from ((each.at_s, each.kind == "join") for each in comings)


def _read(at_s: float, words: str, names: Collection[str]) -> Happening:
    """One line; UsageError says what it may be."""
    form = _FORMS.get(words.split(" ", 1)[0])
    match = form.fullmatch(words.strip()) if form is not None else None
    if match is None or at_s < 0:
        raise UsageError(
            f"{words!r} at {at_s:g} s means nothing: write link A B 4mbps, load NODE 0.8,"
            " noise A B 0.2, kill NODE or join NODE, at 0 s or later"
        )
    given = list(match.groups())
    value = float(given.pop()) if words.startswith(("link", "noise", "load")) else 0.0
    kind = words.split(" ", 1)[0]
    for name in given:
        if name not in names and name != ANY:
            raise UsageError(f"{words!r}: no node {name!r}; there are {', '.join(sorted(names))}")
    if (kind == "link" and value <= 0) or (kind in ("load", "noise") and value >= 1):
        raise UsageError(f"{words!r}: a rate is above 0, a load or noise below 1")
    return Happening(at_s, kind, tuple(given), value)
