"""Getting blobs (manifests, weights) from the nodes that hold them, piece by piece.

    wanted --ask holder--> asked --chunk--> asked … --last chunk, sha256 right--> here
       ^                     | missing, link down, silent for ANSWER_S, sha256 wrong
       '---- next holder ----'

One piece is under way at a time, and while frames are in flight here, a piece is followed by a
rest as long as it took: frames go first. No blob is asked for that the store holds.

Invariant: a blob counts as here only once the store has checked its sha256.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.events import ChunkStored, Effect, SendSignal
from edgeflow.messages import BlobChunk, BlobRequest

CHUNK_BYTES = 256 << 10
"""One piece: a frame waits behind at most one. Larger is faster where the way is long."""
ANSWER_S = 10.0
"""Silence after which another holder is asked: a piece at 0.25 Mbit/s takes 8 s."""
ROUND_S = 2.0
"""Once no holder had it, all are asked again after this long."""


@dataclass(slots=True)
class Fetch:
    """Blobs this node wants, in order."""

    wanted: dict[str, int] = field(default_factory=dict)
    """sha256 -> bytes (0: unknown, of a manifest)."""
    holders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """sha256 -> nodes to ask, in order."""
    tried: dict[str, list[str]] = field(default_factory=dict)
    current: str = ""
    peer: str = ""
    offset_bytes: int = 0
    asked_s: float = 0.0
    rest_until_s: float = 0.0
    is_resting: bool = False

    def want(self, sha256: str, size_bytes: int, holders: tuple[str, ...]) -> None:
        """Add a blob; asking again only renews the list of holders."""
        self.wanted.setdefault(sha256, size_bytes)
        self.holders[sha256] = holders

    def forget(self, sha256: str) -> None:
        """It is not wanted any more, or it is here."""
        self.wanted.pop(sha256, None)
        self.holders.pop(sha256, None)
        self.tried.pop(sha256, None)
        if self.current == sha256:
            self.current = ""

    def tick(self, linked: frozenset[str], now_s: float) -> list[Effect]:
        """Ask for the next piece if none is under way."""
        if now_s < self.rest_until_s:
            return []
        if self.current and self.is_resting:
            return self._ask(now_s)
        if self.current and now_s - self.asked_s < ANSWER_S:
            return []
        if self.current:
            self._give_up(self.peer)
        return self._start(linked, now_s)

    def _start(self, linked: frozenset[str], now_s: float) -> list[Effect]:
        """The first wanted blob that some linked holder was not asked for yet."""
        for sha256 in self.wanted:
            tried = self.tried.setdefault(sha256, [])
            for peer in self.holders[sha256]:
                if peer in linked and peer not in tried:
                    self.current, self.peer, self.offset_bytes = sha256, peer, 0
                    return self._ask(now_s)
        if self.wanted:
            self.tried.clear()
            self.rest_until_s = now_s + ROUND_S
        return []

    def on_chunk(self, event: ChunkStored, is_busy: bool, now_s: float) -> list[Effect]:
        """A piece was stored; ask for the next one, or be done with this blob."""
        sha256 = event.message.sha256
        if event.complete and event.verified:
            self.forget(sha256)
            return []
        if sha256 != self.current or event.peer != self.peer:
            return []
        if event.complete:
            self._give_up(event.peer)
            return []
        self.wanted[sha256] = event.message.total_bytes
        self.offset_bytes = event.stored_bytes
        if is_busy:
            self.rest_until_s = now_s + (now_s - self.asked_s)
            self.is_resting = True
            return []
        return self._ask(now_s)

    def expects(self, peer: str, message: BlobChunk) -> bool:
        """Whether this is the piece that was asked for, of whom it was asked."""
        return (peer, message.sha256, message.offset_bytes) == (
            self.peer,
            self.current,
            self.offset_bytes,
        )

    def on_missing(self, peer: str, sha256: str) -> None:
        """That node does not hold it."""
        if sha256 == self.current and peer == self.peer:
            self._give_up(peer)

    def on_link_down(self, peer: str) -> None:
        """Whoever was asked is gone."""
        if self.current and peer == self.peer:
            self._give_up(peer)

    def _ask(self, now_s: float) -> list[Effect]:
        self.asked_s, self.is_resting = now_s, False
        request = BlobRequest(self.current, self.offset_bytes, CHUNK_BYTES)
        return [SendSignal(self.peer, request)]

    def _give_up(self, peer: str) -> None:
        self.tried.setdefault(self.current, []).append(peer)
        self.current = ""
