"""All links of one node. No thread of its own: the loop polls the sockets and drives it.

    loop ──register──▶ poller          loop ──receive(now)──▶ arrivals, bounded a call
    core ──open / close_peer──▶ links  loop ──pump(now)────▶ paced messages leave, dials go on
         ──send_… ──▶ bool                 (again by due_s)

Exactly one side of a pair dials: `open` with endpoints dials, without accepts. A sender is known by
its connection's routing id alone; what a message claims about its sender is compared with that.

    links = Links(node="edge-1", session=7, config=config, identity=load_keys(path) or None)
    links.register(poller)
    while True:
        poller.poll(max(0, links.due_s() - now) * 1000)
        for arrival in links.receive(now): ...            # edgeflow.io.arrivals

Invariant: LinkUp and LinkDown of a session alternate; messages of a session come between them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import zmq
from numpy.typing import NDArray

from edgeflow.codec import Buffer, encode_signal, encode_tensors
from edgeflow.config import NodeConfig
from edgeflow.events import LinkDown, LinkUp
from edgeflow.io.addresses import announced_hosts, bind_host
from edgeflow.io.arrivals import Arrival
from edgeflow.io.doors import Doors
from edgeflow.io.gate import Gate
from edgeflow.io.keys import Keys
from edgeflow.io.lanes import Context, Lane, is_loopback
from edgeflow.io.link import Accepted, Dialled, Link, LinkGoneError, Waiting
from edgeflow.io.pacing import Pacing
from edgeflow.io.receipts import Receipts
from edgeflow.io.reception import Reception
from edgeflow.io.watch import Watch
from edgeflow.io.zap import Zap
from edgeflow.messages import (
    Endpoint,
    Hello,
    LinkReport,
    Receipt,
    SignalMessage,
    TensorMessage,
    Welcome,
)

FULL_RETRY_S = 0.002
"""After ZeroMQ took no more for a peer."""
_log = logging.getLogger("edgeflow.links")


class Links:
    """See the module. `identity` None: no encryption, and only loopback unless `config.insecure`.

    NetworkError where a port is taken or the settings would open an unguarded one.
    """

    def __init__(
        self,
        *,
        node: str,
        session: int,
        config: NodeConfig,
        identity: Keys | None = None,
        context: Context | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.me = Hello(node, session)
        self.counters: Counter[str] = Counter()
        """What was refused or dropped, by reason."""
        self.public_key = identity.public if identity else ""
        self.gate = Gate()
        self.receipts = Receipts(is_shared=config.emulate.mbps > 0)
        self._links: dict[str, Link] = {}
        self._events: list[Arrival] = []
        self._sent_bytes: dict[str, int] = {}
        self._samples: Counter[str] = Counter()
        self._serial = 0
        self._insecure = config.insecure
        self._keys = identity
        self._clock = clock
        self._pacing = Pacing(config.emulate)
        self._full_until_s = 0.0
        host = bind_host(config, identity is not None)
        self._owns_context = context is None
        self._context = context or zmq.Context()
        self.watch = Watch()
        self.zap = Zap(self._context, identity) if identity else None
        self.doors = self._listen(host, config) if config.reachable else None
        self.endpoints = self._announced(host, config)
        if self.zap:
            self.watch.add(self.zap.socket)
        if self.doors:
            self.watch.add(*self.doors.sockets.values(), *self.doors.monitors.values())
        self._reception = Reception(self)

    # --- what the core asks for -------------------------------------------------------------------

    def open(
        self,
        peer: str,
        session: int,
        endpoints: tuple[Endpoint, ...],
        public_key: str,
        tier: str = "",
    ) -> None:
        """Dial a session of a peer (`endpoints` not empty) or accept it; another one is replaced.

        `tier` is its name, for emulated rates. Without a common key, and for a peer that only has
        addresses off this machine where those are not allowed, nothing is opened.
        """
        allowed = tuple(end for end in endpoints if self._may_dial(end))
        found = self._links.get(peer)
        if found and found.session == session:
            if isinstance(found, Dialled) and allowed:
                found.endpoints = allowed
                return
            if isinstance(found, Accepted) and not endpoints:
                return
        self.close_peer(peer)
        if public_key != self.public_key:
            self.refuse("foreign key", f"{peer} has another cluster key: copy the key file to it")
        elif endpoints and not allowed:
            self.refuse(
                "off this machine",
                f"{peer} is on another machine: links there need a cluster key"
                " (`edgeflow key new FILE`) or --insecure",
            )
        elif allowed:
            self._links[peer] = Dialled(self.me, peer, session, tier, allowed)
        elif self.doors:
            self._links[peer] = Accepted(peer, session, tier, self.doors.sockets)
            self.admit(peer)
        self.pump(self._clock())

    def close_peer(self, peer: str) -> None:
        """Forget a peer."""
        if found := self._links.pop(peer, None):
            self.drop(found)

    def send_signal(self, peer: str, message: SignalMessage) -> bool:
        """Whether it was handed over; what the link's loss or the peer swallows is not noticed."""
        link = self._links.get(peer)
        if link is None or not link.is_up:
            return False
        part = encode_signal(message)
        return self._send(link, Lane.SIGNALS, [part], len(part))

    def send_tensors(
        self, peer: str, message: TensorMessage, arrays: Mapping[str, NDArray[Any]]
    ) -> bool:
        """The same with the arrays that the header names (codec.RAW for a chunk or a probe).

        Large arrays are sent from where they are: do not write to them any more. CodecError where
        an array does not agree with its header.
        """
        link = self._links.get(peer)
        if link is None or not link.is_up:
            return False
        parts = encode_tensors(message, arrays)
        size_bytes = sum(map(len, parts))
        self._serial += 1
        self.receipts.sent(peer, self._serial, size_bytes, self._clock())
        return self._send(link, Lane.TENSORS, [self._serial.to_bytes(8, "big"), *parts], size_bytes)

    def is_up(self, peer: str) -> bool:
        """Both lanes to this peer are proven."""
        link = self._links.get(peer)
        return link is not None and link.is_up

    def report(self) -> dict[str, LinkReport]:
        """Bytes sent to each peer so far; rates are estimated elsewhere."""
        names = sorted(self._links.keys() | self._sent_bytes.keys())
        return {
            name: LinkReport(
                self.is_up(name), 0.0, 0.0, self._sent_bytes.get(name, 0), self._samples[name]
            )
            for name in names
        }

    # --- what the loop drives ---------------------------------------------------------------------

    def register(self, poller: zmq.Poller) -> None:
        """Keep our sockets in this poller, as they come and go."""
        self.watch.register(poller)

    def receive(self, now_s: float) -> list[Arrival]:
        """What came: at most some 100 signals and 16 tensor messages, fair between peers."""
        self._reception.drain(now_s)
        self.counters["cut off"] += self.gate.check(now_s)
        self.pump(now_s)
        events, self._events = self._events, []
        return events

    def due_s(self) -> float:
        """When `receive` must be called at the latest, on the clock of `now_s`."""
        if self._events:
            return 0.0
        due_s = self.gate.due_s()
        for link in self._links.values():
            if isinstance(link, Dialled) and not link.is_up:
                due_s = min(due_s, link.due_s)
            due_s = min(due_s, max(link.leaves_s(), self._full_until_s))
        return due_s

    def pump(self, now_s: float) -> None:
        """Send what was held and may leave by now; go on dialling."""
        for link in list(self._links.values()):
            try:
                if now_s >= self._full_until_s and not link.flush(now_s):
                    self._full_until_s = now_s + FULL_RETRY_S
                if isinstance(link, Dialled) and not link.is_up and now_s >= link.due_s:
                    self._dial(link, now_s)
            except LinkGoneError:
                self.drop(link)

    def close(self) -> None:
        """Close every socket; what was not sent yet is dropped."""
        for peer in list(self._links):
            self.close_peer(peer)
        if self.doors:
            self.doors.close()
        if self.zap:
            self.zap.socket.close(linger=0)
        self.watch.clear()
        if self._owns_context:
            self._context.destroy(linger=0)

    # --- for the receiving side -------------------------------------------------------------------

    def links(self) -> list[Link]:
        """All that are open, up or not."""
        return list(self._links.values())

    def emit(self, event: Arrival) -> None:
        """The next `receive` returns it."""
        self._events.append(event)

    def refuse(self, reason: str, sentence: str) -> None:
        """Count, and say so the 1st, 10th, 100th … time."""
        self.counters[reason] += 1
        if str(self.counters[reason]).strip("0") == "1":
            _log.warning("%s (%s, %d so far)", sentence, reason, self.counters[reason])

    def receipted(self, link: Link, receipt: Receipt, now_s: float) -> None:
        """One of our tensor messages arrived."""
        if event := self.receipts.came(link.peer, receipt, now_s):
            self._samples[link.peer] += 1
            self.emit(event)

    def came_up(self, link: Link) -> None:
        """Both lanes are proven."""
        link.is_up = True
        for descriptor in link.descriptors.values():
            self.gate.proved(descriptor)
        self.emit(LinkUp(link.peer, link.session))

    def admit(self, peer: str) -> None:
        """Welcome a peer that we accept, if it has knocked on both lanes."""
        link = self._links.get(peer)
        if not (isinstance(link, Accepted) and self.doors):
            return
        knock = self.doors.take(peer, link.session)
        if knock is None:
            return
        self.drop(link)
        link.attempt = knock.attempt
        link.routing_ids = dict.fromkeys(Lane, knock.routing_id)
        link.descriptors = knock.descriptors
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
            link.stop(self.gate, self._clock())
        else:
            for descriptor in link.descriptors.values():
                self.gate.cut(descriptor)
            link.fall()
        self._pacing.forget(link.peer)
        self.receipts.forget(link.peer)
        if was_up:
            self.emit(LinkDown(link.peer, link.session))

    # --- within -----------------------------------------------------------------------------------

    def _send(self, link: Link, lane: Lane, parts: list[Buffer], size_bytes: int) -> bool:
        now_s = self._clock()
        waits = lane is Lane.TENSORS
        leaves_s = self._pacing.leaves_s(link.peer, link.tier, size_bytes, now_s, waits=waits)
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
            self._full_until_s = now_s + FULL_RETRY_S
        self._sent_bytes[link.peer] = self._sent_bytes.get(link.peer, 0) + size_bytes
        return True

    def _dial(self, link: Dialled, now_s: float) -> None:
        if link.sockets and now_s >= link.give_up_s:
            self.drop(link)
        elif link.sockets:
            link.greet(now_s)
        else:
            link.start(self._context, self._keys, now_s)
            self.watch.add(*link.sockets.values(), *link.monitors.values())

    def _may_dial(self, endpoint: Endpoint) -> bool:
        return bool(self._keys) or self._insecure or is_loopback(endpoint.host)

    def _listen(self, host: str, config: NodeConfig) -> Doors:
        ports = {Lane.TENSORS: config.tensors_port, Lane.SIGNALS: config.signals_port}
        return Doors(self._context, host, ports, self._keys)

    def _announced(self, host: str, config: NodeConfig) -> tuple[Endpoint, ...]:
        if self.doors is None or config.advertise:
            return config.advertise if self.doors else ()
        ports = self.doors.ports()
        broker = config.brokers[0] if config.brokers else ""
        return tuple(
            Endpoint(found, ports[Lane.TENSORS], ports[Lane.SIGNALS])
            for found in announced_hosts(host, broker)
        )
