"""Links to the other nodes: who dials whom, which are up, and how fast each is.

    alive peer ─▶ one of the two dials ─▶ up ─▶ probes of two sizes ─▶ measured ─▶ receipts keep it
                                                          a doubted receipt ─▶ probes at once ─┘

The node of the lower tier dials the one of the higher, within a tier the lower name dials; a node
that nobody can reach always dials. Two such nodes have no link, and the planner knows.

Invariant: at most one link per peer, always to the session that membership believes in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.estimate import LinkEstimate
from edgeflow.events import CloseLink, Effect, OpenLink, SendProbe
from edgeflow.headers import size_bytes
from edgeflow.membership import Peer
from edgeflow.messages import Caps, Endpoint, LinkReport, ProbeData, TensorHead

PROBES_BYTES = (1 << 10, 64 << 10, 1 << 10, 256 << 10)
"""Sent one by one over a new link: sizes apart tell delay from rate, and the largest is long beside
what a busy machine adds; 256 kB at 8 Mbit/s take 0.26 s."""
AGAIN_BYTES, AGAIN_S = (1 << 10, 256 << 10, 1 << 10, 256 << 10, 1 << 10, 256 << 10), 0.5
"""Sent as well where the largest took less than that: a busy node's hiccup looks like a slow link,
and tiles are planned by who is how well linked. Slower links are spared a megabyte."""
PROBE_IDLE_S, PROBE_FIRST_S = 60.0, 1.0
"""A link is probed once in so long while this node has nothing to do, 90 MB a day at most; a new
one the sooner, after 1, 2, 4 … s: nodes that have just started are too busy to tell much."""
SMALL_BYTES, SMALL_S = 1 << 10, 5.0
"""Of the probe that tells what a message takes beside its bytes, there and back. One goes before
each larger probe, and so often over every link while frames pass through this node: all frames are
of one size, and what that takes could be delay or rate. Rarer trusts for longer what was measured
while both were busy."""
PROBE_LIVE_S = 2.0
"""While frames pass through this node, a link that nothing told the rate of for so long: the plan
may lead past it because it was slow, and nobody would see that it is quick again. Links to lower
tiers carry results alone, which tell of themselves."""
PROBE_USED_S = 10.0
"""The same of a quick link that carries small messages: they show if it gets slow, and then a probe
that is as large as a quick link takes it would be in their way."""
LIVE_S = 20.0
"""Without a frame for so long there is nothing to do."""
PROBE_TAKES_S = 0.04
"""Such a probe is as large as takes so long, 64 kB at most: 2 % of a slow link's time, 33 kB/s of a
quick one's bytes. Less than `estimate.TELLING_S` would tell nothing."""
PROBE_BYTES_MIN, PROBE_BYTES_MAX = 8 << 10, 64 << 10
DOUBT, DOUBTED_MAX = math.log(1.5), 3
"""So far off as a logarithm, a message asks for probes at once, so many in a row: a step is then
known one frame after it."""
LOOKS_MAX, LOOKS_S = 2, 2.0
"""So many such probes in so long: a busy machine's hiccups ask for them as well."""
SHARED, SHARED_S = 2, 1.0
"""After so many of them in a row every other link on which frames may leave is probed once, unless
its rate was told so lately: they may share what became slow, or quick, and a plan would lead there
next. A camera has one radio."""
PROBE_LOST_S = 10.0
"""A probe without a receipt for so long is sent again."""
SAMPLE_S = 0.05
"""Of a busy link one receipt in so long is a sample: a fit costs as much as a small frame."""
LINKS_MAX = 64
"""Peers that are linked at once: each costs four sockets' worth of memory and a heartbeat."""


