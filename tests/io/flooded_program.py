"""A node whose peers flood it and hang up while it reads nothing: ZeroMQ must not end it.

It does end a process that asks for heartbeats on a connection which broke with more messages unread
than the receiver's mark lets in (`Assertion failed: !_io_error`).
"""

from __future__ import annotations

import time

import zmq

from edgeflow.codec import encode_signal
from edgeflow.config import NodeConfig
from edgeflow.io.lanes import HEARTBEAT_MS, RECEIVE_HWM, Lane, RoutingId, dialling_socket
from edgeflow.io.links import Links
from edgeflow.messages import Hello

PEERS = 3


def main() -> None:
    """Flooded on both lanes, in silence for longer than a heartbeat, then well."""
    config = NodeConfig(name="victim", tensors_port=0, signals_port=0)
    links = Links(node="victim", session=1, config=config)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    (end,) = links.endpoints[:1]
    for at in range(PEERS):
        name = RoutingId(f"peer-{at}", 1, "victim", 1, 1)
        hello = encode_signal(Hello(name.node, 1))
        for lane, port in zip(Lane, (end.tensors_port, end.signals_port), strict=True):
            socket = dialling_socket(context, lane, name, None)
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.connect(f"tcp://{end.host}:{port}")
            for _ in range(8 * RECEIVE_HWM[lane] + 2000):
                socket.send(hello)
            time.sleep(0.2)
            socket.close(linger=0)
    until_s = time.monotonic() + 3 * HEARTBEAT_MS[0] / 1000
    while time.monotonic() < until_s:
        time.sleep(0.01)
    for _ in range(200):
        links.receive(time.monotonic())
    links.close()
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
