"""What a message took to cross: until its receipt came back, less the way that the receipt took.

The receipt's own way is half of the quickest small message's way there and back, as NTP has it
(RFC 5905, section 8): no two clocks are compared, and a link is taken to be as slow in both ways.

Only messages that had the link alone count: one that overlapped another says nothing of the rate.
A link whose last message was quick is asked now and then, a slow one every time: a receipt for each
frame costs as much as a small frame, and what is quick cannot overlap for long.

Invariant: at most WAITING_MAX messages a peer are remembered, none for longer than EXPIRES_S.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.estimate import LIGHT_BYTES
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
SMALL_BYTES = 4096
"""So little fits into one flight of packets: such a message's time is delay, there and back."""
UNASKED = 0
"""The serial of a message that wants no receipt."""


@dataclass(slots=True)
class _Sent:
    start_s: float
    size_bytes: int
    alone: bool


class Receipts:
    """Messages on their way, by peer and serial; `is_shared` where all peers share one up-link."""

    def __init__(self, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._waiting: dict[str, dict[int, _Sent]] = {}
        self._last: dict[str, tuple[float, float]] = {}
        """When a peer was last asked, and what its last receipted message took."""
        self._round_trip_s: dict[str, float] = {}
        """Of the quickest small message to a peer."""

    def wants(self, peer: str, size_bytes: int, now_s: float) -> bool:
        """Whether the next message to this peer, of so many bytes, should ask for a receipt."""
        asked_s, took_s = self._last.get(peer, (0.0, EXPIRES_S))
        if size_bytes < LIGHT_BYTES and took_s < LIGHT_S:
            return now_s - asked_s >= LIGHT_ASK_S
        return took_s >= QUICK_S or now_s - asked_s >= ASK_S

    def sent(self, peer: str, serial: int, size_bytes: int, now_s: float) -> None:
        """A tensor message was handed over for sending."""
        mine = self._waiting.setdefault(peer, {})
        for late in [key for key, sent in mine.items() if now_s - sent.start_s > EXPIRES_S]:
            del mine[late]
        while len(mine) >= WAITING_MAX:
            del mine[next(iter(mine))]
        crowd = list(self._waiting.values()) if self._is_shared else [mine]
        others = [sent for waiting in crowd for sent in waiting.values()]
        for other in others:
            other.alone = False
        self._last[peer] = (now_s, self._last.get(peer, (0.0, EXPIRES_S))[1])
        mine[serial] = _Sent(now_s, size_bytes, alone=not others)

    def came(self, peer: str, receipt: Receipt, now_s: float) -> Transferred | None:
        """The event, where the receipt is for a message that had the link alone."""
        sent = self._waiting.get(peer, {}).pop(receipt.serial, None)
        if sent is not None:
            self._last[peer] = (self._last[peer][0], now_s - sent.start_s)
        if sent is None or not sent.alone or receipt.received_bytes != sent.size_bytes:
            return None
        took_s = now_s - sent.start_s
        if sent.size_bytes <= SMALL_BYTES:
            self._round_trip_s[peer] = min(took_s, self._round_trip_s.get(peer, took_s))
        way_back_s = min(self._round_trip_s.get(peer, 0.0), took_s) / 2
        return Transferred(peer, sent.size_bytes, took_s - way_back_s)

    def forget(self, peer: str) -> None:
        """The link is gone, and what was on its way with it."""
        self._waiting.pop(peer, None)
        self._last.pop(peer, None)
        self._round_trip_s.pop(peer, None)
