"""What was built for plans that are over, kept for a while: the next plan may want it again.

    retired, built ─▶ left ──LINGER_S, or memory gets short──▶ dropped

A link that gets slow and quick again brings back the plan that was left, and so does a plan that is
prepared anew with other variants. Equal segments are built once, so that a new plan of the same
parts is ready in a few messages, while they are here.

Invariant: bounded; nothing is kept on a machine that is short of memory, or does not tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.events import DropSegment, Effect, SegmentKey

LINGER_S = 30.0
"""As long as a plan needs to settle and to get its own variants. Longer holds memory for less."""
LEFT_MAX = 32
"""Segments; the oldest go first."""
ROOM_SHARE = 0.25
"""Of the machine's memory, what has to be free. Lower keeps more, and pages sooner."""


@dataclass(slots=True)
class Leftovers:
    """Of one node."""

    until_s: dict[SegmentKey, float] = field(default_factory=dict)
    """The oldest first; infinite until the next tick."""

    def add(self, keys: Iterable[SegmentKey]) -> None:
        """Their plan is over."""
        self.until_s.update(dict.fromkeys(keys, math.inf))

    def tick(self, free_bytes: int, memory_bytes: int, now_s: float) -> list[Effect]:
        """What goes now; `free_bytes` 0 is not known."""
        has_room = free_bytes > 0 and free_bytes >= ROOM_SHARE * memory_bytes
        excess = list(self.until_s)[: max(0, len(self.until_s) - LEFT_MAX)]
        gone: list[Effect] = []
        for key, until_s in list(self.until_s.items()):
            self.until_s[key] = min(until_s, now_s + LINGER_S)
            if not has_room or now_s >= self.until_s[key] or key in excess:
                del self.until_s[key]
                gone.append(DropSegment(key))
        return gone