@dataclass(slots=True)
class Neighbour:
    """One link, as this node sees it."""

    session: int
    endpoints: tuple[Endpoint, ...] = ()
    """Where it is dialled; empty where it dials."""
    is_up: bool = False
    estimate: LinkEstimate = field(default_factory=LinkEstimate)
    probes: list[int] = field(default_factory=list)
    asked_s: float = 0.0
    sampled_s: float = 0.0
    rated_s: float = 0.0
    """When a message last told the rate."""
    tripped_s: float = 0.0
    """When a small probe was last sent."""
    is_way: bool = False
    """Frames may take it: they passed lately, and it leads to no lower tier."""
    rounds: int = 0
    """Probes sent since it is up, beside the first ones."""
    used_s: float = -math.inf
    """When a message that was no probe last crossed it."""
    doubted: int = 0
    """Messages in a row that were far off."""
    looks: int = 0
    """Probes that they asked for since `looks_s`."""
    looks_s: float = -math.inf
    sent_bytes: int = 0
    loss: float = 0.0
    """Share of the last messages with a receipt wanted that had none."""

    @property
    def probe_bytes(self) -> int:
        """Of a probe that tells whether the rate is what it was."""
        size = int(PROBE_TAKES_S * self.estimate.bytes_per_s)
        return min(max(size, PROBE_BYTES_MIN), PROBE_BYTES_MAX)

    def is_doubted(self, nbytes: int, seconds: float) -> bool:
        """Whether a message took so much longer or shorter that the link may be another one."""
        expected_s = self.estimate.seconds(nbytes)
        if self.estimate.samples < len(PROBES_BYTES) or seconds <= 0 or expected_s <= 0:
            return False
        return abs(math.log(seconds / expected_s)) > DOUBT

    def rest_s(self, now_s: float) -> float:
        """How long after the last message that told the rate a probe is sent."""
        if not self.is_way:
            return min(PROBE_IDLE_S, PROBE_FIRST_S * 2.0 ** min(self.rounds, 30))
        is_used = now_s - self.used_s < PROBE_LIVE_S
        return PROBE_USED_S if is_used and self.probe_bytes >= PROBE_BYTES_MAX else PROBE_LIVE_S

    def needs_look(self, now_s: float) -> bool:
        """Whether to send a probe at once."""
        if not 0 < self.doubted < DOUBTED_MAX:
            return False
        if now_s - self.looks_s >= LOOKS_S:
            self.looks, self.looks_s = 0, now_s
        self.looks += 1
        return self.looks <= LOOKS_MAX


