"""Writes a node's event log: a thread of its own, behind a bounded queue.

    loop ──note──▶ queue ──▶ encode, write, flush ──▶ FILE      the last run's: FILE.1
                     └ full: counted, and a gap in the file

A log that lost its beginning could not be replayed. So at its limit it ends, with a word on that in
the file and in the node's log, instead of turning.

Invariant: the loop never waits for the disk, and a full or broken disk never ends the node.
"""

from __future__ import annotations

import logging
import mmap
import time
from collections import deque
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import BinaryIO

from edgeflow.errors import UsageError
from edgeflow.events import Effect, Event
from edgeflow.messages import Caps
from edgeflow.mind.eventlog import End, EventLogError, EventWriter, Gap, frame

QUEUED_MAX = 20_000
"""Events that wait for the writer: some seconds of a busy node. More remembers a longer stall."""
FLUSH_S = 0.2
"""A process that is killed loses so much of its log at most. Lower wakes the writer more often."""

_log = logging.getLogger("edgeflow.eventlog")
_Noted = tuple[float, Event, Sequence[Effect]]


class EventLog:
    """One file. UsageError where it cannot be made."""

    def __init__(self, path: Path, caps: Caps, bytes_max: int) -> None:
        self.path, self._bytes_max = path, bytes_max
        self.dropped = 0
        """Events that no room was left for, since the last gap was written."""
        self._queue: deque[_Noted] = deque()
        self._writer = EventWriter()
        self._is_open, self._closing = True, Flag()
        begun = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._file = _fresh(path)
        self._written = 0
        self._put(self._writer.head(software(), caps, begun))
        self._thread = Thread(target=self._run, name="edgeflow-eventlog", daemon=True)
        self._thread.start()

    def note(self, at_s: float, event: Event, effects: Sequence[Effect]) -> None:
        """Take down what the core just did; called by the loop, after each event."""
        if not self._is_open:
            return
        if self.dropped or len(self._queue) >= QUEUED_MAX:
            self.dropped += 1
        else:
            self._queue.append((at_s, event, effects))

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left."""
        self._closing.set()
        self._thread.join(timeout_s)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing.wait(FLUSH_S) and self._is_open:
                self._write()
            self._write()
            if self._is_open:
                self._put(frame(End("the node stopped")))
        except OSError as error:
            _log.warning("%s cannot be written any more: %s", self.path, error)
        finally:
            self._is_open = False
            self._queue.clear()
            self._shut()

    def _write(self) -> None:
        """All that waits, and the gap behind it, where there is one."""
        while self._queue and self._is_open:
            at_s, event, effects = self._queue.popleft()
            try:
                self._put(self._writer.step(at_s, event, effects))
            except EventLogError as error:
                _log.warning("an event is missing in %s: %s", self.path, error)
                self._put(frame(Gap(1)))
            if self._written >= self._bytes_max:
                self._end_at_limit()
        if self._is_open and self.dropped:
            dropped, self.dropped = self.dropped, 0
            _log.warning("%s has a gap: %d events came too fast", self.path, dropped)
            self._put(frame(Gap(dropped)))
        if self._is_open:
            self._file.flush()

    def _put(self, raw: bytes) -> None:
        self._file.write(raw)
        self._written += len(raw)

    def _end_at_limit(self) -> None:
        why = f"it reached {self._bytes_max} bytes, the setting event_log_bytes_max"
        self._put(frame(End(why)))
        self._is_open = False
        self._file.flush()
        _log.warning("%s ends here: %s", self.path, why)

    def _shut(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            _log.warning("%s was not written to its end: %s", self.path, error)


def software() -> str:
    """The version of edgeflow that runs."""
    try:
        return version("edgeflow-dnn")
    except PackageNotFoundError:
        return "unknown (not installed)"


def view(path: Path) -> memoryview:
    """A log's bytes; EventLogError where there is no such file."""
    try:
        if not path.stat().st_size:
            raise EventLogError(f"{path}: it is empty")
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise EventLogError(f"{path}: {error.strerror or error}") from None


def _fresh(path: Path) -> BinaryIO:
    """The file, empty; what was there before is FILE.1 now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            path.replace(path.with_name(f"{path.name}.1"))
        return path.open("wb")
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"event_log: {path} cannot be written: {why}; name another") from None
