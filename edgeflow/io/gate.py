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


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, while it lasts: the number of its file descriptor may be another's next."""

    descriptor: int
    lane: Lane
    since_s: float
    ends: object
    """Both addresses; None where it was gone at once."""
    is_proven: bool = False
    """Its peer said who it is, and is expected."""
    has_delivered: bool = False
    """A whole message came out of it."""
    base_bytes: int = 0


class Gate:
    """The connections that are open, as ZeroMQ's monitors tell."""

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}
        self._next_s = 0.0

    def opened(self, descriptor: int, lane: Lane, now_s: float) -> Connection:
        """A connection was accepted, or made."""
        connection = Connection(descriptor, lane, now_s, ends_of(descriptor))
        self._open[connection] = None
        strangers = [each for each in self._open if not each.is_proven]
        for stranger in strangers[:-STRANGERS_MAX]:
            self.cut(stranger)
        return connection

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._open.pop(connection, None)

    def due_s(self) -> float:
        """When `check` wants to be called; infinity while there is no stranger to watch."""
        return self._next_s if self._has_strangers() else float("inf")

    def check(self, now_s: float) -> int:
        """Cut off who holds back too much; how many that were."""
        if now_s < self._next_s:
            return 0
        bad = [each for each in self._open if _is_bad(each, now_s)]
        for connection in bad:
            self.cut(connection)
        self._next_s = now_s + (PERIOD_S if self._has_strangers() else 10 * PERIOD_S)
        return len(bad)

    def cut(self, connection: Connection) -> None:
        """End a connection; ZeroMQ then tells that it is gone and drops what it held."""
        if connection not in self._open:
            return
        del self._open[connection]
        # ZeroMQ may have closed it without our having read so yet: its number may be another's.
        if connection.ends is None or connection.ends != ends_of(connection.descriptor):
            return
        with suppress(OSError), _borrowed(connection.descriptor) as other:
            other.shutdown(socket.SHUT_RDWR)

    def cut_all(self) -> Counter[Lane]:
        """End every connection; how many there were."""
        open_ = Counter(each.lane for each in self._open)
        for connection in list(self._open):
            self.cut(connection)
        return open_

    def _has_strangers(self) -> bool:
        return any(not each.is_proven for each in self._open)


def _is_bad(connection: Connection, now_s: float) -> bool:
    if not connection.is_proven and now_s - connection.since_s > PROVE_S:
        return True
    received = _received_bytes(connection.descriptor)
    if connection.has_delivered and connection.is_proven:
        connection.has_delivered, connection.base_bytes = False, received
    allowed = HELD_BYTES[connection.lane] if connection.is_proven else STRANGER_BYTES
    return received - connection.base_bytes > allowed


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
