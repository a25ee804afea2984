"""What other threads have for the loop, in order; and the bell that wakes it.

    MQTT thread ── offer ──┐  bounded: a full inbox drops, what was said will be said again
    workers     ── put ────┼─▶ items ─▶ the loop
    user        ── put ────┘  never dropped: each is bounded by what the loop itself asked for

Invariant: a thread that gives never waits.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from threading import Lock, get_ident

from edgeflow.events import Event

ITEMS_MAX = 10_000
"""Control messages that may wait: ten seconds of a fleet of 100 nodes."""

Item = Event | Callable[[], None]
"""An event for the core, or something that the loop's thread must do itself."""


class Inbox:
    """A queue with a file descriptor that is readable while something may be in it."""

    def __init__(self) -> None:
        self.dropped = 0
        self._owner = 0
        self._items: deque[Item] = deque()
        self._lock = Lock()
        self._rung = False
        self._reader, self._bell = socket.socketpair()
        self._reader.setblocking(False)
        self._bell.setblocking(False)

    def fileno(self) -> int:
        """To be polled."""
        return self._reader.fileno()

    def own(self) -> None:
        """This thread takes: it needs no bell, as it empties the inbox before it polls again."""
        self._owner = get_ident()

    def offer(self, item: Item) -> bool:
        """Give an item that may be dropped."""
        if len(self._items) >= ITEMS_MAX:
            self.dropped += 1
            return False
        self.put(item)
        return True

    def put(self, item: Item) -> None:
        """Give an item that must arrive."""
        with self._lock:
            self._items.append(item)
            if self._rung or get_ident() == self._owner:
                return
            # Under the lock: a bell that rings after its item was taken would ring on and on.
            self._rung = True
            with contextlib.suppress(OSError):  # closed: nobody reads any more
                self._bell.send(b"\0")

    def take(self) -> list[Item]:
        """Everything that is in it."""
        with self._lock:
            if self._rung:
                self._rung = False
                with contextlib.suppress(OSError):  # nothing there, or closed
                    self._reader.recv(64)
            items = list(self._items)
            self._items.clear()
        return items

    def close(self) -> None:
        """No more bells."""
        self._reader.close()
        self._bell.close()
