"""Where a running relay is asked: a Unix socket of its own, one message a request, one an answer.

SOCK_SEQPACKET: a connection keeps the borders between messages, so nothing has to be put together.

Invariant: whatever comes, the desk answers or hangs up; it neither waits nor raises.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgeflow.errors import NetworkError
from edgeflow.lab.wires import Request

REQUEST_BYTES_MAX = 1 << 16
ANSWER_BYTES_MAX = 1 << 20
VISITORS_MAX = 16
"""Connections at once; the oldest is hung up for one more."""
QUEUE_MAX = 128
"""At the door; a visitor with a time limit is turned away, not kept, by a full one."""


class Desk:
    """The relay's side, driven by the relay's own poller."""

    def __init__(self, path: Path, poller: select.epoll, answer: Callable[[bytes], object]) -> None:
        self._path = path
        self._poller = poller
        self._answer = answer
        self._door = listen(path)
        self._visitors: dict[int, socket.socket] = {}
        poller.register(self._door, select.EPOLLIN)

    def serve(self, descriptor: int) -> None:
        """What the poller reports: somebody at the door, or a request."""
        if visitor := self._visitors.get(descriptor):
            self._hear(visitor)
        elif descriptor == self._door.fileno():
            self._welcome()

    def close(self) -> None:
        """Nobody is served any more, and the path is free."""
        for visitor in [*self._visitors.values(), self._door]:
            visitor.close()
        self._path.unlink(missing_ok=True)

    def _welcome(self) -> None:
        try:
            visitor = self._door.accept()[0]
        except OSError:
            return  # gone again
        visitor.setblocking(False)
        if len(self._visitors) >= VISITORS_MAX:
            self._hang_up(next(iter(self._visitors.values())))
        self._visitors[visitor.fileno()] = visitor
        self._poller.register(visitor, select.EPOLLIN)

    def _hear(self, visitor: socket.socket) -> None:
        try:
            request = visitor.recv(REQUEST_BYTES_MAX)
            if request:
                visitor.send(msgspec.json.encode(self._answer(request)))
                return
        except OSError:
            pass
        self._hang_up(visitor)

    def _hang_up(self, visitor: socket.socket) -> None:
        self._poller.unregister(visitor)
        del self._visitors[visitor.fileno()]
        visitor.close()


def listen(path: Path) -> socket.socket:
    """A socket there that only its owner may use; one that a killed relay left behind goes."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        if path.is_socket():
            path.unlink()
        door.bind(str(path))
        door.listen(QUEUE_MAX)
    except OSError as error:
        door.close()
        raise NetworkError(
            f"control socket {path}: {error.strerror}; name a path in a folder that can be written"
        ) from None
    finally:
        os.umask(mask)
    return door


def ask(path: str | Path, request: Request | Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """A relay's answer, with the key `error` where it did not like the request.

    NetworkError where no relay answers within the time.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(timeout_s)
            asking.connect(str(path))
            asking.send(msgspec.json.encode(request))
            answer = asking.recv(ANSWER_BYTES_MAX)
        return msgspec.json.decode(answer, type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        why = str(error) or type(error).__name__
        raise NetworkError(f"no relay answers at {path} ({why}); is it still running?") from None
