"""Weights and manifests on disk, by the sha256 of their bytes.

    add_model(file) ─▶ served out of the file itself ┐
    append(piece) ─▶ partial ─▶ sha256 right ─▶ blob ┴─▶ has · read · array

What a restart finds is checked before its first use; the longest unused blobs go when it gets full.

Invariant: nothing is read out of here whose sha256 was not checked in this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.graph import Array, Weight
from edgeflow.modelfile import index

PARTIAL_BYTES_MAX = 4 << 30
"""A blob longer than this is not taken."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a blob lies."""

    path: Path
    offset_bytes: int
    size_bytes: int


class Store:
    """Used from several threads."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._lock = RLock()
        self._bytes_max = bytes_max
        self._blobs, self._partial = folder / "blobs", folder / "partial"
        for each in (self._blobs, self._partial):
            each.mkdir(parents=True, exist_ok=True)
        for left_over in self._partial.iterdir():
            left_over.unlink()
        self._manifests: dict[str, bytes] = {}
        self._slots: dict[str, Slot] = {}
        self._checked: set[str] = set()
        for path in self._blobs.iterdir():
            self._slots[path.name] = Slot(path, 0, path.stat().st_size)

    def add_model(self, path: Path) -> str:
        """Serve everything in a model file from there; its digest. ModelError as `index`."""
        manifest, places = index(path)
        digest = hashlib.sha256(manifest).hexdigest()
        with self._lock:
            self._manifests[digest] = manifest
            for sha256, (offset_bytes, size_bytes) in places.items():
                if sha256 not in self._slots:
                    self._slots[sha256] = Slot(path.resolve(), offset_bytes, size_bytes)
        return digest

    def has(self, sha256: str) -> bool:
        """The blob is here and sound; checked once, then known."""
        with self._lock:
            if sha256 in self._manifests:
                return True
            slot = self._slots.get(sha256)
            if slot is None:
                return False
            if sha256 in self._checked:
                return slot.path.exists()
            if _sha256_of(slot) == sha256:
                self._checked.add(sha256)
                return True
            self._forget(sha256, slot)
            return False

    def size(self, sha256: str) -> int:
        """Bytes of a blob that is here; KeyError where it is not."""
        with self._lock:
            if sha256 in self._manifests:
                return len(self._manifests[sha256])
            return self._slots[sha256].size_bytes

    def read(self, sha256: str, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        """Bytes of a blob from an offset on; ModelError where it is not here."""
        if not self.has(sha256):
            raise ModelError(f"no blob {sha256[:12]} here")
        with self._lock:
            if sha256 in self._manifests:
                end = None if length_bytes is None else offset_bytes + length_bytes
                return self._manifests[sha256][offset_bytes:end]
            slot = self._slots[sha256]
        left = max(0, slot.size_bytes - offset_bytes)
        with slot.path.open("rb") as file:
            file.seek(slot.offset_bytes + offset_bytes)
            return file.read(left if length_bytes is None else min(length_bytes, left))

    def array(self, weight: Weight) -> Array:
        """A weight as a read-only array over the file; ModelError where it is not here."""
        if not self.has(weight.sha256):
            raise ModelError(f"weight {weight.name} is not here, or its file was changed")
        slot = self._slots[weight.sha256]
        dtype = np.dtype(weight.dtype).newbyteorder("<")
        if slot.size_bytes != weight.nbytes:
            raise ModelError(f"weight {weight.name} has {slot.size_bytes} bytes")
        if not slot.size_bytes:
            return np.zeros(weight.shape, dtype)
        with contextlib.suppress(OSError):
            os.utime(slot.path)
        return np.memmap(slot.path, dtype, "r", slot.offset_bytes, weight.shape)

    def append(
        self, sha256: str, offset_bytes: int, raw: bytes, total_bytes: int
    ) -> tuple[int, bool, bool]:
        """Add a piece: (bytes so far, complete, sound). A piece that does not fit is left out."""
        path = self._partial / sha256
        with self._lock:
            have = path.stat().st_size if path.exists() else 0
            if offset_bytes == 0 and have:
                path.unlink()
                have = 0
            if offset_bytes != have or total_bytes > PARTIAL_BYTES_MAX:
                return have, False, False
            with path.open("ab") as file:
                file.write(raw)
            have += len(raw)
            if have < total_bytes:
                return have, False, False
            return have, True, self._finish(sha256, path, have)

    def _finish(self, sha256: str, path: Path, size_bytes: int) -> bool:
        """The last piece came: keep the blob if its sha256 is right."""
        if _sha256_of(Slot(path, 0, size_bytes)) != sha256:
            path.unlink()
            return False
        self._make_room(size_bytes)
        target = self._blobs / sha256
        path.replace(target)
        self._slots[sha256] = Slot(target, 0, size_bytes)
        self._checked.add(sha256)
        return True

    def _make_room(self, size_bytes: int) -> None:
        """Let the longest unused blobs go."""
        held = sorted(self._blobs.iterdir(), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in held) + size_bytes
        for path in held:
            if total <= self._bytes_max:
                return
            total -= path.stat().st_size
            self._forget(path.name, self._slots[path.name])

    def _forget(self, sha256: str, slot: Slot) -> None:
        self._slots.pop(sha256, None)
        self._checked.discard(sha256)
        if slot.path.parent == self._blobs:
            slot.path.unlink(missing_ok=True)


def next_session(folder: Path) -> int:
    """A session number above every earlier one of this folder; the clock only helps."""
    path = folder / "session"
    try:
        last = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        last = 0
    session = max(last + 1, time.time_ns() // 1_000_000)
    fresh = path.with_suffix(".new")
    fresh.write_text(str(session), encoding="ascii")
    fresh.replace(path)
    return session


def _sha256_of(slot: Slot) -> str:
    """Of the slot's bytes; empty where they cannot be read."""
    found, left = hashlib.sha256(), slot.size_bytes
    try:
        with slot.path.open("rb") as file:
            file.seek(slot.offset_bytes)
            while left and (piece := file.read(min(left, _READ_BYTES))):
                found.update(piece)
                left -= len(piece)
    except OSError:
        return ""
    return found.hexdigest() if not left else ""
