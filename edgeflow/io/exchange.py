"""The links of one node, and what both the sending and the receiving side do with them.

Invariant: LinkUp and LinkDown of a session alternate; messages of a session come between them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from edgeflow.codec import Buffer, CodecError, encode_signal
from edgeflow.config import Emulate
from edgeflow.estimation.receipts import Receipts
from edgeflow.events import LinkDown, LinkUp
from edgeflow.io.arrivals import Arrival
from edgeflow.io.doors import Doors
from edgeflow.io.gate import Gate
from edgeflow.io.lanes import Lane
from edgeflow.io.link import Accepted, Dialled, Link, LinkGoneError, Waiting
from edgeflow.io.pacing import Pacing
from edgeflow.io.watch import Watch
from edgeflow.io.zap import Zap
from edgeflow.messages import Hello, Receipt, SignalMessage, Welcome

FULL_RETRY_S = 0.002
"""After ZeroMQ took no more for a peer."""
_log = logging.getLogger("edgeflow.links")


class Exchange:
    """Who is linked, what waits, what was refused."""

    def __init__(
        self,
        me: Hello,
        emulate: Emulate,
        clock: Callable[[], float],
        doors: Doors | None,
        zap: Zap | None,
    ) -> None:
        self.me = me
        self.clock = clock
        self.doors = doors
        self.zap = zap
        self.links: dict[str, Link] = {}
        self.events: list[Arrival] = []
        self.counters: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self.samples: Counter[str] = Counter()
        self.gate = Gate()
        self.pacing = Pacing(emulate)
        self.receipts = Receipts(self.pacing.is_shared)
        self.full_until_s = 0.0
        self.watch = Watch()
        if zap:
            self.watch.add(zap.socket)
        if doors:
            self.watch.add(*doors.sockets.values(), *doors.monitors.values())

    def close(self) -> None:
        """Stop listening."""
        self.watch.clear()
        if self.doors:
            self.doors.close(self.gate.cut_all())
        if self.zap:
            self.zap.socket.close(linger=0)
        self.doors = self.zap = None

    def refuse(self, reason: str, sentence: str) -> None:
        """Count, and say so the 1st, 10th, 100th … time."""
        self.counters[reason] += 1
        if str(self.counters[reason]).strip("0") == "1":
            _log.warning("%s (%s, %d so far)", sentence, reason, self.counters[reason])

    def receipted(self, link: Link, receipt: Receipt, now_s: float) -> None:
        """One of our tensor messages arrived."""
        if event := self.receipts.came(link.peer, receipt, now_s):
            self.samples[link.peer] += 1
            self.events.append(event)

    def came_up(self, link: Link) -> None:
        """Both lanes are proven."""
        link.is_up = True
        for connection in link.connections.values():
            connection.is_proven = True
        self.events.append(LinkUp(link.peer, link.session))

    def admit(self, peer: str) -> None:
        """Welcome a peer that we accept, if it has knocked on both lanes."""
        link = self.links.get(peer)
        if not (isinstance(link, Accepted) and self.doors):
            return
        knock = self.doors.take(peer, link.session)
        if knock is None:
            return
        self.drop(link)
        link.attempt = knock.attempt
        link.routing_ids = dict.fromkeys(Lane, knock.routing_id)
        link.connections = knock.connections
        try:
            for lane in Lane:
                self.welcome(link, lane)
        except LinkGoneError:
            link.fall()
        else:
            self.came_up(link)

    def welcome(self, link: Link, lane: Lane) -> None:
        """Answer a Hello."""
        link.transmit(lane, [encode_signal(Welcome(self.me.node, self.me.session))])

    def drop(self, link: Link) -> None:
        """The link is down: end its connections. Whoever dials it dials again."""
        was_up = link.is_up
        if isinstance(link, Dialled):
            self.watch.remove(*link.sockets.values(), *link.monitors.values())
            link.stop(self.gate, self.clock())
        else:
            for connection in link.connections.values():
                self.gate.cut(connection)
            link.fall()
        self.pacing.forget(link.peer)
        self.receipts.forget(link.peer)
        if was_up:
            self.events.append(LinkDown(link.peer, link.session))

    def signal(self, link: Link, message: SignalMessage) -> bool:
        """Send a signal on a link that is up; what cannot be encoded is counted and dropped."""
        try:
            part = encode_signal(message)
        except CodecError as error:
            self.refuse("unsendable", f"a signal to {link.peer} cannot be sent: {error}")
            return False
        return self.send(link, Lane.SIGNALS, [part], len(part))

    def send(self, link: Link, lane: Lane, parts: list[Buffer], size_bytes: int) -> bool:
        """Now, or once its link's rate allows; False where the link is gone or too much waits."""
        now_s = self.clock()
        waits = lane is Lane.TENSORS
        leaves_s = self.pacing.leaves_s(link.peer, link.tier, size_bytes, now_s, waits=waits)
        try:
            direct = leaves_s <= now_s and not link.outboxes[lane]
            taken = direct and link.transmit(lane, parts)
        except LinkGoneError:
            self.drop(link)
            return False
        if not taken and not link.hold(lane, Waiting(leaves_s, parts, size_bytes)):
            self.counters["outbox full"] += 1
            return False
        if direct and not taken:
            self.full_until_s = now_s + FULL_RETRY_S
        self.sent_bytes[link.peer] += size_bytes
        return True
