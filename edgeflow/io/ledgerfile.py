"""A ledger on disk: written once, never changed.

    record ─▶ one line ─▶ one write(2) at the file's end      nothing waits in this process

Invariant: kill -9 of the writer costs at most the line that it is writing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType

import msgspec
import numpy as np

from edgeflow.errors import EdgeflowError, UsageError
from edgeflow.ledger.records import AnyRecord, Event, Line, parse, parse_events
from edgeflow.model.graph import Array


class LedgerFile:
    """Takes records from any thread. UsageError where the file exists or cannot be made."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._file = os.open(self.path, flags, 0o644)
        except FileExistsError:
            raise UsageError(
                f"{self.path} exists, and a ledger is never overwritten: name another file,"
                " or move this one away"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot write the ledger {self.path}: {error.strerror}") from None

    def __enter__(self) -> LedgerFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, record: Line) -> None:
        """One line, in the kernel's hands on return. EdgeflowError where the disk takes no more."""
        line = msgspec.json.encode(record) + b"\n"
        with self._lock:
            try:
                written = os.write(self._file, line)
            except OSError as error:
                raise EdgeflowError(
                    f"cannot write the ledger {self.path}: {error.strerror}; the run is not proven"
                ) from None
        if written != len(line):
            raise EdgeflowError(f"cannot write the ledger {self.path} whole; is the disk full?")

    def close(self) -> None:
        """Nothing more is written. May be called again."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def digest(outputs: Mapping[str, Array]) -> str:
    """sha256 over name, dtype, shape and bytes (little endian) of each array, by sorted name."""
    found = hashlib.sha256()
    for name in sorted(outputs):
        array = np.asarray(outputs[name])
        little = array.dtype.newbyteorder("<")
        found.update(msgspec.json.encode((name, array.dtype.name, array.shape)))
        found.update(array.astype(little, copy=False).tobytes())
    return found.hexdigest()


def read(path: str | os.PathLike[str]) -> list[AnyRecord]:
    """The records of a ledger. UsageError names file and line where it is malformed."""
    try:
        with Path(path).open("rb") as file:
            return parse(file, str(path))
    except OSError as error:
        raise UsageError(f"cannot read the ledger {path}: {error.strerror}") from None


def read_events(path: str | os.PathLike[str]) -> list[Event]:
    """An event log: JSON lines with `at_s` (monotonic) and `sentence`. UsageError as in `read`."""
    try:
        with Path(path).open("rb") as file:
            return parse_events(file, str(path))
    except OSError as error:
        raise UsageError(f"cannot read the events {path}: {error.strerror}") from None
