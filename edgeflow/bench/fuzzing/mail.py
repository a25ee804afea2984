"""An MQTT 3.1.1 client that can say what no library lets one say.

    socket ─▶ CONNECT, SUBSCRIBE ─▶ PUBLISH, right or not ─▶ what others published, by topic

Sections are those of the standard. Only QoS 0. A broker may hang up on what it takes for rubbish:
the next message then goes over a new connection.

Invariant: nothing that was received is kept but the last payload of each topic, bounded.
"""

from __future__ import annotations

import select
import socket
import time
from collections import OrderedDict

PACKET_BYTES_MAX = 1 << 20
TOPICS_MAX = 500
CONNECT_S = 5.0
STUCK_S = 5.0
"""A broker that takes no bytes for so long has gone."""


class Mail:
    """One connection at a time; `heard` is the last payload of each topic below `prefix`."""

    def __init__(self, port: int, name: str, prefix: str) -> None:
        self._port, self._name, self._prefix = port, name, prefix
        self.heard: OrderedDict[str, bytes] = OrderedDict()
        self.only: frozenset[str] | None = None
        """Topics that are kept; None: all."""
        self.reconnects = -1
        self._socket: socket.socket | None = None
        self._received = bytearray()

    def publish(self, topic: bytes, payload: bytes, *, retain: bool = False) -> None:
        """Send one message; a lost connection is made again, once."""
        body = len(topic).to_bytes(2, "big") + topic + payload
        for _ in range(2):
            try:
                self._send(0x31 if retain else 0x30, body)
            except OSError:
                self.close()
            else:
                return

    def pump(self) -> None:
        """Take in what came."""
        try:
            self._connected()
            while self._socket and select.select([self._socket], [], [], 0)[0]:
                piece = self._socket.recv(1 << 16)
                if not piece:
                    self.close()
                    return
                self._received += piece
                self._parse()
        except OSError:
            self.close()

    def close(self) -> None:
        """Hang up without a goodbye."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._received.clear()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self.reconnects += 1
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=CONNECT_S)
            name = f"{self._name}-{self.reconnects}".encode()
            # 3.1: clean session, no keep-alive. 3.8: one filter.
            self._write(0x10, b"\0\4MQTT\4\2\0\0" + len(name).to_bytes(2, "big") + name)
            filter_ = f"{self._prefix}#".encode()
            self._write(0x82, b"\0\1" + len(filter_).to_bytes(2, "big") + filter_ + b"\0")
        return self._socket

    def _send(self, kind: int, body: bytes) -> None:
        until_s = time.monotonic() + STUCK_S
        while True:
            _, writable, _ = select.select([], [self._connected()], [], 0.05)
            if writable:
                break
            self.pump()
            if time.monotonic() > until_s:
                raise OSError("the broker takes nothing")
        self._write(kind, body)

    def _write(self, kind: int, body: bytes) -> None:
        assert self._socket is not None
        length, left = bytearray(), len(body)  # 2.2.3
        while True:
            left, low = divmod(left, 128)
            length.append(low | (0x80 if left else 0))
            if not left:
                break
        self._socket.sendall(bytes([kind]) + bytes(length) + body)

    def _parse(self) -> None:
        """Whole packets out of what was received."""
        while len(self._received) >= 2:
            size, shift, at = 0, 0, 1
            while at < len(self._received):
                size |= (self._received[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not self._received[at - 1] & 0x80:
                    break
            else:
                return
            if len(self._received) < at + size or size > PACKET_BYTES_MAX:
                return
            kind, body = self._received[0] >> 4, bytes(self._received[at : at + size])
            del self._received[: at + size]
            if kind == 3:
                self._take(body)

    def _take(self, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode(errors="replace")
        if self.only is not None and topic not in self.only:
            return
        self.heard[topic] = body[end:]
        self.heard.move_to_end(topic)
        while len(self.heard) > TOPICS_MAX:
            self.heard.popitem(last=False)