@dataclass(slots=True)
class Neighbours:
    """Every link of this node."""

    me: str
    links: dict[str, Neighbour] = field(default_factory=dict)
    _linked: frozenset[str] | None = None

    def linked(self) -> frozenset[str]:
        """Peers whose link is up; asked for at every frame, so it is kept."""
        if self._linked is None:
            self._linked = frozenset(name for name, link in self.links.items() if link.is_up)
        return self._linked

    def tick(
        self, mine: Caps | None, alive: Iterable[Peer], is_live: bool, now_s: float
    ) -> list[Effect]:
        """Open what is missing, close what is over, probe what is idle: the more often where frames
        passed lately (`is_live`). One that is here is no reason to wait: there may always be one,
        and what it uses needs no probe."""
        if mine is None:
            return []
        here = {peer.name: peer for peer in alive if peer.name != self.me}
        effects: list[Effect] = []
        for name, link in list(self.links.items()):
            if name not in here and not link.is_up:
                del self.links[name]
                effects.append(CloseLink(name))
        for peer in here.values():
            effects += self._open(mine, peer)
        for name, link in self.links.items():
            link.is_way = is_live and _leads_up(mine, here.get(name))
            effects += self._probe(name, link, is_live, now_s)
        return effects

    def on_up(self, name: str, session: int, now_s: float) -> list[Effect]:
        """Both lanes answered."""
        link = self.links.get(name)
        if link is None or link.session != session:
            return []
        link.is_up, link.probes, link.doubted, link.rounds = True, list(PROBES_BYTES), 0, 0
        link.sampled_s = link.rated_s = link.tripped_s = now_s
        self._linked = None
        return self._next_probe(name, link, now_s)

    def on_down(self, name: str, session: int) -> None:
        """The link layer goes on dialling; until it is up again nothing is sent."""
        link = self.links.get(name)
        if link is not None and link.session == session:
            link.is_up = False
            self._linked = None

    def on_transferred(
        self, name: str, nbytes: int, seconds: float, now_s: float, loss: float = 0.0
    ) -> list[Effect]:
        """A receipt: one more sample."""
        link = self.links.get(name)
        if link is None:
            return []
        link.loss = min(max(loss, 0.0), 1.0)
        if not link.probes and now_s - link.sampled_s < SAMPLE_S:
            return []
        is_doubted = link.is_doubted(nbytes, seconds)
        link.estimate = link.estimate.add(nbytes, seconds)
        if not link.probes:
            link.used_s = now_s
        link.sampled_s = now_s
        if link.estimate.is_telling(nbytes):
            link.rated_s = now_s
            link.doubted = link.doubted + 1 if is_doubted else 0
        if link.probes and link.asked_s:
            link.probes.pop(0)
            is_first = link.estimate.samples == len(PROBES_BYTES)
            if is_first and not link.probes and seconds < AGAIN_S:
                link.probes = list(AGAIN_BYTES)
        if not link.probes and link.needs_look(now_s):
            link.probes = [link.probe_bytes]
        effects = self._next_probe(name, link, now_s)
        return effects + (self._look_around(name, now_s) if link.doubted == SHARED else [])

    def _look_around(self, doubted: str, now_s: float) -> list[Effect]:
        """Links that may share a radio or an up-link with one that became another."""
        effects: list[Effect] = []
        for name, link in self.links.items():
            is_known = name == doubted or now_s - link.rated_s < SHARED_S
            if link.is_way and link.is_up and not (link.probes or is_known):
                link.probes = [link.probe_bytes]
                effects += self._next_probe(name, link, now_s)
        return effects

    def count(self, name: str, tensors: Iterable[TensorHead]) -> None:
        """These tensors were sent."""
        if name in self.links:
            self.links[name].sent_bytes += size_bytes(tensors)

    def report(self) -> dict[str, LinkReport]:
        """For the heartbeat."""
        return {
            name: LinkReport(
                link.is_up,
                link.estimate.delay_s,
                link.estimate.bytes_per_s,
                link.sent_bytes,
                link.estimate.samples,
                deviation_s=link.estimate.deviation_s,
                loss=link.loss,
                typical_bytes=link.estimate.typical_bytes,
            )
            for name, link in self.links.items()
        }

    def _open(self, mine: Caps, peer: Peer) -> list[Effect]:
        assert peer.caps is not None
        caps, link = peer.caps, self.links.get(peer.name)
        if link is None and len(self.links) >= LINKS_MAX:
            return []
        if not (mine.reachable or caps.reachable):
            return []
        endpoints = caps.endpoints if dials(mine, caps) else ()
        if link is not None and link.session == peer.session:
            if link.is_up or link.endpoints == endpoints:
                return []
            # It moved: the old addresses may never answer again.
            link.endpoints = endpoints
        else:
            self.links[peer.name] = Neighbour(peer.session, endpoints)
            self._linked = None
        return [OpenLink(peer.name, peer.session, endpoints, caps.public_key, caps.tier.name)]

    def _probe(self, name: str, link: Neighbour, is_live: bool, now_s: float) -> list[Effect]:
        """What is due on a link."""
        if not link.is_up:
            return []
        if link.probes:
            is_lost = now_s - link.asked_s > PROBE_LOST_S
            return self._next_probe(name, link, now_s) if is_lost else []
        if now_s - link.rated_s > link.rest_s(now_s):
            link.probes = [SMALL_BYTES, link.probe_bytes]
            link.rounds += 1
        elif is_live and now_s - link.tripped_s > SMALL_S:
            link.probes = [SMALL_BYTES]
        return self._next_probe(name, link, now_s)

    def _next_probe(self, name: str, link: Neighbour, now_s: float) -> list[Effect]:
        if not link.probes:
            return []
        link.asked_s = now_s
        if link.probes[0] == SMALL_BYTES:
            link.tripped_s = now_s
        return [SendProbe(name, ProbeData(link.probes[0]))]


def _leads_up(mine: Caps, peer: Peer | None) -> bool:
    """Whether a plan may send tensors from here to that peer."""
    return peer is not None and peer.caps is not None and peer.caps.tier.rank >= mine.tier.rank


def dials(mine: Caps, other: Caps) -> bool:
    """Whether the first of two nodes dials the second; never both, never neither."""
    if mine.reachable != other.reachable:
        return other.reachable
    return (mine.tier.rank, mine.node) < (other.tier.rank, other.node)
