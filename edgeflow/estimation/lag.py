"""How far this node's own loop lags behind what it hears.

    a tick that comes late          the loop stood still, or is slow all the time
    our own heartbeat, coming back  broker, radio, receiving thread and inbox, as others' words pass
                                    them too

Whoever is late himself hears everybody late. So all time-outs by which this node judges others are
longer by its own lag: it rises at once and falls slowly, as what was slow is soon slow again.

Invariants: never negative, never above LAG_S_MAX; each heartbeat of ours counts once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

LAG_S_MAX = 3.0
"""Time-outs grow by so much at most. Higher accuses fewer behind a bad radio, and finds deaths
later; a node that lags more than this sees nothing in time anyway."""
HALF_S = 5.0
"""A lag that is over counts half after so long: five heartbeats."""
USUAL_S = 0.1
"""A heartbeat's way to the broker and back that is no lag: a radio's, or a tick's."""
SENT_MAX = 16
"""Heartbeats of ours that may be under way; one that takes longer is taken for lost."""


@dataclass(slots=True)
class Lag:
    """Of one node's loop; `tick_s` is how often it should tick."""

    tick_s: float = 0.1
    worst_s: float = 0.0
    worst_at_s: float = 0.0
    ticked_s: float = math.inf
    sent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=SENT_MAX))
    """Heartbeats that have not come back: number, and when."""

    def seconds(self, now_s: float) -> float:
        """The lag, as time-outs should reckon with it."""
        return self.worst_s * math.pow(0.5, (now_s - self.worst_at_s) / HALF_S)

    def on_tick(self, now_s: float) -> float:
        """A tick is handled; how late it is."""
        late_s = max(0.0, now_s - self.ticked_s - self.tick_s)
        self.ticked_s = now_s
        self._note(late_s, now_s)
        return late_s

    def on_sent(self, seq: int, now_s: float) -> None:
        """A heartbeat of ours leaves."""
        self.sent.append((seq, now_s))

    def on_echo(self, seq: int, now_s: float) -> bool:
        """It came back; False for one that did before, or that was given up."""
        while self.sent and self.sent[0][0] < seq:
            self.sent.popleft()
        if not self.sent or self.sent[0][0] != seq:
            return False
        _, sent_s = self.sent.popleft()
        self._note(max(0.0, now_s - sent_s - USUAL_S), now_s)
        return True

    def _note(self, late_s: float, now_s: float) -> None:
        if late_s >= self.seconds(now_s):
            self.worst_s, self.worst_at_s = min(late_s, LAG_S_MAX), now_s
