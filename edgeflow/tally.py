"""What became of a deployment's frames, counted at its source.

Invariant: frames = results + errors + those still open.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edgeflow.messages import Metrics

RETRIES_PER_RESULT = 0.2
"""Each result earns a fifth of a retry; a fleet that fails more often than that is not helped."""
RETRIES_START = 64.0
"""Retries at hand at the start, and at most: a node that falls silent takes the window with it, by
a time-out, and once more before its link is known to be down. Windows above 32 may cost errors."""
LATENCIES_KEPT = 512
"""Latencies that p50 and p99 are taken from."""


@dataclass(slots=True)
class Tally:
    """What became of a deployment's frames."""

    frames: int = 0
    results: int = 0
    errors: int = 0
    late: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    retries: float = RETRIES_START
    told: tuple[int, int, int] = (0, 0, 0)
    """Frames, results and errors at the last message."""
    told_s: float = 0.0

    def on_result(self, latency_s: float) -> None:
        """One more result: it earns a part of a retry."""
        self.results += 1
        self.retries = min(RETRIES_START, self.retries + RETRIES_PER_RESULT)
        self.latencies_s.append(latency_s)

    def take_retry(self) -> bool:
        """Spend one; False where none is left."""
        if self.retries < 1:
            return False
        self.retries -= 1
        return True

    def quantile_s(self, share: float) -> float:
        """Of the last latencies; 0 without any."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def is_told(self) -> bool:
        """Nothing happened since the last message."""
        return (self.frames, self.results, self.errors) == self.told

    def metrics(
        self, deployment: str, source: str, in_flight: int, parked: int, now_s: float
    ) -> Metrics:
        """Counts so far, and the rate since the last call."""
        fps = (self.results - self.told[1]) / max(now_s - self.told_s, 1e-6)
        self.told, self.told_s = (self.frames, self.results, self.errors), now_s
        return Metrics(
            deployment,
            source,
            self.frames,
            self.results,
            self.errors,
            in_flight,
            parked,
            fps,
            self.quantile_s(0.5),
            self.quantile_s(0.99),
        )
