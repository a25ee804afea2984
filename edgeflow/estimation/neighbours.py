"""Links to the other nodes: who dials whom, which are up, and whose step may be shared.

    alive peer ─▶ one of the two dials ─▶ up ─▶ measured (`edgeflow.estimation.neighbour`)
    a link became another ─▶ the others of this node are probed, and presumed slower meanwhile
    one end is less busy, the way back is quicker ─▶ what messages took holds no more: probed

The node of the lower tier dials the one of the higher, within a tier the lower name dials; a node
that nobody can reach always dials. Two such nodes have no link, and the planner knows.

Invariant: at most one link per peer, always to the session that membership believes in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.cluster.membership import Peer
from edgeflow.estimation.link import LinkEstimate
from edgeflow.estimation.neighbour import PROBE_SMALL_BYTES, PROBE_SMALL_S, Neighbour
from edgeflow.events import CloseLink, Effect, OpenLink, SendProbe, Transferred
from edgeflow.layout.headers import size_bytes
from edgeflow.messages import Caps, LinkReport, ProbeData, TensorHead

LIVE_S = 20.0
"""Without a frame for so long there is nothing to do."""
PROBE_LOST_S = 10.0
"""A probe without a receipt for so long is sent again."""
LINKS_MAX = 64
"""Peers that are linked at once: each costs four sockets' worth of memory and a heartbeat."""


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
        here = {peer.name: peer for peer in alive}
        me = here.pop(self.me, None)
        effects: list[Effect] = []
        for name, link in list(self.links.items()):
            if name not in here and not link.is_up:
                del self.links[name]
                effects.append(CloseLink(name))
        for peer in here.values():
            effects += self._open(mine, peer)
        for name, link in self.links.items():
            link.is_way = is_live and _leads_up(mine, here.get(name))
            if link.is_up and self._asks(link, me, here.get(name), now_s):
                effects += self._next_probe(name, link, now_s)
            effects += self._probe(name, link, is_live, now_s)
        return effects

    def on_up(self, name: str, session: int, now_s: float) -> list[Effect]:
        """Both lanes answered."""
        link = self.links.get(name)
        if link is None or link.session != session:
            return []
        link.on_up(now_s)
        self._linked = None
        return self._next_probe(name, link, now_s)

    def on_down(self, name: str, session: int) -> None:
        """The link layer goes on dialling; until it is up again nothing is sent."""
        link = self.links.get(name)
        if link is not None and link.session == session:
            link.is_up = False
            self._linked = None

    def on_transferred(self, receipt: Transferred, now_s: float) -> list[Effect]:
        """One more sample."""
        name, link = receipt.peer, self.links.get(receipt.peer)
        if link is None:
            return []
        link.loss, link.handed_s = min(max(receipt.loss, 0.0), 1.0), receipt.handed_s
        before = link.learn(receipt.size_bytes, receipt.seconds, now_s)
        effects = self._next_probe(name, link, now_s)
        if before is not None:
            effects += self._look_around(name, link.estimate, before, now_s)
        return effects

    def _look_around(
        self, stepped: str, now: LinkEstimate, before: LinkEstimate, now_s: float
    ) -> list[Effect]:
        """Links that may share a radio or an up-link with one that became another, and on which
        frames may leave: probed, and presumed to be slower too until that tells. A camera has one
        radio. Not those whose rate a message told that left after the one that showed the step."""
        effects: list[Effect] = []
        nbytes, shown_s = now.typical_bytes, self.links[stepped].handed_s
        is_slower = now.seconds(nbytes) > before.seconds(nbytes)
        for name, link in self.links.items():
            is_known = name == stepped or link.told_s >= shown_s
            if not link.is_way or not link.is_up or is_known or link.estimate.bytes_per_s <= 0:
                continue
            if is_slower:
                link.presume(now, now_s)
            if not link.probes:
                link.probes = [link.probe_bytes]
                effects += self._next_probe(name, link, now_s)
        return effects

    def count(self, name: str, tensors: Iterable[TensorHead]) -> None:
        """These tensors were sent."""
        if name in self.links:
            self.links[name].sent_bytes += size_bytes(tensors)

    def report(self, now_s: float) -> dict[str, LinkReport]:
        """For the heartbeat."""
        return {name: link.report(now_s) for name, link in self.links.items()}

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

    def _asks(self, link: Neighbour, me: Peer | None, peer: Peer | None, now_s: float) -> bool:
        """Whether what its ends say now asks for probes."""
        load = max((end.other_load for end in (me, peer) if end is not None), default=0.0)
        told = peer.load.links if peer is not None and peer.load is not None else {}
        return link.on_told(load, told.get(self.me), now_s)

    def _probe(self, name: str, link: Neighbour, is_live: bool, now_s: float) -> list[Effect]:
        """What is due on a link."""
        if not link.is_up:
            return []
        if link.probes:
            is_lost = now_s - link.asked_s > PROBE_LOST_S
            return self._next_probe(name, link, now_s) if is_lost else []
        if now_s - link.rated_s > link.rest_s(now_s):
            link.probes = [PROBE_SMALL_BYTES, link.probe_bytes]
            link.rounds += 1
        elif is_live and now_s - link.tripped_s > PROBE_SMALL_S:
            link.probes = [PROBE_SMALL_BYTES]
        return self._next_probe(name, link, now_s)

    def _next_probe(self, name: str, link: Neighbour, now_s: float) -> list[Effect]:
        if not link.probes:
            return []
        link.asked_s = now_s
        if link.probes[0] == PROBE_SMALL_BYTES:
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
