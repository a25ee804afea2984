"""What a node and its worker process say to each other, over a socket that only these two hold.

    length (4 bytes, big endian) + msgpack of one struct, and with some a file of shared memory

    node    Start, Calibrate, Build, Drop, RunLaid                ─▶ worker
    worker  Started, Rated, Made, Ran, SegmentUnbuildable, …Failed ─▶ node

Tensors do not pass here: they lie in shared memory (`slabs`), and `Laid` says where.

Invariant: data only. Nothing that crosses can run code.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from edgeflow.errors import EdgeflowError
from edgeflow.events import SegmentBuilt, SegmentFailed, SegmentKey, SegmentUnbuildable
from edgeflow.messages import Rates, Rect

LENGTH_BYTES = 4
MESSAGE_BYTES_MAX = 64 << 20
"""A segment of 10,000 weights takes 2 MB."""
RECEIVED_BYTES = 1 << 16
FILES_MAX = 8
"""Shared memory that comes with one message."""


class Place(Struct, frozen=True, array_like=True):
    """Bytes [offset, offset + nbytes) of a file."""

    path: str
    offset: int
    nbytes: int
    changed_ns: int = 0
    """When the file changed last, as it was verified; 0: it never does."""


class Laid(Struct, frozen=True, array_like=True):
    """A tensor in shared memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    rect: Rect | None
    offset: int
    """In bytes, in the slab that the message names."""


class Start(Struct, frozen=True, tag=True):
    """The first message: what this worker is."""

    threads: int
    device: str
    """cpu, cuda, or auto: cuda where torch sees one."""
    engines: tuple[str, ...]
    """In the order in which they are tried; on a GPU, only torch."""
    compares: bool
    """Is the quickest engine wanted, or the first that takes a segment?"""
    factor: float
    """Emulated slowness."""
    memory: str
    """The file in which is written which engine was quickest."""
    folder: str
    """For what engines write while they run."""


class Calibrate(Struct, frozen=True, tag=True):
    """Measure the rates of these engines."""

    engines: tuple[str, ...]


class Build(Struct, frozen=True, tag=True):
    """Make these layers runnable; of verified bytes, which lie where this says."""

    key: SegmentKey
    model: str
    layers: tuple[str, ...]
    tile: Rect | None
    manifest: Place
    weights: dict[str, Place]
    engine: str = ""
    """On this one first, unasked whether it is the quickest; empty: as found out."""


class Drop(Struct, frozen=True, tag=True):
    """Free a segment."""

    key: SegmentKey


class RunLaid(Struct, frozen=True, tag=True):
    """Run a segment on tensors of one slab, and lay what it makes in that or another one."""

    job: int
    key: SegmentKey
    inputs: tuple[Laid, ...]
    input_slab: int
    outputs: tuple[Laid, ...]
    output_slab: int
    output_start: int
    """Outputs begin there: behind the inputs, where they share a slab."""
    fresh: tuple[int, ...] = ()
    """Slabs that the worker does not have yet; their files come along, in this order."""
    gone: tuple[int, ...] = ()
    """Slabs that it hears no more of."""


class Started(Struct, frozen=True, tag=True):
    """The worker is up, and computes on this device."""

    device: str


class Rated(Struct, frozen=True, tag=True):
    """Calibrated: the rates, or why there are none."""

    rates: Rates | None
    text: str = ""


class Made(Struct, frozen=True, tag=True):
    """A segment is built, and a run takes about so long."""

    built: SegmentBuilt
    seconds: float


class Ran(Struct, frozen=True, tag=True):
    """A job ended well: its outputs lie where they were wished."""

    job: int
    seconds: float
    layers_s: tuple[float, ...]


ToWorker = Start | Calibrate | Build | Drop | RunLaid
FromWorker = Started | Rated | Made | SegmentUnbuildable | Ran | SegmentFailed


class WireError(EdgeflowError):
    """The other end said something that is no message of ours."""


class Channel:
    """One end. Where the socket does not block, what it does not take yet is kept until `flush`."""

    def __init__(self, end: socket.socket, heard: Any, *, takes_files: bool = False) -> None:
        """`heard`: the type, or the union of types, that the other end says. `takes_files`: with
        files."""
        self.end = end
        self._takes_files = takes_files
        self._decoder = msgspec.msgpack.Decoder(heard)
        self._got = b""
        self._files: deque[int] = deque()
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        """To be polled."""
        return self.end.fileno()

    @property
    def is_behind(self) -> bool:
        """Is there something that the socket did not take yet?"""
        return bool(self._unsent)

    def send(self, message: ToWorker | FromWorker, files: Sequence[int] = ()) -> None:
        """Where the other end is gone, nothing; `read` tells that."""
        body = msgspec.msgpack.encode(message)
        whole = len(body).to_bytes(LENGTH_BYTES, "big") + body
        self._unsent.append((whole, tuple(files)))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._unsent:
            rest, files = self._unsent[0]
            try:
                sent = socket.send_fds(self.end, [rest], files) if files else self.end.send(rest)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._unsent.clear()
                return
            if sent == len(rest):
                self._unsent.popleft()
            else:
                self._unsent[0] = (rest[sent:], ())

    def read(self) -> bool:
        """Take what is there, and wait for it where the socket blocks; False at the end."""
        try:
            if self._takes_files:
                raw, files, _, _ = socket.recv_fds(self.end, RECEIVED_BYTES, FILES_MAX)
                self._files.extend(files)
            else:
                raw = self.end.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._got = self._got + raw if self._got else raw
        return bool(raw)

    def next(self) -> Any:
        """The next message that is here as a whole, or None; WireError where it is none of ours."""
        if len(self._got) < LENGTH_BYTES:
            return None
        size = int.from_bytes(self._got[:LENGTH_BYTES], "big")
        if size > MESSAGE_BYTES_MAX:
            raise WireError(f"a message of {size} bytes")
        end = LENGTH_BYTES + size
        if len(self._got) < end:
            return None
        body, self._got = self._got[LENGTH_BYTES:end], self._got[end:]
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise WireError(f"no message of ours: {error}") from None

    def file(self) -> int:
        """The next file that came with a message; WireError where none did."""
        if not self._files:
            raise WireError("shared memory is missing: the process has too many files open")
        return self._files.popleft()

    def close(self) -> None:
        """No more words; files that nobody took are closed."""
        self.end.close()
        while self._files:
            os.close(self._files.popleft())
