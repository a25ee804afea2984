"""All links of one node. No thread of its own: the loop polls the sockets and drives it.

    loop ──register──▶ poller          loop ──receive(now)──▶ arrivals, bounded a call
    core ──open / close_peer──▶ links  loop ──pump(now)────▶ paced messages leave, dials go on
         ──send_… ──▶ bool                 (again by due_s)

Exactly one side of a pair dials: `open` with endpoints dials, without accepts. A sender is known by
its connection's routing id alone; what a message claims about its sender is compared with that.

    links = Links(node="edge-1", session=7, config=config, identity=load_keys(path) or None)
    links.register(poller)
    while True:
        poller.poll(max(0, links.due_s(now) - now) * 1000)
        for arrival in links.receive(now): ...            # edgeflow.io.arrivals

Invariant: LinkUp and LinkDown of a session alternate; messages of a session come between them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from edgeflow.codec import RAW, CodecError, encode_tensors
from edgeflow.config import NodeConfig
from edgeflow.errors import NetworkError
from edgeflow.estimation.receipts import UNASKED
from edgeflow.io.addresses import EVERYWHERE, announced_hosts, bind_host
from edgeflow.io.arrivals import Arrival
from edgeflow.io.doors import Doors
from edgeflow.io.exchange import FULL_RETRY_S, Exchange
from edgeflow.io.keys import Keys
from edgeflow.io.lanes import Context, Lane, is_loopback
from edgeflow.io.link import Accepted, Dialled, LinkGoneError
from edgeflow.io.reception import Reception
from edgeflow.io.zap import Zap
from edgeflow.messages import (
    BlobChunk,
    Endpoint,
    Hello,
    LinkReport,
    ProbeData,
    SignalMessage,
    TensorMessage,
)


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
        self.node = node
        self.session = session
        self.public_key = identity.public if identity else ""
        self._insecure = config.insecure
        self._keys = identity
        host = bind_host(config, identity is not None)
        self._owns_context = context is None
        self._context = context or zmq.Context()
        try:
            doors = _listen(self._context, host, config, identity)
        except NetworkError:
            self._end_context()
            raise
        zap = Zap(self._context, identity) if identity and doors else None
        self._exchange = Exchange(Hello(node, session), config.emulate, clock, doors, zap)
        self._reception = Reception(self._exchange)
        self.counters = self._exchange.counters
        """What was refused or dropped, by reason."""
        self.endpoints = _announced(doors, host, config)
        """What to announce, best first."""
        self._serial = 0

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
        found = self._exchange.links.get(peer)
        if found and found.session == session:
            if isinstance(found, Dialled) and allowed:
                found.endpoints = allowed
                return
            if isinstance(found, Accepted) and not endpoints:
                return
        self.close_peer(peer)
        if public_key != self.public_key:
            self._exchange.refuse(
                "foreign key", f"{peer} has another cluster key: copy the key file to it"
            )
        elif endpoints and not allowed:
            self._exchange.refuse(
                "off this machine",
                f"{peer} is on another machine: links there need a cluster key"
                " (`edgeflow key new FILE`) or --insecure",
            )
        elif allowed:
            self._exchange.links[peer] = Dialled(self._exchange.me, peer, session, tier, allowed)
        elif self._exchange.doors:
            self._exchange.links[peer] = Accepted(peer, session, tier, self._exchange.doors.sockets)
            self._exchange.admit(peer)
        self.pump(self._exchange.clock())

    def close_peer(self, peer: str) -> None:
        """Forget a peer."""
        if found := self._exchange.links.pop(peer, None):
            self._exchange.drop(found)

    def send_signal(self, peer: str, message: SignalMessage) -> bool:
        """Whether it was handed over; what the link's loss or the peer swallows is not noticed."""
        link = self._exchange.links.get(peer)
        if link is None or not link.is_up:
            return False
        return self._exchange.signal(link, message)

    def send_tensors(
        self, peer: str, message: TensorMessage, arrays: Mapping[str, NDArray[Any]]
    ) -> bool:
        """The same with the arrays that the header names (codec.RAW for a chunk or a probe).

        Large arrays are sent from where they are: do not write to them any more. What cannot be
        encoded is counted and dropped.
        """
        link = self._exchange.links.get(peer)
        if link is None or not link.is_up:
            return False
        try:
            parts = encode_tensors(message, arrays)
        except CodecError as error:
            self._exchange.refuse("unsendable", f"a message to {peer} cannot be sent: {error}")
            return False
        size_bytes = sum(map(len, parts))
        serial, now_s = UNASKED, self._exchange.clock()
        if isinstance(message, ProbeData) or self._exchange.receipts.wants(peer, size_bytes, now_s):
            self._serial = serial = self._serial + 1
            self._exchange.receipts.sent(peer, serial, size_bytes, now_s)
        else:
            self._exchange.receipts.unasked(peer, size_bytes)
        return self._exchange.send(
            link, Lane.TENSORS, [serial.to_bytes(8, "big"), *parts], size_bytes
        )

    def send_raw(self, peer: str, message: BlobChunk | ProbeData, raw: bytes | memoryview) -> bool:
        """The same with bytes: a piece of a blob, or a probe."""
        return self.send_tensors(peer, message, {RAW: np.frombuffer(raw, dtype=np.uint8)})

    def is_up(self, peer: str) -> bool:
        """Both lanes to this peer are proven."""
        link = self._exchange.links.get(peer)
        return link is not None and link.is_up

    def held_bytes(self, peer: str) -> int:
        """What waits for a peer's link to take it."""
        link = self._exchange.links.get(peer)
        return link.held_bytes if link is not None else 0

    def report(self) -> dict[str, LinkReport]:
        """Bytes sent to each peer so far; rates are estimated elsewhere."""
        names = sorted(self._exchange.links.keys() | self._exchange.sent_bytes.keys())
        return {
            name: LinkReport(
                self.is_up(name),
                0.0,
                0.0,
                self._exchange.sent_bytes[name],
                self._exchange.samples[name],
            )
            for name in names
        }

    # --- what the loop drives ---------------------------------------------------------------------

    def register(self, poller: zmq.Poller) -> None:
        """Keep our sockets in this poller, as they come and go."""
        self._exchange.watch.register(poller)

    def receive(self, now_s: float, ready: Collection[object] | None = None) -> list[Arrival]:
        """What came: at most some 100 signals and 16 tensor messages, fair between peers.

        `ready` are the sockets that the poller named; None: all are asked.
        """
        self._reception.drain(now_s, ready)
        if cut := self._exchange.gate.check(now_s):
            self._exchange.refuse("cut off", f"{cut} connection(s) that sent too much or nothing")
        self.pump(now_s)
        events, self._exchange.events = self._exchange.events, []
        return events

    def due_s(self, now_s: float) -> float:
        """When `receive` must be called at the latest, on the clock of `now_s`."""
        if self._exchange.events:
            return now_s
        due_s = self._exchange.gate.due_s()
        for link in self._exchange.links.values():
            if isinstance(link, Dialled) and not link.is_up:
                due_s = min(due_s, link.due_s)
            if not link.is_idle:
                due_s = min(due_s, max(link.leaves_s(), self._exchange.full_until_s))
        return due_s

    def pump(self, now_s: float) -> None:
        """Send what was held and may leave by now; go on dialling."""
        for link in list(self._exchange.links.values()):
            if link.is_idle and link.is_up:
                continue
            try:
                if now_s >= self._exchange.full_until_s and not link.flush(now_s):
                    self._exchange.full_until_s = now_s + FULL_RETRY_S
                if isinstance(link, Dialled) and not link.is_up and now_s >= link.due_s:
                    self._dial(link, now_s)
            except LinkGoneError:
                self._exchange.drop(link)

    def close(self) -> None:
        """Close every socket; what was not sent yet is dropped. Again: nothing."""
        for peer in list(self._exchange.links):
            self.close_peer(peer)
        self._exchange.close()
        self._end_context()

    def _end_context(self) -> None:
        if self._owns_context:
            self._context.destroy(linger=0)

    def _dial(self, link: Dialled, now_s: float) -> None:
        if link.sockets and now_s >= link.give_up_s:
            self._exchange.drop(link)
        elif link.sockets:
            link.greet(now_s)
        else:
            try:
                link.start(self._context, self._keys, now_s)
            except zmq.ZMQError as error:
                self._exchange.refuse("bad endpoint", f"{link.peer} announces no address: {error}")
                self._exchange.drop(link)
            self._exchange.watch.add(*link.sockets.values(), *link.monitors.values())

    def _may_dial(self, endpoint: Endpoint) -> bool:
        return bool(self._keys) or self._insecure or is_loopback(endpoint.host)


def _listen(context: Context, host: str, config: NodeConfig, keys: Keys | None) -> Doors | None:
    if not config.reachable:
        return None
    ports = {Lane.TENSORS: config.tensors_port, Lane.SIGNALS: config.signals_port}
    if host == EVERYWHERE and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    return Doors(context, host, ports, keys)


def _announced(doors: Doors | None, host: str, config: NodeConfig) -> tuple[Endpoint, ...]:
    if doors is None or config.advertise:
        return config.advertise if doors else ()
    ports = doors.ports()
    broker = config.brokers[0] if config.brokers else ""
    return tuple(
        Endpoint(found, ports[Lane.TENSORS], ports[Lane.SIGNALS])
        for found in announced_hosts(host, broker)
    )
