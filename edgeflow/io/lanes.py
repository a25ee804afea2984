"""ZeroMQ sockets of the two lanes, with the options that matter.

    bound    ROUTER  one per lane and node, everyone who dials in
    dialled  DEALER  one per lane and attempt at a peer

A dialled socket never reconnects by itself: when it is lost, so is the link, and the next attempt
is another socket under another routing id. So nothing queued for one session of a peer can reach
the next one.

Invariant: without a cluster key no socket touches an address off this machine, unless told to.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from edgeflow.codec import TENSOR_BYTES_MAX
from edgeflow.errors import NetworkError
from edgeflow.io.keys import Keys

Socket = zmq.Socket[bytes]
Context = zmq.Context[zmq.Socket[bytes]]

ZAP_DOMAIN = b"edgeflow"
COPY_BYTES = 1 << 18
"""From here on a buffer is sent in place, below it is copied: what is faster, measured."""


class Lane(IntEnum):
    """Signals never wait behind tensors: they have a connection of their own."""

    TENSORS = 0
    SIGNALS = 1


SEND_HWM = {Lane.TENSORS: 8, Lane.SIGNALS: 256}
"""Messages inside ZeroMQ per peer. More hides a slow peer for longer, fewer costs wake-ups."""
RECEIVE_HWM = {Lane.TENSORS: 4, Lane.SIGNALS: 256}
DIALLED_SIGNALS_HWM = 4096
"""Signals that wait where this node dialled. So many no peer sends in a pause of ours, and ZeroMQ
must not stop reading there: see HEARTBEAT_MS."""
HEARTBEAT_MS = (500, 1500)
"""Period and time-out of the signals lane: a frozen or unplugged peer is found in 2 s. Who dialled
asks; who was dialled misses the questions (there must have been one: who freezes in its first half
second is found by its silence on the broker). Only one side may ask, and not where it may stop
reading: ZeroMQ (4.3.5) ends the process when it wants to ask on a connection that broke while more
waited to be read than RECEIVE_HWM lets in (`Assertion failed: !_io_error`)."""
KEEPALIVE_S = 5
"""Of the tensors lane, by TCP itself: it keeps the way through a NAT open, and ends a dead one in
half a minute. ZeroMQ answers only between messages, and one of 10 MB may take 10 s."""
HANDSHAKE_MS = 3000
HANG_UP_S = 0.05
"""For ZeroMQ to notice that a connection was cut: some 0.1 ms. One on which it does not read, since
too much waits there, it never does."""

_POLLIN = int(zmq.POLLIN)
_MONITORED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


@dataclass(frozen=True, slots=True)
class RoutingId:
    """Names one attempt of one session of a node to reach one session of another.

    The successor of a restarted peer sees from it that it is not the one who was meant.
    """

    node: str
    session: int
    to_node: str
    to_session: int
    attempt: int

    def __bytes__(self) -> bytes:
        ends = f"{self.node}#{self.session:x}#{self.to_node}#{self.to_session:x}"
        return f"{ends}#{self.attempt:x}".encode()

    @classmethod
    def parse(cls, raw: bytes) -> RoutingId | None:
        """What a routing id says, or None where it is not one of ours."""
        try:
            node, session, to_node, to_session, attempt = raw.decode("ascii").split("#")
            return cls(node, int(session, 16), to_node, int(to_session, 16), int(attempt, 16))
        except ValueError:
            return None


def bound_socket(context: Context, lane: Lane, host: str, port: int, keys: Keys | None) -> Socket:
    """A listening ROUTER; NetworkError where the address cannot be had."""
    socket = _socket(context, zmq.ROUTER, lane)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    if keys is not None:
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    try:
        socket.bind(f"tcp://{bracketed(host)}:{port or '*'}")
    except zmq.ZMQError as error:
        socket.close()
        raise _bind_error(lane, host, port, error) from error
    return socket


def dialling_socket(
    context: Context, lane: Lane, routing_id: RoutingId, keys: Keys | None
) -> Socket:
    """A DEALER that is not connected yet."""
    socket = _socket(context, zmq.DEALER, lane)
    if lane is Lane.SIGNALS:
        period_ms, silence_ms = HEARTBEAT_MS
        socket.setsockopt(zmq.RCVHWM, DIALLED_SIGNALS_HWM)
        socket.setsockopt(zmq.HEARTBEAT_IVL, period_ms)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, silence_ms)
        socket.setsockopt(zmq.HEARTBEAT_TTL, silence_ms)
    socket.setsockopt(zmq.ROUTING_ID, bytes(routing_id))
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    return socket


def monitor_of(socket: Socket) -> Socket:
    """Where ZeroMQ tells what became of the socket's connections."""
    monitor: Any = socket.get_monitor_socket(_MONITORED)
    found: Socket = monitor
    return found


def next_event(monitor: Socket) -> tuple[int, int] | None:
    """The next event of a monitor: which, and of which descriptor; None where there is none."""
    if not has_message(monitor):
        return None
    event = recv_monitor_message(monitor, zmq.NOBLOCK)
    return int(event["event"]), int(event["value"])


def has_message(socket: Socket) -> bool:
    """Asking is 1 µs; to try and be refused costs ten times that, on every socket at every turn."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _POLLIN)


def hang_up(socket: Socket, monitor: Socket, cut: int) -> None:
    """Close both, once ZeroMQ has noticed of so many connections that they were cut.

    If it learns that a connection is gone just while it closes the socket, in the middle of a
    message, ZeroMQ (4.3.5) ends the process: it wants to read that message to its end, and may not
    any more (`Resource temporarily unavailable`, session_base.cpp). With ZMQ_LINGER it does not,
    but may never end the context.
    """
    end_s = time.monotonic() + HANG_UP_S
    while cut > 0 and monitor.poll(max(0, round((end_s - time.monotonic()) * 1000))):
        event = next_event(monitor)
        cut -= bool(event and event[0] == zmq.EVENT_DISCONNECTED)
    # Silenced first: ZeroMQ waits for ever to tell an event to a monitor that was closed.
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=0)


def bound_port(socket: Socket) -> int:
    """The port that a listening socket got."""
    return int(bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").rpartition(b":")[2])


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine; a name other than localhost may not."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def bracketed(host: str) -> str:
    """The address as ZeroMQ wants it."""
    return f"[{host}]" if ":" in host else host


def _socket(context: Context, kind: int, lane: Lane) -> Socket:
    socket = context.socket(kind)
    for option, number in (
        (zmq.LINGER, 0),
        (zmq.SNDHWM, SEND_HWM[lane]),
        (zmq.RCVHWM, RECEIVE_HWM[lane]),
        (zmq.TCP_KEEPALIVE, int(lane is Lane.TENSORS)),
        (zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_S),
        (zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_S),
        (zmq.TCP_KEEPALIVE_CNT, 6),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.MAXMSGSIZE, TENSOR_BYTES_MAX if lane is Lane.TENSORS else 1 << 16),
        (zmq.IPV6, 1),
    ):
        socket.setsockopt(option, number)
    return socket


def _bind_error(lane: Lane, host: str, port: int, error: zmq.ZMQError) -> NetworkError:
    where = f"{bracketed(host)}:{port}"
    if error.errno == zmq.EADDRINUSE:
        option = f"--{lane.name.lower()}-port"
        return NetworkError(
            f"port {port} is taken, probably by another node on this machine:"
            f" give this one another port with {option} (0: any free one)"
        )
    return NetworkError(f"cannot accept links on {where} ({error.strerror}): check `bind`")
