"""What comes in on the links: proved, decoded, counted, and turned into arrivals.

    monitors ──▶ who is gone          signals ──▶ Hello · Welcome · Receipt stay here, others go up
    doors    ──▶ knocks, messages     tensors ──▶ receipt at once, then Arrived or Chunk

Invariant: no bytes from the network raise anything in here; what is wrong is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

import numpy as np
import zmq

from edgeflow.codec import (
    RAW,
    Buffer,
    CodecError,
    decode_signal,
    decode_tensors,
)
from edgeflow.estimation.receipts import UNASKED
from edgeflow.events import Signal
from edgeflow.io.arrivals import Arrived, Chunk
from edgeflow.io.doors import PARTS_MAX, Doors, receive_parts
from edgeflow.io.exchange import Exchange
from edgeflow.io.gate import Connection
from edgeflow.io.lanes import Lane, RoutingId, Socket, next_event
from edgeflow.io.link import Accepted, Dialled, Link, LinkGoneError
from edgeflow.messages import BlobChunk, Frame, Hello, ProbeData, Receipt, SignalMessage, Welcome

DOOR_MESSAGES = {Lane.SIGNALS: 64, Lane.TENSORS: 8}
LINK_MESSAGES = {Lane.SIGNALS: 16, Lane.TENSORS: 2}
"""Read in one go from all who dialled in, and from each whom we dialled. More delays the others."""
_NEVER_UP = (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED)


class Reception:
    """Reads all sockets of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ready: Collection[object] | None = None

    def _is_ready(self, socket: Socket) -> bool:
        return self._ready is None or socket in self._ready

    def drain(self, now_s: float, ready: Collection[object] | None = None) -> None:
        """Read what is there, bounded, signals first; where `ready` is given, only from those."""
        self._ready = ready
        if ready is not None and not self._exchange.watch.holds_any(ready):
            return
        zap = self._exchange.zap
        if zap and self._is_ready(zap.socket) and (refused := zap.answer()):
            self._exchange.refuse("wrong key", f"{refused} connection(s) without the cluster key")
        self._watch_doors(now_s)
        dialled = [each for each in self._exchange.links.values() if self._concerns(each)]
        for link in dialled:
            self._watch_dialled(link, now_s)
        for lane in (Lane.SIGNALS, Lane.TENSORS):
            self._read_door(lane, now_s)
            for link in dialled:
                if link.sockets:
                    self._read_dialled(link, lane, now_s)

    def _concerns(self, link: Link) -> TypeGuard[Dialled]:
        """Do we dial it, and may there be something on one of its sockets?"""
        if not isinstance(link, Dialled):
            return False
        ends = (*link.sockets.values(), *link.monitors.values())
        return self._ready is None or any(end in self._ready for end in ends)

    # --- connections ------------------------------------------------------------------------------

    def _watch_doors(self, now_s: float, *, whole: bool = False) -> None:
        doors, gate = self._exchange.doors, self._exchange.gate
        if doors is None:
            return
        for lane, monitor in doors.monitors.items():
            if not (whole or self._is_ready(monitor)):
                continue
            while (told := next_event(monitor)) is not None:
                event, descriptor = told
                if event == zmq.EVENT_ACCEPTED:
                    doors.connections[lane][descriptor] = gate.opened(descriptor, lane, now_s)
                elif event == zmq.EVENT_DISCONNECTED:
                    if connection := doors.connections[lane].pop(descriptor, None):
                        self._lost(doors, connection)
                else:
                    self._exchange.counters["handshake failed"] += event != zmq.EVENT_CLOSED

    def _lost(self, doors: Doors, connection: Connection) -> None:
        """Somebody who dialled in is gone."""
        self._exchange.gate.closed(connection)
        doors.gone(connection)
        for link in list(self._exchange.links.values()):
            if isinstance(link, Accepted) and connection in link.connections.values():
                self._exchange.drop(link)

    def _watch_dialled(self, link: Dialled, now_s: float) -> None:
        for lane, monitor in list(link.monitors.items()):
            if not self._is_ready(monitor):
                continue
            while not monitor.closed and (told := next_event(monitor)) is not None:
                event, descriptor = told
                if event == zmq.EVENT_CONNECTED:
                    link.connections[lane] = self._exchange.gate.opened(descriptor, lane, now_s)
                elif event in _NEVER_UP:
                    if connection := link.connections.pop(lane, None):
                        self._exchange.gate.closed(connection)
                    self._exchange.drop(link)
                elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    self._exchange.refuse("key refused", f"{link.peer} refused our cluster key")
                else:
                    self._exchange.counters["handshake failed"] += 1

    # --- messages ---------------------------------------------------------------------------------

    def _read_door(self, lane: Lane, now_s: float) -> None:
        doors = self._exchange.doors
        if doors is None or not self._is_ready(doors.sockets[lane]):
            return
        for _ in range(DOOR_MESSAGES[lane]):
            received = receive_parts(doors.sockets[lane])
            if received is None:
                return
            descriptor, (raw_id, *parts) = received
            sender = RoutingId.parse(bytes(raw_id))
            link = self._find(sender, lane, raw_id)
            if link is not None:
                self._take(link, lane, parts, now_s)
                continue
            # Descriptors are reused: learn first who is gone and who came since.
            self._watch_doors(now_s, whole=True)
            connection = doors.connections[lane].get(descriptor)
            if sender is None or not self._knock(sender, connection, parts):
                self._exchange.refuse("stranger", f"a stranger on the {lane.name.lower()} port")
                if connection is not None:
                    self._exchange.gate.cut(connection)

    def _find(self, sender: RoutingId | None, lane: Lane, raw_id: Buffer) -> Accepted | None:
        if sender is None:
            return None
        for link in list(self._exchange.links.values()):
            if link.peer == sender.node and isinstance(link, Accepted):
                return link if link.routing_ids.get(lane) == raw_id else None
        return None

    def _knock(self, sender: RoutingId, connection: Connection | None, parts: list[Buffer]) -> bool:
        """Whether these parts are the Hello that the routing id lets expect, to this session.

        Who is gone again (no connection) knocks in vain.
        """
        doors, me = self._exchange.doors, self._exchange.me
        if doors is None or (sender.to_node, sender.to_session) != (me.node, me.session):
            return False
        if self._signal(parts) != Hello(sender.node, sender.session):
            return False
        if connection is not None:
            doors.knocked(sender, connection)
            self._exchange.admit(sender.node)
        return True

    def _read_dialled(self, link: Dialled, lane: Lane, now_s: float) -> None:
        for _ in range(LINK_MESSAGES[lane]):
            socket = link.sockets.get(lane)
            is_ready = socket is not None and self._is_ready(socket)
            received = receive_parts(socket) if socket and is_ready else None
            if received is None:
                return
            _, parts = received
            if lane in link.welcomed:
                self._take(link, lane, parts, now_s)
            elif self._signal(parts) == Welcome(link.peer, link.session):
                link.welcomed.add(lane)
                if len(link.welcomed) == len(Lane):
                    self._exchange.came_up(link)
                    while link.early:
                        self._take(link, *link.early.popleft(), now_s)
            else:
                self._exchange.refuse("wrong peer", f"not {link.peer} where it should be")
                self._exchange.drop(link)

    def _signal(self, parts: list[Buffer]) -> SignalMessage | None:
        try:
            return decode_signal(parts[0]) if len(parts) == 1 else None
        except CodecError:
            return None

    def _take(self, link: Link, lane: Lane, parts: list[Buffer], now_s: float) -> None:
        """A message on a proven lane."""
        if connection := link.connections.get(lane):
            connection.has_delivered = True
        if not link.is_up:
            link.early.append((lane, parts))
            return
        try:
            if len(parts) == 1:
                self._take_signal(link, lane, decode_signal(parts[0]), now_s)
            elif lane is Lane.TENSORS:
                self._take_tensors(link, parts)
            else:
                raise CodecError(f"a signal of {len(parts)} parts")
        except CodecError as error:
            self._exchange.refuse("malformed", f"{link.peer} sent no message of ours: {error}")
        except LinkGoneError:
            self._exchange.drop(link)

    def _take_signal(self, link: Link, lane: Lane, message: SignalMessage, now_s: float) -> None:
        match message:
            case Hello():
                if message != Hello(link.peer, link.session):
                    raise CodecError("a Hello in another's name")
                if isinstance(link, Accepted):
                    self._exchange.welcome(link, lane)
            case Welcome():
                if message != Welcome(link.peer, link.session):
                    raise CodecError("a Welcome in another's name")
            case _ if lane is Lane.TENSORS:
                raise CodecError("a signal on the tensors lane")
            case Receipt():
                self._exchange.receipted(link, message, now_s)
            case _:
                self._exchange.events.append(Signal(link.peer, link.session, message))

    def _take_tensors(self, link: Link, parts: list[Buffer]) -> None:
        serial, *rest = parts
        if len(serial) != 8 or len(parts) > PARTS_MAX - 1:
            raise CodecError(f"{len(parts)} parts, a serial of {len(serial)} bytes")
        size_bytes = sum(map(len, rest))
        number = int.from_bytes(serial, "big")
        if number != UNASKED:
            self._exchange.signal(link, Receipt(number, size_bytes))
        message, arrays = decode_tensors(rest)
        match message:
            case ProbeData():
                pass
            case BlobChunk():
                raw = arrays[RAW].view(np.uint8).data
                self._exchange.events.append(Chunk(link.peer, link.session, message, raw))
            case Frame() if message.source == link.peer and message.source_session != link.session:
                raise CodecError("a frame of another session of its source")
            case _:
                arrived = Arrived(link.peer, link.session, message, arrays, size_bytes)
                self._exchange.events.append(arrived)
