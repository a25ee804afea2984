"""Pieces of blobs: read for those who ask, stored where this node asked.

    SendChunk ─▶ errands: read ─▶ loop: BlobChunk, or BlobMissing          one at a time a peer
    Chunk, asked for ─▶ errands: append ─▶ ChunkStored into the inbox      others are dropped

Invariant: what nobody asked for never reaches the disk, and a peer that asks without reading makes
this node hold a bounded number of bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from edgeflow.codec import RAW
from edgeflow.errors import EdgeflowError
from edgeflow.events import ChunkStored, SendChunk
from edgeflow.io.arrivals import Chunk
from edgeflow.io.inbox import Inbox
from edgeflow.io.links import Links
from edgeflow.io.store import Store
from edgeflow.messages import BlobChunk, BlobMissing
from edgeflow.plans.fetch import Fetch

HELD_BYTES_MAX = 64 << 20
"""No piece is read for a peer while so much waits for its link. Lower lets its frames starve it of
weights; higher is what one that does not read costs."""

Do = Callable[[Callable[[], None]], None]
log = logging.getLogger("edgeflow")


class Chunks:
    """Between store and links; `do` runs slow work in another thread."""

    def __init__(self, store: Store, links: Links, inbox: Inbox, do: Do, fetch: Fetch) -> None:
        self._store, self._links, self._inbox = store, links, inbox
        self._do, self._fetch = do, fetch
        self._serving: set[str] = set()
        """Peers for whom a piece is being read."""

    def send(self, effect: SendChunk) -> None:
        """Read a piece for a peer; one that asks again before it has its answer is not heard."""
        peer, sha256 = effect.peer, effect.sha256
        if peer in self._serving or self._links.held_bytes(peer) > HELD_BYTES_MAX:
            self._links.counters["asked too often"] += 1
            return
        self._serving.add(peer)

        def read() -> None:
            try:
                raw = self._store.read(sha256, effect.offset_bytes, effect.length_bytes)
                message = BlobChunk(sha256, effect.offset_bytes, self._store.size(sha256))
            except (EdgeflowError, OSError, KeyError):
                raw = memoryview(b"")

            def answer() -> None:
                self._serving.discard(peer)
                if len(raw):
                    self._links.send_tensors(peer, message, {RAW: np.frombuffer(raw, np.uint8)})
                else:  # not here, or it ends before that piece
                    self._links.send_signal(peer, BlobMissing(sha256))

            self._inbox.put(answer)

        self._do(read)

    def keep(self, chunk: Chunk) -> None:
        """Store a piece, if it was asked for."""
        message, raw = chunk.message, bytes(chunk.raw)
        if not self._fetch.expects(chunk.peer, message):
            self._links.counters["unasked chunk"] += 1
            return

        def write() -> None:
            try:
                stored, complete, verified = self._store.append(
                    message.sha256, message.offset_bytes, raw, message.total_bytes
                )
            except (EdgeflowError, OSError) as error:
                log.warning("a piece of %s cannot be stored: %s", message.sha256[:12], error)
                stored, complete, verified = 0, True, False
            self._inbox.put(ChunkStored(chunk.peer, message, stored, complete, verified))

        self._do(write)
