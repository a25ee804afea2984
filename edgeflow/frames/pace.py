"""How fast a deployment answers, measured at its source along the way that its frames take now.

    sent ──── flight ────▶ result               when has an attempt taken too long?
    result ── gap, the window full ──▶ result   how long would one more frame wait?

A flight begins where the attempt leaves the source: what a frame waited before is none of it. The
gap between two results says what the fleet can do only where it never had to wait for work. Other
ways have other times: with the first attempt along another one, all is measured anew; the gap of
the one before is believed until then, as plans are often renewed in the middle of an overload.

Invariant: nothing is refused before GAPS_KNOWN gaps are known, nor while the window has room.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from edgeflow.frames.tally import MEASURING
from edgeflow.messages import Spec
from edgeflow.plans.heldplan import Way

TIMEOUT_S_MIN = 1.0
"""An attempt has at least this long: below it a pause of the machine would cost a retry."""
TIMEOUT_FACTOR = 8.0
"""Before FLIGHTS_KNOWN flights: an attempt may take so many times its prediction, for each frame in
flight."""
FALLBACK_FACTOR = 4.0
"""So many times more along a fallback, which is slower than what was predicted."""
TIMEOUT_P99_FACTOR = 3.0
"""After them: so many times the measured 99th percentile."""
FLIGHTS_KNOWN, FLIGHTS_KEPT = 20, 256
GAPS_KNOWN, GAPS_KEPT = 4, 32
"""Fewer are chance; more remember a fleet that was faster once."""
GAPS_SPARED = 8
"""One in so many, the longest, does not count: a pause of a machine is no pace."""
OVERLOAD_S = 3.0
"""A new frame that would wait longer is refused at once. Lower refuses in a short burst, and after
a failover; higher answers late."""
STANDING_S = 1.0
"""The same once more than this was waited for OVERLOAD_S on end: that is no burst. A fleet whose
usual load is 70 % is itself again 5 s after an overload; lower is sooner, and wastes its room."""


class Window(NamedTuple):
    """What may be in flight at once; one frame always may."""

    frames: int
    bytes: int = 64 << 20
    """Of inputs."""
    waiting: int = 0
    """So many may always wait, however slow the fleet is; 0: as many as may fly."""

    @classmethod
    def of(cls, spec: Spec) -> Window:
        """Of a deployment: one frame flies where its policy measures, which else would measure
        queues; as many fly or wait as else."""
        if spec.policy in MEASURING and not spec.placement:
            return cls(1, spec.window_bytes, 2 * spec.window_frames - 1)
        return cls(spec.window_frames, spec.window_bytes)


@dataclass(slots=True)
class Pace:
    """What was measured along one way."""

    way: Way | None = None
    flights_s: deque[float] = field(default_factory=lambda: deque(maxlen=FLIGHTS_KEPT))
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=GAPS_KEPT))
    full_since_s: float = math.inf
    """The window has had no room since then."""
    may_wait: int = 0
    """So many may always wait, see `Window`."""
    long_since_s: float = math.inf
    """Since when one has to wait for more than STANDING_S; over at half of that."""
    landed_s: float = -math.inf
    """When the last result came."""
    before_s: float = 0.0
    """The gap along the way before this one: it counts for the first few results of this one."""
    _p99_s: float | None = None
    _gap_s: float | None = None

    def take(self, way: Way) -> None:
        """An attempt leaves along this way."""
        if self.way is None or way.route != self.way.route:
            self.before_s = self.gap_s()
            self.flights_s.clear()
            self.gaps_s.clear()
            self.landed_s = -math.inf
            self._p99_s = self._gap_s = None
        self.way = way

    def on_window(self, window: Window, is_full: bool, waiting: int, now_s: float) -> None:
        """Whether there is no room left, after all that may be sent was sent."""
        self.may_wait = window.waiting or window.frames
        self.full_since_s = min(self.full_since_s, now_s) if is_full else math.inf
        wait_s = waiting * self.gap_s() if is_full else 0.0
        if wait_s > STANDING_S:
            self.long_since_s = min(self.long_since_s, now_s)
        elif wait_s < STANDING_S / 2:
            self.long_since_s = math.inf

    def on_landed(self, way: Way, flight_s: float, now_s: float) -> None:
        """A result of an attempt along some way."""
        if self.way is None or way.route != self.way.route:
            return
        self.flights_s.append(flight_s)
        self._p99_s = None
        if self.landed_s > self.full_since_s:
            self.gaps_s.append(now_s - self.landed_s)
            self._gap_s = None
        self.landed_s = now_s

    def on_pause(self) -> None:
        """This node stood still: the gap in which it did says nothing."""
        self.landed_s = -math.inf

    def timeout_s(self, flying: int) -> float:
        """How long the first attempt at a frame may fly, beside so many others."""
        assert self.way is not None
        if len(self.flights_s) >= FLIGHTS_KNOWN:
            if self._p99_s is None:
                self._p99_s = quantile_s(self.flights_s, 0.99)
            return max(TIMEOUT_S_MIN, TIMEOUT_P99_FACTOR * self._p99_s)
        factor = TIMEOUT_FACTOR * (FALLBACK_FACTOR if self.way.variant else 1.0)
        return max(TIMEOUT_S_MIN, factor * self.way.plan.predicted_s * (flying + 1))

    def overload(self, waiting: int, budget_s: float, now_s: float) -> str:
        """Why a frame with so much time may not queue up behind `waiting` others, in words; empty
        where it may, or where nobody knows better."""
        wait_s, gap_s = waiting * self.gap_s(), self.gap_s()
        limit_s = STANDING_S if now_s - self.long_since_s > OVERLOAD_S else OVERLOAD_S
        if waiting < self.may_wait:
            limit_s = math.inf
        limit_s = min(limit_s, max(0.0, budget_s - quantile_s(self.flights_s, 0.5)))
        if wait_s <= limit_s:
            return ""
        return (
            f"{waiting} frames wait and one is answered every {gap_s:.2g} s: {wait_s:.2g} s is"
            f" more than {limit_s:.2g} s; hand frames in more slowly or as outcomes come (stream)"
        )

    def gap_s(self) -> float:
        """Seconds a result while there is always work; the longest few gaps do not count. 0 before
        it is known."""
        if len(self.gaps_s) < GAPS_KNOWN:
            return self.before_s if len(self.flights_s) <= GAPS_KNOWN else 0.0
        if self._gap_s is None:
            kept = sorted(self.gaps_s)[: len(self.gaps_s) - len(self.gaps_s) // GAPS_SPARED]
            self._gap_s = sum(kept) / len(kept)
        return self._gap_s


def quantile_s(seconds: Iterable[float], share: float) -> float:
    """Of some measured times; 0 without any."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
