"""Weights on disk, named by the sha256 of their bytes.

    append, append … ──last byte──▶ sha256 right? ──yes──▶ blob    bounded, longest unused go first
    model file ──add_model──▶ served from where it lies            never removed, it is the user's

After a restart the bytes on disk are as good as strangers': each blob is verified when it is first
read. A blob that fails is dropped, and its absence heals like any other.

Invariant: bytes that leave the store have the sha256 that they are asked by.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from edgeflow import modelfile
from edgeflow.errors import ModelError, UsageError
from edgeflow.model.graph import Array, Weight
from edgeflow.model.manifest import digest

PARTIALS_MAX = 64
"""Blobs being fetched at one time; the longest untouched is dropped for a new one."""
SESSION_STEP = 64
"""Session numbers, which are milliseconds where the clock is right, rise by one to so much: less
than a process takes to start."""
BLOB_BYTES_MAX = 1 << 34
_log = logging.getLogger("edgeflow.store")


@dataclass(slots=True)
class _Blob:
    """Bytes [offset, offset + nbytes) of a file."""

    path: Path
    offset: int
    nbytes: int
    verified: bool
    owned: bool
    """We wrote it, and may remove it."""


@dataclass(slots=True)
class _Partial:
    path: Path
    total: int
    stored: int
    sha: Any


class Store:
    """Blobs under `state_dir`, at most `bytes_max` of them. Any thread may call it.

    UsageError where another process uses the same folder.
    """

    def __init__(self, state_dir: Path, bytes_max: int) -> None:
        self.state_dir = state_dir
        self._folder = state_dir / "blobs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._bytes_max = bytes_max
        self._lock = RLock()
        self._partials: OrderedDict[str, _Partial] = OrderedDict()
        self._guard = _lock_folder(state_dir)
        self._blobs: OrderedDict[str, _Blob] = OrderedDict()
        self._files: dict[str, _Blob] = {}
        """What model files hold."""
        nothing = hashlib.sha256(b"").hexdigest()  # a weight without elements needs no fetching
        self._files[nothing] = _Blob(self._folder, 0, 0, True, False)
        found = [path for path in self._folder.iterdir() if _is_digest(path.name)]
        for path in sorted(found, key=lambda path: path.stat().st_mtime):
            self._blobs[path.name] = _Blob(path, 0, path.stat().st_size, False, True)
        for path in self._folder.glob("*.part"):
            path.unlink()

    def add_model(self, path: Path) -> str:
        """Serve a model file's manifest and weights from where they lie; the model's digest.

        ModelError where the file is missing, damaged or no model of ours.
        """
        path = path.absolute()
        manifest, weights = modelfile.index(path)
        model = digest(manifest)
        with self._lock:
            for sha256, (offset, nbytes) in weights.items():
                self._files[sha256] = _Blob(path, offset, nbytes, False, False)
            if not self.has(model):
                self.append(model, 0, manifest, len(manifest))
        return model

    def has(self, sha256: str) -> bool:
        """Whole, and not known to be damaged."""
        with self._lock:
            return sha256 in self._blobs or sha256 in self._files

    def size(self, sha256: str) -> int:
        """Bytes of a blob; ModelError where it is not here."""
        return self._find(sha256).nbytes

    def read(self, sha256: str, offset: int = 0, length: int | None = None) -> memoryview:
        """Some bytes of a blob, read-only; fewer at its end. ModelError where it is not here."""
        whole = self._map(sha256)
        return whole[offset:] if length is None else whole[offset : offset + length]

    def place(self, sha256: str) -> tuple[Path, int, int, int]:
        """(file, offset, bytes, when it changed last) of a blob, verified, for a process that maps
        it by itself. Of what is named by its sha256, 0: it never changes. ModelError where it is
        not here."""
        self._map(sha256)
        blob = self._find(sha256)
        changed_ns = 0 if blob.owned else blob.path.stat().st_mtime_ns
        return blob.path.absolute(), blob.offset, blob.nbytes, changed_ns

    def array(self, weight: Weight) -> Array:
        """A weight, read-only, mapped from disk. ModelError where it is not here."""
        return modelfile.array_of(self._map(weight.sha256), weight)

    def append(self, sha256: str, offset: int, raw: bytes, total: int) -> tuple[int, bool, bool]:
        """Put a piece behind what is there: (bytes stored so far, complete, verified).

        A piece that does not begin where the last one ended changes nothing. A blob that is
        complete and has another sha256 is dropped.
        """
        with self._lock:
            if self.has(sha256):
                return self.size(sha256), True, True
            if not 0 < total <= min(BLOB_BYTES_MAX, self._bytes_max or BLOB_BYTES_MAX):
                raise ModelError(f"a blob of {total} bytes is above store_bytes_max")
            partial = self._partial(sha256, total)
            if offset != partial.stored or partial.total != total:
                return partial.stored, False, False
            with partial.path.open("ab") as file:
                file.write(raw)
            partial.sha.update(raw)
            partial.stored += len(raw)
            if partial.stored < total:
                return partial.stored, False, False
            return total, True, self._complete(sha256, partial)

    def _partial(self, sha256: str, total: int) -> _Partial:
        partial = self._partials.get(sha256)
        if partial is None:
            while len(self._partials) >= PARTIALS_MAX:
                self._partials.popitem(last=False)[1].path.unlink(missing_ok=True)
            path = self._folder / f"{sha256}.part"
            path.unlink(missing_ok=True)
            partial = self._partials[sha256] = _Partial(path, total, 0, hashlib.sha256())
        self._partials.move_to_end(sha256)
        return partial

    def _complete(self, sha256: str, partial: _Partial) -> bool:
        del self._partials[sha256]
        if partial.stored != partial.total or partial.sha.hexdigest() != sha256:
            _log.warning("blob %s came with other bytes and was dropped", sha256[:12])
            partial.path.unlink(missing_ok=True)
            return False
        path = self._folder / sha256
        partial.path.replace(path)
        self._blobs[sha256] = _Blob(path, 0, partial.total, True, True)
        self._make_room(keep=sha256)
        return True

    def _make_room(self, keep: str) -> None:
        held = sum(blob.nbytes for blob in self._blobs.values())
        for sha256 in list(self._blobs):
            if held <= self._bytes_max or sha256 == keep:
                return
            # Arrays mapped from it live on: the file goes once the last of them has gone.
            held -= self._blobs[sha256].nbytes
            self._remove(sha256)

    def _find(self, sha256: str) -> _Blob:
        with self._lock:
            blob = self._files.get(sha256) or self._blobs.get(sha256)
            if blob is None:
                raise ModelError(f"blob {sha256[:12]} is not in the store")
            if blob.owned:
                self._blobs.move_to_end(sha256)
            return blob

    def _map(self, sha256: str) -> memoryview:
        blob = self._find(sha256)
        try:
            whole = mapped(blob.path, blob.offset, blob.nbytes)
            if not blob.verified:
                blob.verified = hashlib.sha256(whole).hexdigest() == sha256
                if blob.owned:
                    now_s = time.time()
                    os.utime(blob.path, (now_s, now_s))
        except (OSError, ValueError) as error:
            self._remove(sha256)
            raise ModelError(f"cannot read blob {sha256[:12]} of {blob.path}: {error}") from error
        if not blob.verified:
            self._remove(sha256)
            raise ModelError(f"{blob.path} is damaged (blob {sha256[:12]}): fetch it again")
        return whole

    def _remove(self, sha256: str) -> None:
        with self._lock:
            self._files.pop(sha256, None)
            blob = self._blobs.pop(sha256, None)
            if blob is not None:
                blob.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._guard)


def next_session(state_dir: Path, above: int = 0) -> int:
    """A session number above every earlier one of this folder, also when the clock went back.

    Some chance is in it: two machines with copies of one card must not get the same.
    """
    file = state_dir / "session"
    try:
        last = int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        last = 0
    session = max(last, above, time.time_ns() // 1_000_000) + 1 + secrets.randbelow(SESSION_STEP)
    state_dir.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    with temporary.open("w", encoding="ascii") as out:
        out.write(f"{session}\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
    return session


def mapped(path: Path, offset: int, nbytes: int) -> memoryview:
    """Bytes [offset, offset + nbytes) of a file, read-only; OSError or ValueError where they are
    not there."""
    if nbytes == 0:
        return memoryview(b"")
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    skipped = offset - start
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), skipped + nbytes, access=mmap.ACCESS_READ, offset=start)
    return memoryview(pages)[skipped:]


def _lock_folder(state_dir: Path) -> int:
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UsageError(
            f"another node uses {state_dir}: give each node of this machine its own --state-dir"
        ) from error
    return handle


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
