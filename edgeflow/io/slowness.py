"""Emulated slowness: what a thread computes takes so many times as long.

    work │ a neighbour has the core │ work │ ······ sleep ······ │
    CPU time: both times work, × factor = all of it

A neighbour that shares the machine, which may be another emulated node, so makes a node no slower
than it is told to be, as long as the sleep is longer than the wait. Only of an engine with one
thread the CPU time is known, with more the wall clock is stretched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work of this thread, from the making of this on. `factor` of at least 1."""

    factor: float = 1.0
    alone: bool = True
    """All of the work is done by this thread."""
    wall_s: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.thread_time)
    """When it began, on both clocks."""

    def stretch(self) -> float:
        """Seconds that the work done until now should take, over those that it took; 1 or more."""
        wall_s = time.perf_counter() - self.wall_s
        if self.factor <= 1 or not self.alone:
            return self.factor
        return max(1.0, self.factor * (time.thread_time() - self.cpu_s) / max(wall_s, 1e-9))

    def sleep(self, stretch: float) -> float:
        """Sleep until the work has taken so many times as long; the seconds that it took."""
        wall_s = time.perf_counter() - self.wall_s
        if stretch > 1:
            time.sleep((stretch - 1) * wall_s)
        return time.perf_counter() - self.wall_s
