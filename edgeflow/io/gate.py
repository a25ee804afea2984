"""Watches who is connected, beneath ZeroMQ: a stranger may not make this node hold bytes.

    accepted ──Hello agrees──▶ proven ──▶ gone
        │ silent for prove_s, or more than a Hello's bytes
        └──────────────▶ cut off

ZeroMQ collects a multipart message to its end before it shows any of it, whatever its high-water
mark says. So the bytes that the kernel received on each connection are compared with what came out
of it, and a connection that holds back too much is cut.

Invariant: bytes held for one connection <= its allowance + what arrives in one period of `check`.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from edgeflow.codec import TENSOR_BYTES_MAX
from edgeflow.io.lanes import Lane

PROVE_S = 5.0
"""Time to say who one is. Lower cuts dialling peers off that wait for us to open their link."""
STRANGER_BYTES = 1 << 16
"""What may be received before that: handshake, Hello and heartbeats need 2 kB."""
PERIOD_S = 0.02
"""Between two checks while there are strangers, at 4 µs each. Without, 10 times that and up to the
loop's next turn: nobody is woken for it."""
STRANGERS_MAX = 64
HELD_BYTES = {Lane.TENSORS: TENSOR_BYTES_MAX + (1 << 20), Lane.SIGNALS: 1 << 20}

_TCP_INFO_RECEIVED = 128  # offset of tcpi_bytes_received in Linux's struct tcp_info


@dataclass(slots=True)
class _Connection:
    lane: Lane
    since_s: float
    ends: object
    proven: bool = False
    delivered: bool = False
    base_bytes: int = 0


class Gate:
    """Connections by file descriptor, which ZeroMQ tells in its monitor events and messages."""

    def __init__(self) -> None:
        self._connections: dict[int, _Connection] = {}
        self._next_s = 0.0

    def opened(self, descriptor: int, lane: Lane, now_s: float) -> None:
        """A connection was accepted, or made."""
        self._connections[descriptor] = _Connection(lane, now_s, ends_of(descriptor))
        strangers = [fd for fd, found in self._connections.items() if not found.proven]
        for stranger in strangers[:-STRANGERS_MAX]:
            self.cut(stranger)

    def closed(self, descriptor: int) -> None:
        """It is gone."""
        self._connections.pop(descriptor, None)

    def proved(self, descriptor: int) -> None:
        """Its peer said who it is, and is expected."""
        if found := self._connections.get(descriptor):
            found.proven = True

    def delivered(self, descriptor: int) -> None:
        """A whole message came out of it."""
        if found := self._connections.get(descriptor):
            found.delivered = True

    def due_s(self) -> float:
        """When `check` wants to be called; infinity while there is no stranger to watch."""
        return self._next_s if self._has_strangers() else float("inf")

    def check(self, now_s: float) -> int:
        """Cut off who holds back too much; how many that were."""
        if now_s < self._next_s:
            return 0
        bad = [fd for fd, found in self._connections.items() if self._is_bad(fd, found, now_s)]
        for descriptor in bad:
            self.cut(descriptor)
        self._next_s = now_s + (PERIOD_S if self._has_strangers() else 10 * PERIOD_S)
        return len(bad)

    def cut(self, descriptor: int) -> None:
        """End a connection; ZeroMQ then tells that it is gone and drops what it held."""
        found = self._connections.pop(descriptor, None)
        if found is None or found.ends is None or found.ends != ends_of(descriptor):
            return
        with suppress(OSError), _borrowed(descriptor) as other:
            other.shutdown(socket.SHUT_RDWR)

    def cut_all(self) -> Counter[Lane]:
        """End every connection; how many there were."""
        open_ = Counter(found.lane for found in self._connections.values())
        for descriptor in list(self._connections):
            self.cut(descriptor)
        return open_

    def _has_strangers(self) -> bool:
        return any(not found.proven for found in self._connections.values())

    def _is_bad(self, descriptor: int, found: _Connection, now_s: float) -> bool:
        if not found.proven and now_s - found.since_s > PROVE_S:
            return True
        received = _received_bytes(descriptor)
        if found.delivered and found.proven:
            found.delivered, found.base_bytes = False, received
        allowed = HELD_BYTES[found.lane] if found.proven else STRANGER_BYTES
        return received - found.base_bytes > allowed


def _received_bytes(descriptor: int) -> int:
    """Bytes that the kernel took from a TCP connection; 0 where it does not tell."""
    with suppress(OSError, AttributeError, struct.error), _borrowed(descriptor) as other:
        info = other.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return int(struct.unpack_from("<Q", info, _TCP_INFO_RECEIVED)[0])
    return 0


def ends_of(descriptor: int) -> object:
    """Both addresses of a connection: a descriptor may since have become another one's."""
    with suppress(OSError), _borrowed(descriptor) as other:
        return other.getsockname(), other.getpeername()
    return None


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket over a copy of ZeroMQ's descriptor; OSError where it is none any more."""
    copy = os.dup(descriptor)
    try:
        # Given these, Python does not ask for them. It reads addresses into what this family needs:
        # the longer one, or half of an IPv6 address would be whatever lay there before.
        other = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with other:
        yield other
