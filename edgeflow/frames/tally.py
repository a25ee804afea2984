"""What became of a deployment's frames, counted at its source.

    answered ─▶ counts, and by plan and variant: how many, what the last ones took
             ─▶ told with the heartbeat; soon after each result where somebody waits for it

Invariant: frames = results + errors + those still open.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edgeflow.messages import Lately, Metrics

RETRIES_PER_RESULT = 0.2
"""Each result earns a fifth of a retry; a fleet that fails more often than that is not helped."""
RETRIES_START = 64.0
"""Retries at hand at the start, and at most: a node that falls silent takes the window with it, by
a time-out, and once more before its link is known to be down. Windows above 32 may cost errors."""
LATENCIES_KEPT = 512
"""Latencies that p50 and p99 are taken from."""
FLIGHTS_TOLD = 8
"""Flights of a plan that are told: as many as a median needs to forget three hiccups."""
WAYS_KEPT = 4
"""Plans and variants that are told of: those of two plans with a fallback each."""
YOUNG_FRAMES = 20
"""A plan that has answered fewer is told of soon after each result: the leader compares what came
of it with what it promised."""
SOON_S = 0.15
"""Between two such messages, at least: five a second as ticks come, of some 400 bytes each."""
RATE_S = 1.0
"""The rate of results is taken over so long at least."""
MEASURING = frozenset({"partnner", "profile-first"})
"""Policies that choose by what frames took: they hear of every result, and one frame flies at a
time (`edgeflow.frames.pace`)."""

Under = tuple[str, int]
"""Plan id in words, and variant."""


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
    rate: tuple[int, float, float] = (0, 0.0, 0.0)
    """Results and time when the rate was last taken, and the rate."""
    ways: dict[Under, tuple[int, deque[float]]] = field(default_factory=dict)
    """Frames that each answered, and their last flights; the one that answered last is the last."""

    def on_answered(self, way: Under, flight_s: float | None) -> None:
        """A frame was answered along a way; None: not at the first attempt, so that what it took
        tells of more than the way. Nor does a time that a jump of the clock made negative."""
        frames, flights_s = self.ways.pop(way, (0, deque[float](maxlen=FLIGHTS_TOLD)))
        if flight_s is not None and flight_s >= 0:
            flights_s.append(flight_s)
        self.ways[way] = frames + 1, flights_s
        if len(self.ways) > WAYS_KEPT:
            del self.ways[next(iter(self.ways))]

    def is_due(self, policy: str, now_s: float) -> bool:
        """Whether what happened is to be told before the next heartbeat."""
        if self.is_told or now_s - self.told_s < SOON_S or not self.ways:
            return False
        frames, _ = self.ways[next(reversed(self.ways))]
        return policy in MEASURING or frames <= YOUNG_FRAMES

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
        """Counts so far, and the rate of the last second or more."""
        known, known_s, fps = self.rate
        if now_s - known_s >= RATE_S:
            fps = (self.results - known) / (now_s - known_s)
            self.rate = self.results, now_s, fps
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
            tuple(
                Lately(*way, frames, tuple(flights_s))
                for way, (frames, flights_s) in self.ways.items()
            ),
        )
