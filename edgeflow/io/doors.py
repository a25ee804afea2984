"""The bound side: one listening socket a lane, and who knocks there.

    connection ──Hello──▶ knock ──the core opens that session──▶ admitted

A peer may knock before the core has heard of it; its knock is kept until it is opened or gone.

Invariant: nothing but a Hello that agrees with its routing id is read from who is not admitted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import zmq

from edgeflow.codec import TENSORS_MAX, Buffer
from edgeflow.io.gate import Connection
from edgeflow.io.keys import Keys
from edgeflow.io.lanes import (
    Context,
    Lane,
    RoutingId,
    Socket,
    bound_port,
    bound_socket,
    hang_up,
    has_message,
    monitor_of,
)

KNOCKS_MAX = 256
PARTS_MAX = TENSORS_MAX + 3
"""Routing id, serial, header, buffers."""
OWNED_BYTES = 1 << 16
"""Smaller parts are copied out of ZeroMQ's buffer, where they would keep a larger one alive."""


@dataclass(slots=True)
class Knock:
    """One attempt of a peer: the connections on which it said Hello, by lane."""

    attempt: int
    routing_id: bytes
    connections: dict[Lane, Connection] = field(default_factory=dict)


class Doors:
    """The two ROUTER sockets and the knocks."""

    def __init__(
        self, context: Context, host: str, ports: dict[Lane, int], keys: Keys | None
    ) -> None:
        self.sockets: dict[Lane, Socket] = {}
        self.monitors: dict[Lane, Socket] = {}
        self.connections: dict[Lane, dict[int, Connection]] = {lane: {} for lane in ports}
        """By the descriptor that ZeroMQ names in monitor events and messages."""
        self._knocks: OrderedDict[tuple[str, int], Knock] = OrderedDict()
        try:
            for lane, port in ports.items():
                self.sockets[lane] = bound_socket(context, lane, host, port, keys)
                self.monitors[lane] = monitor_of(self.sockets[lane])
        except Exception:
            self.close(Counter())
            raise

    def ports(self) -> dict[Lane, int]:
        """The ports that were had."""
        return {lane: bound_port(socket) for lane, socket in self.sockets.items()}

    def knocked(self, sender: RoutingId, connection: Connection) -> None:
        """Remember a Hello."""
        key = (sender.node, sender.session)
        knock = self._knocks.get(key)
        if knock is None or knock.attempt < sender.attempt:
            knock = self._knocks[key] = Knock(sender.attempt, bytes(sender))
        if knock.attempt == sender.attempt:
            knock.connections[connection.lane] = connection
        self._knocks.move_to_end(key)
        while len(self._knocks) > KNOCKS_MAX:
            self._knocks.popitem(last=False)

    def take(self, peer: str, session: int) -> Knock | None:
        """The knock of that session, once it has said Hello on both lanes."""
        knock = self._knocks.get((peer, session))
        if knock is None or len(knock.connections) < len(Lane):
            return None
        return self._knocks.pop((peer, session))

    def gone(self, connection: Connection) -> None:
        """It ended, and the knock on it."""
        for key, knock in list(self._knocks.items()):
            if connection in knock.connections.values():
                del self._knocks[key]

    def close(self, cut: Counter[Lane]) -> None:
        """Stop listening; so many connections were just cut."""
        for lane, monitor in self.monitors.items():
            hang_up(self.sockets[lane], monitor, cut[lane])
        for socket in self.sockets.values():  # one may have got no monitor
            socket.close(linger=0)


UNKNOWN = -1
"""No descriptor: such a peer never gets past its first message, it has no proof to show."""


def receive_parts(socket: Socket) -> tuple[int, list[Buffer]] | None:
    """The descriptor of the connection and the parts of the next message; None where there is none.

    Of a message with too many parts the rest is thrown away, and the list is longer than PARTS_MAX.
    """
    if not has_message(socket):
        return None
    first = part = socket.recv(zmq.NOBLOCK, copy=False)
    parts = [first]
    while part.more:
        part = socket.recv(copy=False)
        if len(parts) <= PARTS_MAX:
            parts.append(part)
    return _descriptor_of(first), [
        part.bytes if len(part) < OWNED_BYTES else memoryview(part.buffer).toreadonly()
        for part in parts
    ]


def _descriptor_of(part: zmq.Frame) -> int:
    """Of the connection that a part came by; UNKNOWN where the peer spoke ZMTP 1 or rubbish."""
    try:
        return int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        return UNKNOWN
