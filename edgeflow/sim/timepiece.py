"""One machine's own clock: it starts anywhere, runs a little wrong, and sometimes very wrong.

Invariant: it never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.sim.clockwork import Clockwork

CLOCK_RATE = 0.01
"""Clocks run so much faster or slower at most; real ones 100 times less."""


@dataclass(slots=True)
class Timepiece:
    """Seconds of its own over seconds of the world."""

    clockwork: Clockwork
    rate: float = field(init=False)
    usual_rate: float = field(init=False)
    shown_s: float = field(init=False)
    since_s: float = field(init=False)

    def __post_init__(self) -> None:
        chance = self.clockwork.random
        self.rate = self.usual_rate = 1 + CLOCK_RATE * (2 * chance.random() - 1)
        self.shown_s, self.since_s = 1e5 * chance.random(), self.clockwork.now_s

    def now_s(self) -> float:
        """What it shows."""
        return self.shown_s + self.rate * (self.clockwork.now_s - self.since_s)

    def run_at(self, rate: float) -> None:
        """From now on, so many seconds in one of the world's; 0 stops it."""
        self.shown_s, self.since_s, self.rate = self.now_s(), self.clockwork.now_s, rate

    def jump(self, seconds: float) -> None:
        """Forward, as after a suspension that it counted."""
        assert seconds >= 0
        self.shown_s += seconds
