"""What a message took to cross: until its receipt came back, less the way that the receipt took.

    handed over ── waits for those before it ──▶ on the link ── delay ──▶ there ── receipt ──▶ back
                                                 └─ bytes / rate ─┘

The receipt's own way is half of the way there and back of the quickest of the last small messages,
as NTP has it (RFC 5905, section 8): no two clocks are compared, and a link is taken to be as slow
in both ways.

Messages leave in the order in which they were handed over, so that one which overlapped another had
the link from when that one had left: a link that slows down goes on telling how slow it is, however
many frames are in flight. What followed a message whose receipt is missing tells nothing, nor does
what was quick: receipts come in bunches then.

A link whose last message was quick is asked now and then, a slow one every time: a receipt for each
frame costs as much as a small frame, and what is quick cannot overlap for long.

Receipts come in order too: what was handed over before a message that has its receipt, and has none
itself, is lost.

Invariant: at most WAITING_MAX messages a peer are remembered, none for longer than EXPIRES_S.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edgeflow.estimation.link import LIGHT_BYTES, SMALL_BYTES
from edgeflow.events import Transferred
from edgeflow.messages import Receipt

WAITING_MAX = 256
EXPIRES_S = 60.0
"""A receipt this late is of no use; what was refused or lost has none at all."""
QUICK_S = 0.005
"""A message that took less leaves no receipt wanted for a while; so little it can falsify."""
ASK_S = 0.05
"""The while: a link that slows down is noticed after so long."""
LIGHT_S, LIGHT_ASK_S = 0.05, 0.25
"""Light messages, where the last one took less than that, are asked about this often: what they
took is a busy machine's time more than the link's."""
APART_S = 0.01
"""What a message that overlapped another must have had the link for to tell of it: receipts of
quicker ones are apart by how busy the two machines are."""
UNASKED = 0
"""The serial of a message that wants no receipt."""
FATES = 64
"""Messages that the loss is taken from: one lost is 1.6 %. More forgets a bad minute later."""
TRIPS = 8
"""Small messages whose way there and back is remembered, as in NTP. More forgets later how long it
took while both nodes were busy starting: a link's bytes then pass for quicker than they are."""
LOSS_PEERS = 256
"""Peers whose losses are remembered beyond their links."""


@dataclass(slots=True)
class _Sent:
    start_s: float
    size_bytes: int
    unasked_bytes: int
    """Handed over before it, since the last one that wants a receipt."""
    after: tuple[str, int] | None
    """Peer and serial of the one before it; None where that had its receipt already."""


@dataclass(slots=True)
class _Known:
    """Of one peer, beside what is on its way."""

    asked_s: float = 0.0
    took_s: float = EXPIRES_S
    """The last receipted message, from hand to receipt."""
    trips_s: deque[float] = field(default_factory=lambda: deque(maxlen=TRIPS))
    """There and back, of the last small messages that went alone."""
    unasked_bytes: int = 0


@dataclass(slots=True)
class Receipts:
    """Messages on their way, by peer and serial; `is_shared` where all peers share one up-link."""

    is_shared: bool
    _waiting: dict[str, dict[int, _Sent]] = field(default_factory=dict)
    _known: dict[str, _Known] = field(default_factory=dict)
    _left: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    """By up-link, the last message that is known to have left: peer, serial, when."""
    _fates: dict[str, deque[bool]] = field(default_factory=dict)
    """By peer, which of the last messages were lost."""

    def wants(self, peer: str, size_bytes: int, now_s: float) -> bool:
        """Whether the next message to this peer, of so many bytes, should ask for a receipt."""
        known = self._known.get(peer) or _Known()
        if size_bytes < LIGHT_BYTES and known.took_s < LIGHT_S:
            return now_s - known.asked_s >= LIGHT_ASK_S
        return known.took_s >= QUICK_S or now_s - known.asked_s >= ASK_S

    def unasked(self, peer: str, size_bytes: int) -> None:
        """A tensor message that wants no receipt was handed over for sending."""
        self._known.setdefault(peer, _Known()).unasked_bytes += size_bytes

    def sent(self, peer: str, serial: int, size_bytes: int, now_s: float) -> None:
        """A tensor message was handed over for sending."""
        mine = self._waiting.setdefault(peer, {})
        for late in [key for key, sent in mine.items() if now_s - sent.start_s > EXPIRES_S]:
            self._lose(peer, late)
        while len(mine) >= WAITING_MAX:
            self._lose(peer, next(iter(mine)))
        known = self._known.setdefault(peer, _Known())
        after = self._last_waiting(peer)
        mine[serial] = _Sent(now_s, size_bytes, known.unasked_bytes, after)
        known.asked_s, known.unasked_bytes = now_s, 0

    def came(self, peer: str, receipt: Receipt, now_s: float) -> Transferred | None:
        """The event, where the receipt tells what its message alone took."""
        mine = self._waiting.get(peer, {})
        sent = mine.get(receipt.serial)
        if sent is None:
            return None
        for earlier in [serial for serial in mine if serial < receipt.serial]:
            self._lose(peer, earlier)
        del mine[receipt.serial]
        self._fate(peer).append(False)
        known = self._known[peer]
        known.took_s = took_s = now_s - sent.start_s
        if sent.size_bytes <= SMALL_BYTES and sent.after is None:
            known.trips_s.append(took_s)
        back_s = min(*known.trips_s, took_s) / 2 if known.trips_s else 0.0
        bucket = "" if self.is_shared else peer
        before = self._left.get(bucket)
        left_s = now_s - 2 * back_s
        self._left[bucket] = (peer, receipt.serial, left_s)
        if receipt.received_bytes != sent.size_bytes:
            return None
        loss = sum(self._fate(peer)) / len(self._fate(peer))
        if sent.after is None:
            return Transferred(peer, sent.size_bytes, took_s - back_s, loss, sent.start_s)
        if before is None or before[:2] != sent.after:
            return None
        on_link_s = left_s - max(sent.start_s, before[2])
        if on_link_s < APART_S:
            return None
        nbytes = sent.size_bytes + sent.unasked_bytes
        return Transferred(peer, nbytes, on_link_s + back_s, loss, sent.start_s)

    def forget(self, peer: str) -> None:
        """The link is gone, and what was on its way with it."""
        for serial in list(self._waiting.get(peer, ())):
            self._lose(peer, serial)
        for known in (self._waiting, self._known, self._left):
            known.pop(peer, None)

    def _last_waiting(self, peer: str) -> tuple[str, int] | None:
        """The message that is handed over before the next one and has no receipt yet."""
        crowd = self._waiting if self.is_shared else {peer: self._waiting[peer]}
        found = [(name, serial) for name, waiting in crowd.items() for serial in waiting]
        return max(found, key=lambda each: each[1], default=None)

    def _lose(self, peer: str, serial: int) -> None:
        del self._waiting[peer][serial]
        self._fate(peer).append(True)

    def _fate(self, peer: str) -> deque[bool]:
        if peer not in self._fates:
            while len(self._fates) >= LOSS_PEERS:
                del self._fates[next(iter(self._fates))]
            self._fates[peer] = deque(maxlen=FATES)
        return self._fates[peer]
