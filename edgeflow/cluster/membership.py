"""Who is here, what each can do, and who is lost.

    unknown --caps, heartbeat--> alive --silent for dead_s--> lost
                                   ^______ heartbeat ___________|

A heartbeat is the only proof of life, and each proves it once: it carries a number that rises. A
will is a hint: it shortens the silence we wait for, and only where our own link to that peer is
down as well. While *we* are cut from the broker, or stand still, nobody falls silent, nor while
our own heartbeat does not come back: a broker that froze tells nobody's. After our return everybody
gets time to come back too. Where our own loop lags (`edgeflow.estimation.lag`), every silence may
be as much longer.

Two processes may start under one name (`edgeflow.cluster.namesake`): one that is still starting
replaces no living one, whatever its session's number.

Invariant: what is known of a peer never goes back to an older connection, heartbeat or state, nor
to an older session, but for a newer one that never got ready.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeflow.cluster.foreign import shares_protocol
from edgeflow.messages import Caps, LayerTimes, Load, State, Tier

HEARTBEAT_S = 1.0
"""Time between two heartbeats. Shorter finds a death sooner and costs broker and radio."""
DEAD_S = 3.0
"""Silence after which a peer is lost: 3 heartbeats. Lower accuses a slow radio more often."""
DEAD_BY_WILL_S = 1.2
"""The same once its will was heard and our link to it is down: one heartbeat and some jitter."""
ECHO_S = 1.5 * HEARTBEAT_S
"""Our own heartbeat comes back within this, or we hear nobody's: silence is counted so far only.
Longer takes those for dead whom a frozen broker does not let speak."""
EASED = 0.3
"""Share of a node's time by which its other load must have become less, to make what was measured
of it, or on a link of it, doubtful. Lower tries what hardly changed, higher leaves a node that got
half idle to the next rest."""
RECONNECT_GRACE_S = 5.0
"""After our own reconnect: the largest reconnect delay (2 s) + 3 heartbeats."""
STATES = ("", "init", "ready", "draining", "offline")
"""A session's life: it never goes back, so that a late duplicate cannot undo a farewell."""
STARTING = ("", "init")
"""A session that never got further gives way: of two processes of one name the other stays."""


PEERS_MAX = 512
"""Nodes that are known: more heartbeats a second than this no node hears. Invented names never push
out one that lives."""
LAYER_TIMES_MAX = 1024
"""Messages of layer times that are kept: 100 nodes with ten models each, some 3 kB a piece."""


@dataclass(slots=True)
class Peer:
    """One other node (or this one), as far as its messages tell."""

    name: str
    session: int
    connection: int = 0
    state: str = ""
    caps: Caps | None = None
    load: Load | None = None
    heard_s: float | None = None
    """When its last live heartbeat came; None: only retained messages so far."""
    first_heard_s: float | None = None
    will_heard: bool = False
    link_up: bool = False
    left: bool = False
    """Said goodbye itself."""

    @property
    def tier(self) -> Tier | None:
        """Where it stands, once its caps are known."""
        return self.caps.tier if self.caps else None

    @property
    def other_load(self) -> float:
        """Share of its time that goes to other work than deployments; 0 where it did not say."""
        if self.load is None:
            return 0.0
        return max(0.0, self.load.cpu_percent / 100 - sum(self.load.busy.values()))


