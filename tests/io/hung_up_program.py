"""A node that hangs up in the middle of a message just as its peer does: ZeroMQ must not end it.

It does end a process that closes a socket without a linger, when the connection breaks in the
moment between (`Resource temporarily unavailable`, session_base.cpp).
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable

import numpy as np

from edgeflow.codec import encode_signal, head_of
from edgeflow.config import NodeConfig
from edgeflow.io.links import Links
from edgeflow.messages import Endpoint, Submit, Welcome

ROUNDS = 300
GREETING = b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48)
PROPERTIES = b"\x05READY\x0bSocket-Type\0\0\0\6ROUTER\x08Identity\0\0\0\0"
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection."""


class Peer:
    """Speaks ZMTP (RFC 23) as far as a Welcome, then reads nothing."""

    def __init__(self) -> None:
        self.endpoint = Endpoint("127.0.0.1", *(self._listen() for _ in range(2)))
        self.connections: list[socket.socket] = []

    def hang_up(self) -> None:
        """Reset all connections."""
        while self.connections:
            self.connections.pop().close()

    def _listen(self) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return int(listening.getsockname()[1])

    def _accept(self, listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            connection.sendall(GREETING + b"\x04" + bytes([len(PROPERTIES)]) + PROPERTIES)
            heard = more = connection.recv(1000)
            while b"READY" not in heard and more:
                heard += (more := connection.recv(1000))
            welcome = encode_signal(Welcome("peer", 1))
            connection.sendall(b"\0" + bytes([len(welcome)]) + welcome)
            self.connections.append(connection)


def main() -> None:
    """Linked, busy sending, and over on both sides at about the same time."""
    chance, peer = random.Random(1), Peer()
    links = Links(node="camera", session=1, config=NodeConfig(name="camera", reachable=False))
    x = np.zeros(1 << 20, np.float32)
    message = Submit("cats", 1, 1.0, (head_of("x", x), head_of("y", x)))
    for _ in range(ROUNDS):
        links.open("peer", 1, (peer.endpoint,), "")
        drive(links, lambda: links.is_up("peer") and len(peer.connections) == 2)
        for _ in range(3):
            links.send_tensors("peer", message, {"x": x, "y": x})
        pause(0.002)
        links.close_peer("peer")
        pause(chance.uniform(0, 3e-4))
        peer.hang_up()
    links.close()


def drive(links: Links, until: Callable[[], bool]) -> None:
    """Run the links until then; an error after 5 s."""
    end_s = time.monotonic() + 5
    while not until():
        if time.monotonic() > end_s:
            raise TimeoutError
        links.receive(time.monotonic())
        time.sleep(0.0005)


def pause(seconds: float) -> None:
    """Exactly so long."""
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass


if __name__ == "__main__":
    main()
