"""How busy this node is, with what, and how long frames wait for it.

    a frame's job runs ──▶ share of time, by deployment      a frame was queued ──▶ mean wait

Both are means over the past in which a moment counts exp(−age / MEAN_S): 63 % of a step show after
MEAN_S, 81 % after 5 s, and nothing has to be kept of single frames.

Invariant: shares are from 0 to 1 and their sum is at most 1: one job runs at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEAN_S = 3.0
"""How far back the means reach. Longer is steadier, and later to see what comes and goes: with two
frames a second the share swings by a twelfth of itself."""
LEAST = 0.005
"""A smaller share is told as none, and a mean wait of fewer frames' worth is forgotten."""


@dataclass(slots=True)
class Busyness:
    """Of one worker."""

    shares: dict[str, float] = field(default_factory=dict)
    """By deployment, at `at_s`."""
    running: str = ""
    """The deployment of the job that runs; empty: none does."""
    at_s: float = 0.0
    waited_s: float = 0.0
    """Sum of waits, each by its weight."""
    frames: float = 0.0
    """Sum of weights."""

    def on_start(self, deployment: str, waited_s: float, now_s: float) -> None:
        """A job begins, after so long in the queue."""
        self._pass(now_s)
        self.running = deployment
        self.waited_s, self.frames = self.waited_s + max(0.0, waited_s), self.frames + 1

    def on_end(self, now_s: float) -> None:
        """It ended, or was given up."""
        self._pass(now_s)
        self.running = ""

    def busy(self, now_s: float) -> dict[str, float]:
        """Share of the last seconds by deployment; those that took none are left out."""
        self._pass(now_s)
        return {name: round(share, 4) for name, share in self.shares.items() if share >= LEAST}

    def wait_s(self, now_s: float) -> float:
        """Mean wait of the last frames; 0 once none has come for long."""
        self._pass(now_s)
        return self.waited_s / self.frames if self.frames >= LEAST else 0.0

    def _pass(self, now_s: float) -> None:
        """Time goes on, and what was counts less."""
        kept = math.exp(-max(0.0, now_s - self.at_s) / MEAN_S)
        self.at_s = max(self.at_s, now_s)
        shares = {name: share * kept for name, share in self.shares.items()}
        if self.running:
            shares[self.running] = shares.get(self.running, 0.0) + 1 - kept
        self.shares = {name: share for name, share in shares.items() if share >= LEAST / 10}
        self.waited_s, self.frames = self.waited_s * kept, self.frames * kept