@dataclass(slots=True)
class Membership:
    """The table of peers."""

    me: str
    session: int
    peers: dict[str, Peer] = field(default_factory=dict)
    connected: bool = False
    grace_until_s: float = 0.0
    echo_s: float | None = None
    """When our own heartbeat last came back; None: not yet since we are connected."""
    stretch_s: float = 0.0
    """How far our own loop lags: what they said in time reaches us so much later."""
    layer_times: dict[tuple[str, str], LayerTimes] = field(default_factory=dict)
    """By node and model, the oldest first."""
    words: int = 0
    """Counts what was taken in of others: who keeps it knows whether to look again."""

    def on_broker(self, up: bool, now_s: float, reconnect: bool) -> None:
        """The connection came or went; leases stand still in between."""
        if up and reconnect:
            self.grace_until_s = now_s + RECONNECT_GRACE_S
        self.connected, self.echo_s = up, None

    def on_echo(self, now_s: float) -> None:
        """Our own heartbeat came back: others' do so too, those that waited with it at once."""
        if self.echo_s is not None and now_s - self.echo_s > ECHO_S + HEARTBEAT_S:
            self.on_pause(now_s - self.echo_s, now_s)
        self.echo_s = now_s

    def on_pause(self, paused_s: float, now_s: float) -> None:
        """We stood still: what they said meanwhile is still on its way to us."""
        self.grace_until_s = max(self.grace_until_s, now_s + min(paused_s, DEAD_S))

    def on_state(self, message: State, retained: bool, now_s: float) -> None:
        """A state counts if it is of the session and connection we know, or of a newer one."""
        is_ready = message.state == "ready"
        peer = self._peer(message.node, message.session, not retained, now_s, is_ready)
        if peer is None or message.connection < peer.connection:
            return
        self.words += 1
        newer = message.connection > peer.connection
        peer.connection = message.connection
        if message.state == "lost":
            peer.will_heard = True
            return
        if newer or not retained:
            peer.will_heard = False
        if message.state not in STATES or STATES.index(message.state) < STATES.index(peer.state):
            return
        peer.state = message.state
        if message.state == "offline":
            peer.left = True

    def on_caps(self, message: Caps, retained: bool) -> None:
        """The newest session's caps are kept."""
        # Caps never end a session that was heard: they tell nothing of when.
        peer = self._peer(message.node, message.session, not retained, -math.inf)
        if peer is not None:
            peer.caps = message
            self.words += 1

    def on_load(self, message: Load, now_s: float) -> None:
        """A live heartbeat: the peer is here."""
        peer = self._peer(message.node, message.session, True, now_s)
        if peer is None or (peer.load is not None and message.seq <= peer.load.seq):
            return
        if not self._is_fresh(peer, now_s):
            peer.first_heard_s = now_s
        self.words += 1
        peer.load, peer.heard_s, peer.will_heard = message, now_s, False

    def on_layer_times(self, message: LayerTimes) -> None:
        """Kept by name: a node that comes back is the same board."""
        self.layer_times.pop((message.node, message.model), None)
        while len(self.layer_times) >= LAYER_TIMES_MAX:
            del self.layer_times[next(iter(self.layer_times))]
        self.layer_times[message.node, message.model] = message
        self.words += 1

    def layers_s(self, name: str, model: str) -> tuple[float, ...]:
        """Seconds of each layer on that node, 0 where it never ran there; empty if unheard of."""
        told = self.layer_times.get((name, model))
        return tuple(value / 1e6 for value in told.layers_us) if told is not None else ()

    def on_link(self, name: str, session: int, up: bool) -> None:
        """Our own link to that session of a peer came or went."""
        peer = self.peers.get(name)
        if peer is not None and peer.session == session:
            peer.link_up = up

    def is_alive(self, name: str, now_s: float) -> bool:
        """Heard live, and not silent for too long; this node itself always is."""
        if name == self.me:
            return True
        peer = self.peers.get(name)
        return peer is not None and not peer.left and self._is_fresh(peer, now_s)

    def is_here(self, name: str, session: int, now_s: float) -> bool:
        """Alive in that very session."""
        peer = self.peers.get(name)
        is_same = peer.session == session if peer is not None else name == self.me
        return is_same and self.is_alive(name, now_s)

    def is_usable(self, name: str, session: int, now_s: float) -> bool:
        """Alive in that session and ready to compute or to submit."""
        peer = self.peers.get(name)
        return (
            peer is not None
            and peer.session == session
            and peer.state == "ready"
            and peer.caps is not None
            and shares_protocol(peer.caps)
            and self.is_alive(name, now_s)
        )

    def alive(self, now_s: float) -> Iterator[Peer]:
        """Every peer that is here, by name: with caps of its current session, in our protocol."""
        for name in sorted(self.peers):
            peer = self.peers[name]
            if peer.caps is None or peer.caps.session != peer.session:
                continue
            if shares_protocol(peer.caps) and self.is_alive(name, now_s):
                yield peer

    def _is_fresh(self, peer: Peer, now_s: float) -> bool:
        if peer.heard_s is None:
            return False
        if not self.connected or now_s < self.grace_until_s:
            return True
        limit_s = DEAD_BY_WILL_S if peer.will_heard and not peer.link_up else DEAD_S
        heard_until_s = now_s if self.echo_s is None else min(now_s, self.echo_s + ECHO_S)
        return heard_until_s - peer.heard_s <= limit_s + self.stretch_s

    def _peer(
        self, name: str, session: int, is_live: bool, now_s: float, is_ready: bool = False
    ) -> Peer | None:
        """The entry for this session, made or renewed; None where the message is of another."""
        peer = self.peers.get(name)
        if peer is None or self._is_next(peer, session, is_live, now_s, is_ready):
            if peer is None and not self._has_room(now_s):
                return None
            peer = self.peers[name] = Peer(name, session)
        return peer if session == peer.session else None

    def _has_room(self, now_s: float) -> bool:
        """For one more name; where the table is full, whoever never spoke goes, then the dead."""
        if len(self.peers) < PEERS_MAX:
            return True
        others = [peer for peer in self.peers.values() if peer.name != self.me]
        gone = next((peer for peer in others if peer.heard_s is None), None) or next(
            (peer for peer in others if not self.is_alive(peer.name, now_s)), None
        )
        if gone is not None:
            del self.peers[gone.name]
        return gone is not None

    def _is_next(
        self, peer: Peer, session: int, is_live: bool, now_s: float, is_ready: bool
    ) -> bool:
        """Whether the node of that name is in this session now, and no longer in the known one."""
        if session == peer.session:
            return False
        if not is_live and peer.heard_s is not None:
            # A retained word of another session: believe it once it is heard alive.
            return False
        if session < peer.session:
            # The newer one was a namesake's that never got ready: it gave way.
            return is_ready and peer.state in STARTING
        # A namesake that only starts does not push out one that lives: one of the two will go.
        return is_ready or peer.state in STARTING or not self.is_alive(peer.name, now_s)
