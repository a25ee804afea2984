"""Who may shake hands: the ZAP handler of one node's context (ZeroMQ RFC 27).

CURVE alone admits any key. ZeroMQ asks here, with the key that the other side has proved to hold,
and only the cluster's own is let in.
"""

from __future__ import annotations

import zmq
from zmq.utils import z85

from edgeflow.io.keys import Keys
from edgeflow.io.lanes import ZAP_DOMAIN, Context, Socket

_ASKED_MAX = 64


class Zap:
    """Answers ZeroMQ's questions; the loop polls `socket` and calls `answer`."""

    def __init__(self, context: Context, keys: Keys) -> None:
        self._key = z85.decode(keys.public.encode())
        self.socket: Socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> int:
        """Answer all that wait; how many were turned away."""
        refused = 0
        for _ in range(_ASKED_MAX):
            try:
                asked = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            admitted = self._is_ours(asked)
            verdict = [b"200", b"OK"] if admitted else [b"400", b"not a key of this cluster"]
            self.socket.send_multipart([b"1.0", asked[1], *verdict, b"", b""])
            refused += not admitted
        return refused

    def _is_ours(self, asked: list[bytes]) -> bool:
        version, _request, domain, _address, _identity, mechanism, *credentials = asked
        found = (version, domain, mechanism, credentials)
        return found == (b"1.0", ZAP_DOMAIN, b"CURVE", [self._key])
