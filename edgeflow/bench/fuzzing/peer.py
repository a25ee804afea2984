"""A node that is let in and then talks rubbish; and strangers who are not let in.

    Caps and heartbeats over MQTT ─▶ the others accept its links ─▶ Hello, Welcome ─▶ anything

Its links are ZeroMQ sockets driven by hand. A link that falls silent is dialled again.
"""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

import zmq

from edgeflow.codec import CodecError, decode_signal, encode_signal
from edgeflow.io.gate import Connection, Gate
from edgeflow.io.lanes import (
    Context,
    Lane,
    RoutingId,
    Socket,
    dialling_socket,
    hang_up,
    monitor_of,
    next_event,
)
from edgeflow.messages import Endpoint, Hello, Welcome

HELLO_S = 0.4
SILENT_S = 3.0
FULL_MS = 2000
"""A peer that takes nothing for so long has cut us off."""
Parts = Sequence[bytes]


class _Dealer:
    """A DEALER socket that hangs up as a node's links do."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._monitor = monitor_of(socket)

    def close(self) -> None:
        """Cut what is connected, then close."""
        gate = Gate()
        open_: dict[int, Connection] = {}
        while (told := next_event(self._monitor)) is not None:
            event, descriptor = told
            if event == zmq.EVENT_CONNECTED:
                open_[descriptor] = gate.opened(descriptor, Lane.TENSORS, 0.0)
            elif event == zmq.EVENT_DISCONNECTED and descriptor in open_:
                gate.closed(open_.pop(descriptor))
        hang_up(self.socket, self._monitor, gate.cut_all().total())


class Way:
    """Both lanes to one session of one node."""

    _attempts = itertools.count(1)

    def __init__(
        self, context: Context, me: Hello, node: str, session: int, endpoint: Endpoint
    ) -> None:
        self.node, self.session, self.endpoint = node, session, endpoint
        self.dialled = 0
        self.up: set[Lane] = set()
        self.received = 0
        self._context, self._me = context, me
        self._dealers: dict[Lane, _Dealer] = {}
        self._heard_s = self._hello_s = 0.0
        self.dial()

    def dial(self) -> None:
        """New sockets under a new attempt."""
        self.close()
        self.dialled += 1
        end, attempt = self.endpoint, next(self._attempts)
        name = RoutingId(self._me.node, self._me.session, self.node, self.session, attempt)
        for lane, port in zip(Lane, (end.tensors_port, end.signals_port), strict=True):
            self._dealers[lane] = _Dealer(dialling_socket(self._context, lane, name, None))
            self._dealers[lane].socket.connect(f"tcp://{end.host}:{port}")
        self._heard_s = time.monotonic()

    def pump(self) -> None:
        """Read what came, say Hello, dial again where nobody answers."""
        now_s = time.monotonic()
        for lane, each in self._dealers.items():
            with suppress(zmq.Again):
                while True:
                    parts = each.socket.recv_multipart(zmq.NOBLOCK)
                    self._heard_s = now_s
                    self.received += 1
                    if len(parts) == 1 and lane not in self.up and _is_welcome(parts[0]):
                        self.up.add(lane)
        if now_s - self._hello_s >= HELLO_S:
            self._hello_s = now_s
            for lane in Lane:
                self.send(lane, [encode_signal(self._me)])
        if now_s - self._heard_s > SILENT_S:
            self.dial()

    @property
    def is_up(self) -> bool:
        """Welcomed on both lanes."""
        return len(self.up) == len(Lane)

    def send(self, lane: Lane, parts: Parts) -> bool:
        """Hand it to ZeroMQ; dial again where it takes nothing any more."""
        try:
            dealer = self._dealers[lane].socket
            if dealer.poll(FULL_MS, zmq.POLLOUT):
                dealer.send_multipart(list(parts), zmq.NOBLOCK)
                return True
        except zmq.ZMQError:
            pass
        self.dial()
        return False

    def close(self) -> None:
        """Hang up."""
        for each in self._dealers.values():
            each.close()
        self._dealers.clear()
        self.up.clear()


class Strangers:
    """Connections of who is nobody; the last few stay open for a while."""

    KEPT = 16

    def __init__(self, context: Context, chance: random.Random, me: str) -> None:
        self._context, self._chance, self._me = context, chance, me
        self._open: list[_Dealer | socket.socket] = []

    def knock(self, way: Way, parts: Parts) -> None:
        """One connection with something wrong on it."""
        chance, lane = self._chance, Lane(self._chance.randrange(2))
        end = way.endpoint
        port = end.tensors_port if lane is Lane.TENSORS else end.signals_port
        while len(self._open) >= self.KEPT:
            self._open.pop(0).close()
        if chance.random() < 0.3:
            with suppress(OSError):
                raw = socket.create_connection((end.host, port), timeout=1.0)
                self._open.append(raw)
                # ZMTP's own greeting in half of them (RFC 23), then noise.
                greeting = b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48)
                raw.sendall(chance.choice((b"", greeting)) + chance.randbytes(200))
            return
        name = f"stranger-{chance.randrange(1000)}"
        hello = encode_signal(Hello(name, 1))
        ids = (
            chance.randbytes(8),
            b"#" * 40,
            bytes(RoutingId(name, 1, way.node, way.session, 1)),
            bytes(RoutingId(self._me, 7, way.node, way.session + 1, 1)),
            bytes(RoutingId("a\0b", -5, way.node, way.session, 1 << 70)),
        )
        each = self._context.socket(zmq.DEALER)
        each.setsockopt(zmq.LINGER, 0)
        each.setsockopt(zmq.SNDHWM, 4)
        each.setsockopt(zmq.ROUTING_ID, b"_" + chance.choice(ids)[:200])
        if chance.random() < 0.7:
            each.setsockopt(zmq.ROUTING_ID, chance.choice(ids[2:])[:200])
        self._open.append(_Dealer(each))
        each.connect(f"tcp://{end.host}:{port}")
        with suppress(zmq.ZMQError):
            each.send_multipart([hello] if chance.random() < 0.3 else list(parts), zmq.NOBLOCK)

    def close(self) -> None:
        """All that is open."""
        for each in self._open:
            each.close()
        self._open.clear()


def _is_welcome(part: bytes) -> bool:
    try:
        return isinstance(decode_signal(part), Welcome)
    except CodecError:
        return False
