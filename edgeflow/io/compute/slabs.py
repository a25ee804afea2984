"""Tensors between a node and its worker process: shared memory that one of them owns.

    node    Slabs.take(bytes) ─▶ Slab ─▶ views ─ the last view gone ─▶ idle ─▶ taken again, or gone
    worker  Mapped: the same memory, by the file that came with the first message that names it

Invariant: a slab is idle only while no array of the node lies in it, so that nothing is overwritten
that is still being sent or read.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeflow.io.compute.wire import Laid
from edgeflow.messages import Rect
from edgeflow.model.graph import Array

ALIGNED_BYTES = 64
"""Every tensor begins at a multiple of this, as an engine's own do."""
GRAIN_BYTES = 256 << 10
"""Sizes of slabs are multiples of this; coarser fits more jobs and wastes more."""
WASTE_MAX = 4
"""A slab of up to so many times the size wanted is taken instead of a new one."""
IDLE_MAX, IDLE_BYTES_MAX = 8, 256 << 20
"""What is kept for the next job; the longest idle goes first."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Form:
    """A tensor that is to be laid."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    rect: Rect | None = None

    @property
    def nbytes(self) -> int:
        """Of its elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def lay(forms: Iterable[Form]) -> tuple[tuple[Laid, ...], int]:
    """Where each lies in one slab, and the bytes of all."""
    laid, end = [], 0
    for form in forms:
        laid.append(Laid(form.name, form.dtype, form.shape, form.rect, end))
        end += -(-form.nbytes // ALIGNED_BYTES) * ALIGNED_BYTES
    return tuple(laid), end


def view(whole: Bytes, laid: Laid, start: int = 0) -> Array:
    """The tensor that lies there, in what begins at `start`; TypeError where it does not fit in."""
    made: Array = np.ndarray(laid.shape, laid.dtype, buffer=whole.data, offset=start + laid.offset)
    return made


@dataclass(slots=True)
class Slab:
    """Shared memory with a file of its own."""

    number: int
    size: int
    file: int
    pages: mmap.mmap

    def whole(self) -> Bytes:
        """All of it; every view of it keeps this array."""
        return np.frombuffer(self.pages, np.uint8)


class Slabs:
    """Those of a node's one worker. Only the thread that made it calls it; arrays end anywhere."""

    def __init__(self) -> None:
        self._count = 0
        self._idle: dict[int, Slab] = {}
        self._lent: dict[int, Slab] = {}
        self._freed: deque[int] = deque()
        self.gone: list[int] = []
        """Numbers that were in use and will not be again, until somebody takes note."""

    @property
    def lent(self) -> int:
        """How many hold arrays now."""
        self._take_back()
        return len(self._lent)

    def take(self, nbytes: int) -> Slab:
        """One of at least so many bytes; OSError where there is no memory for it."""
        self._take_back()
        fits = [
            slab
            for slab in self._idle.values()
            if nbytes <= slab.size <= max(WASTE_MAX * nbytes, GRAIN_BYTES)
        ]
        if fits:
            return self._idle.pop(min(fits, key=lambda slab: slab.size).number)
        self._count += 1
        return _new(self._count, -(-max(nbytes, 1) // GRAIN_BYTES) * GRAIN_BYTES)

    def lend(self, slab: Slab) -> Bytes:
        """All of a slab that was taken; once this array and all views of it are gone, the slab is
        idle again."""
        whole = slab.whole()
        self._lent[slab.number] = slab
        # No lock in here: arrays end in whatever thread drops them last.
        weakref.finalize(whole, self._freed.append, slab.number).atexit = False
        return whole

    def give_back(self, slab: Slab) -> None:
        """Nobody uses it any more."""
        self._idle[slab.number] = slab
        while len(self._idle) > IDLE_MAX or self._idle_bytes() > IDLE_BYTES_MAX:
            self._close(self._idle.pop(next(iter(self._idle))))

    def close(self) -> None:
        """Free what is idle, and what is lent once its arrays are gone."""
        self._take_back()
        for slab in (*self._idle.values(), *self._lent.values()):
            self._close(slab)
        self._idle.clear()
        self._lent.clear()

    def _take_back(self) -> None:
        while self._freed:
            slab = self._lent.pop(self._freed.popleft(), None)
            if slab is not None:
                self.give_back(slab)

    def _idle_bytes(self) -> int:
        return sum(slab.size for slab in self._idle.values())

    def _close(self, slab: Slab) -> None:
        # The pages are unmapped with their last reference: an array may still end in this moment.
        os.close(slab.file)
        self.gone.append(slab.number)


class Mapped:
    """A worker's view of the slabs that it was shown."""

    def __init__(self) -> None:
        self._slabs: dict[int, Bytes] = {}
        self._read: tuple[int, Sequence[Laid], dict[str, tuple[Array, Rect | None]]] = (0, (), {})
        self._written: tuple[int, Sequence[Laid], int, dict[str, Array]] = (0, (), 0, {})
        """What was asked for last, and will be again."""

    def show(self, number: int, file: int) -> None:
        """A slab, by its file, which is closed."""
        try:
            self._slabs[number] = np.frombuffer(mmap.mmap(file, 0), np.uint8)
        finally:
            os.close(file)

    def forget(self, numbers: Iterable[int]) -> None:
        """The node will not name them again."""
        for number in numbers:
            del self._slabs[number]
            self._read, self._written = (0, (), {}), (0, (), 0, {})

    def read(self, slab: int, laid: Sequence[Laid]) -> Mapping[str, tuple[Array, Rect | None]]:
        """Read-only views of tensors, with the rectangle that each is."""
        if self._read[:2] != (slab, laid):
            found = {}
            for each in laid:
                array = view(self._slabs[slab], each)
                array.flags.writeable = False
                found[each.name] = (array, each.rect)
            self._read = (slab, laid, found)
        return self._read[2]

    def write(self, slab: int, laid: Sequence[Laid], start: int, made: Mapping[str, Array]) -> None:
        """Lay tensors from `start` on; ValueError where one is not of the form that was told."""
        if self._written[:3] != (slab, laid, start):
            places = {each.name: view(self._slabs[slab], each, start) for each in laid}
            self._written = (slab, laid, start, places)
        for name, place in self._written[3].items():
            array = made[name]
            if array.shape != place.shape or array.dtype != place.dtype:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}, not {place.dtype} {place.shape}"
                )
            place[...] = array


def _new(number: int, size: int) -> Slab:
    """Anonymous memory; where the system has none, a file without a name."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create(f"edgeflow-{number}", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as nameless:
            file = os.dup(nameless.fileno())
    try:
        # Reserved now: memory that is not there is an error here and would be a signal later.
        os.posix_fallocate(file, 0, size)
        return Slab(number, size, file, mmap.mmap(file, size))
    except BaseException:
        os.close(file)
        raise
