"""Virtual time: what happens next, in an order that one seed decides."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[], None]


@dataclass(slots=True)
class Clockwork:
    """A heap of actions; ties go by the order in which they were set."""

    random: random.Random
    now_s: float = 0.0
    heap: list[tuple[float, int, Action]] = field(default_factory=list)
    count: int = 0

    def after(self, delay_s: float, action: Action) -> None:
        """Do it `delay_s` from now."""
        self.count += 1
        heapq.heappush(self.heap, (self.now_s + delay_s, self.count, action))

    def jitter(self, low_s: float, high_s: float) -> float:
        """A random time between the two."""
        return low_s + (high_s - low_s) * self.random.random()

    def run(self, until_s: float) -> None:
        """Everything up to that moment."""
        while self.heap and self.heap[0][0] <= until_s:
            self.now_s, _, action = heapq.heappop(self.heap)
            action()
        self.now_s = until_s
