"""One link: both lanes to one session of one peer.

    Dialled    closed ──start──▶ Hello on both lanes ──Welcome on both──▶ up ──lost──▶ closed …
    Accepted   waiting ──Hello on both lanes──▶ Welcome on both, up ──lost──▶ waiting …

Every attempt has a number of its own in its routing id, and, where it dials, sockets of its own.

Invariant: what is sent on a link reaches the session that it was opened for, or nobody.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import zmq

from edgeflow.codec import Buffer, encode_signal
from edgeflow.io.gate import Connection, Gate
from edgeflow.io.keys import Keys
from edgeflow.io.lanes import (
    COPY_BYTES,
    Context,
    Lane,
    RoutingId,
    Socket,
    bracketed,
    dialling_socket,
    hang_up,
    monitor_of,
)
from edgeflow.messages import Endpoint, Hello

DIAL_S = 2.0
"""Silence after which the next endpoint of the peer is tried."""
HELLO_S = 0.25
"""Between two Hellos while there is no Welcome."""
RETRY_S = (0.1, 2.0)
"""Pause between two rounds through a peer's endpoints: doubles from the first to the second."""
OUTBOX_BYTES = 1 << 28
"""Held for one link while its rate is emulated or the peer is slow; more than that is refused."""
OUTBOX_MESSAGES = 4096
EARLY_MAX = 16


class LinkGoneError(Exception):
    """The other side is not there any more."""


class Waiting(NamedTuple):
    """A message that may not leave yet."""

    leaves_s: float
    parts: Sequence[Buffer]
    size_bytes: int


class Link(ABC):
    """What both kinds have in common."""

    def __init__(self, peer: str, session: int, tier: str) -> None:
        self.peer = peer
        self.session = session
        self.tier = tier
        self.is_up = False
        self.connections: dict[Lane, Connection] = {}
        self.outboxes: dict[Lane, deque[Waiting]] = {lane: deque() for lane in Lane}
        self.held_bytes = 0
        self.early: deque[tuple[Lane, list[Buffer]]] = deque(maxlen=EARLY_MAX)
        """Came on a proven lane before the other lane was proven."""

    @abstractmethod
    def transmit(self, lane: Lane, parts: Sequence[Buffer]) -> bool:
        """Hand a message to ZeroMQ; False where it takes no more now, LinkGoneError where never."""

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be sent."""
        return not (self.outboxes[Lane.SIGNALS] or self.outboxes[Lane.TENSORS])

    def hold(self, lane: Lane, waiting: Waiting) -> bool:
        """Keep a message for later; False where too much waits already."""
        box = self.outboxes[lane]
        if self.held_bytes + waiting.size_bytes > OUTBOX_BYTES or len(box) >= OUTBOX_MESSAGES:
            return False
        box.append(waiting)
        self.held_bytes += waiting.size_bytes
        return True

    def flush(self, now_s: float) -> bool:
        """Send what may leave by now, signals first; False where ZeroMQ takes no more."""
        for lane in (Lane.SIGNALS, Lane.TENSORS):
            box = self.outboxes[lane]
            while box and box[0].leaves_s <= now_s:
                if not self.transmit(lane, box[0].parts):
                    return False
                self.held_bytes -= box.popleft().size_bytes
        return True

    def leaves_s(self) -> float:
        """When the next held message may leave."""
        return min((box[0].leaves_s for box in self.outboxes.values() if box), default=float("inf"))

    def fall(self) -> None:
        """Forget what was meant for the other side."""
        self.is_up = False
        self.early.clear()
        self.held_bytes = 0
        for box in self.outboxes.values():
            box.clear()


class Accepted(Link):
    """The peer dials in."""

    def __init__(self, peer: str, session: int, tier: str, doors: dict[Lane, Socket]) -> None:
        super().__init__(peer, session, tier)
        self._doors = doors
        self.attempt = 0
        self.routing_ids: dict[Lane, bytes] = {}

    def transmit(self, lane: Lane, parts: Sequence[Buffer]) -> bool:
        if lane not in self.routing_ids:
            raise LinkGoneError
        return _send(self._doors[lane], [self.routing_ids[lane], *parts])

    def fall(self) -> None:
        super().fall()
        self.routing_ids.clear()
        self.connections.clear()


class Dialled(Link):
    """We dial the peer, endpoint after endpoint, for as long as the link is wanted."""

    _attempts = count(1)

    def __init__(
        self, me: Hello, peer: str, session: int, tier: str, endpoints: tuple[Endpoint, ...]
    ) -> None:
        super().__init__(peer, session, tier)
        self.endpoints = endpoints
        self.sockets: dict[Lane, Socket] = {}
        self.monitors: dict[Lane, Socket] = {}
        self.welcomed: set[Lane] = set()
        self.due_s = 0.0
        self.give_up_s = 0.0
        self._hello = encode_signal(me)
        self._me = me
        self._tried = 0

    def transmit(self, lane: Lane, parts: Sequence[Buffer]) -> bool:
        if lane not in self.sockets:
            raise LinkGoneError
        return _send(self.sockets[lane], parts)

    def start(self, context: Context, keys: Keys | None, now_s: float) -> None:
        """Dial the next endpoint with new sockets."""
        endpoint = self.endpoints[self._tried % len(self.endpoints)]
        name = RoutingId(
            self._me.node, self._me.session, self.peer, self.session, next(self._attempts)
        )
        for lane in Lane:
            socket = dialling_socket(context, lane, name, keys)
            self.sockets[lane] = socket
            self.monitors[lane] = monitor_of(socket)
            port = endpoint.tensors_port if lane is Lane.TENSORS else endpoint.signals_port
            socket.connect(f"tcp://{bracketed(endpoint.host)}:{port}")
        self.give_up_s = now_s + DIAL_S
        self.greet(now_s)

    def greet(self, now_s: float) -> None:
        """Say Hello on the lanes that have no Welcome yet."""
        for lane in set(Lane) - self.welcomed:
            self.transmit(lane, [self._hello])
        self.due_s = min(now_s + HELLO_S, self.give_up_s)

    def stop(self, gate: Gate, now_s: float) -> None:
        """Close the sockets; the next attempt is due after a pause that grows with each round."""
        for connection in self.connections.values():
            gate.cut(connection)
        for lane, socket in self.sockets.items():
            hang_up(socket, self.monitors[lane], int(lane in self.connections))
        self.connections.clear()
        self.sockets.clear()
        self.monitors.clear()
        self._tried = 0 if self.is_up else self._tried + 1
        self.welcomed.clear()
        self.fall()
        shortest_s, longest_s = RETRY_S
        rounds = self._tried // len(self.endpoints)
        is_new_round = self._tried % len(self.endpoints) == 0
        pause_s = min(shortest_s * 2.0 ** min(rounds, 10), longest_s) if is_new_round else 0.0
        self.due_s = now_s + pause_s


def _send(socket: Socket, parts: Sequence[Buffer]) -> bool:
    last = len(parts) - 1
    try:
        for index, part in enumerate(parts):
            flags = zmq.NOBLOCK | (zmq.SNDMORE if index < last else 0)
            socket.send(part, flags, copy=len(part) < COPY_BYTES)
    except zmq.Again:
        return False
    except zmq.ZMQError as error:
        raise LinkGoneError from error
    return True
