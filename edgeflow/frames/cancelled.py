"""Frames that nobody waits for any more. The word may overtake the tensors that it is about.

    Cancel, Withdraw ─▶ remembered ─▶ tensors that come later find it, and are dropped
                            '── KEPT more were cancelled: forgotten

Invariant: at most KEPT frames are remembered, the latest ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT = 2048
"""Cancelled frames that are remembered: at 100 a second, 20 s of tensors behind a slow link. One
that is forgotten is computed in vain, 100 bytes each."""

FrameKey = tuple[str, int, int]
"""Who numbered the frame, in which session, and the number."""


@dataclass(slots=True)
class Cancelled:
    """The last frames that were cancelled."""

    attempts: dict[FrameKey, int] = field(default_factory=dict)
    """Frame -> the attempt up to which it is."""

    def add(self, key: FrameKey, attempt: int = 0) -> None:
        """This attempt and all before it are over."""
        known = self.attempts.pop(key, 0)
        self.attempts[key] = max(known, attempt)
        if len(self.attempts) > KEPT:
            del self.attempts[next(iter(self.attempts))]

    def covers(self, key: FrameKey, attempt: int = 0) -> bool:
        """Whether that attempt was cancelled."""
        return attempt <= self.attempts.get(key, -1)
