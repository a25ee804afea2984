"""So many at once, then one in so many seconds: a token bucket.

Invariant: within any t seconds at most `most` + t / `each_s` are taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Ration:
    """Of something dear; full at first."""

    most: float
    each_s: float
    left: float = math.inf
    filled_s: float = 0.0

    def take(self, now_s: float) -> bool:
        """One of them; False where none is left."""
        self.left = min(self.most, self.left + (now_s - self.filled_s) / self.each_s)
        self.filled_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True
