"""The sockets of the links, kept in the loop's poller as they come and go."""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from edgeflow.io.lanes import Socket


class Watch:
    """A set of sockets, mirrored in at most one poller."""

    def __init__(self) -> None:
        self._sockets: dict[Socket, None] = {}
        self._poller: zmq.Poller | None = None

    def register(self, poller: zmq.Poller) -> None:
        """Mirror all of them there, from now on."""
        self._poller = poller
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)

    def add(self, *sockets: Socket) -> None:
        """They are open."""
        for socket in sockets:
            self._sockets[socket] = None
            if self._poller:
                self._poller.register(socket, zmq.POLLIN)

    def remove(self, *sockets: Socket) -> None:
        """They are about to be closed."""
        for socket in sockets:
            if self._sockets.pop(socket, 0) is None and self._poller:
                self._poller.unregister(socket)

    def holds_any(self, ready: Iterable[object]) -> bool:
        """Whether one of these is ours."""
        return any(each in self._sockets for each in ready)

    def clear(self) -> None:
        """All of them are."""
        self.remove(*self._sockets)
