"""What measuring teaches: the speed of a link, and how wrong the prior is about a node.

    sample ─▶ window ─▶ robust fit      one or two of the last five off: suspects, not fitted
                └──────── step ─▶ cut   three off to one side: the window starts at the first

A median follows a step only after half its window, a mean swallows every outlier; so the window is
long (steady), the fit ignores single outliers, and a step cuts the window (quick).

Invariant: estimates are finite and not negative, whatever was measured. Fit after Theil (1950) and
Sen, JASA 63 (1968): the median of the slopes between pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

WINDOW = 24
"""Samples kept: half must go wrong before the fit does. More takes longer, 0.1 ms a sample."""
RECENT, OFF = 5, 3
"""A step is believed when OFF of the RECENT last samples are off to one side."""
SIGMAS = 4.0
"""How many deviations of the window a sample must be off to count."""
SHARE = 0.2
"""The least share of the expectation by which it must be off: below, a step hardly matters."""
SPREAD = 4.0
"""Largest over smallest message from which delay and rate can be told apart."""
RATED_BYTES = 32_768
"""A message from which a rate may be guessed while there is no other size."""
SMALL_BYTES, LIGHT_BYTES = 4096, 1 << 16
"""Messages between these tell no rate of a link whose rate is known: what they take varies with how
busy both nodes are, by more than their bytes take on all but slow links. Halos are such messages;
smaller ones are mostly probes, of links that are idle."""
BYTES_SHARE = 0.5
"""Of the quickest large message's time, what its bytes count for where sizes tell nothing. Less
lets one crowded start of a fleet pass for a link on which whole maps are free."""
FASTEST_BYTES_PER_S = 1e12
"""What no link reaches: a slope at or below it is noise."""


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """One directed link: seconds = delay_s + bytes / bytes_per_s."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    """0 where not measured yet."""
    samples: int = 0
    """Taken in all."""
    deviation_s: float = 0.0
    """Of a message from the fit: 1.48 times the median distance."""
    window: tuple[tuple[int, float], ...] = ()
    """(bytes, seconds), oldest first."""

    def add(self, nbytes: int, seconds: float) -> LinkEstimate:
        """With one more message that had the link alone; what cannot be a time is left out."""
        if not (math.isfinite(seconds) and seconds >= 0 and nbytes >= 0):
            return self
        window = (*self.window, (nbytes, seconds))[-WINDOW:]
        off = [given - self.seconds(size) for size, given in window]
        expected = [self.seconds(size) for size, _ in window]
        limits = [max(SIGMAS * self.deviation_s, SHARE * usual) for usual in expected]
        start, trusted = _judge(off, limits if self.samples >= OFF else [math.inf] * len(off))
        delay_s, byte_s = self._fit([window[at] for at in trusted])
        window = window[start:]
        off = [given - delay_s - size * byte_s for size, given in window]
        return LinkEstimate(
            delay_s=delay_s,
            bytes_per_s=1 / byte_s if byte_s > 0 else 0.0,
            samples=self.samples + 1,
            deviation_s=_deviation(off),
            window=window,
        )

    @property
    def variance_s2(self) -> float:
        """Of one message, in square seconds."""
        return self.deviation_s**2

    def seconds(self, nbytes: int) -> float:
        """Expected for a message of so many bytes; its delay alone where the rate is not known."""
        return self.delay_s + (nbytes / self.bytes_per_s if self.bytes_per_s > 0 else 0.0)

    def _fit(self, window: Sequence[tuple[int, float]]) -> tuple[float, float]:
        """Delay and seconds of a byte."""
        rated = [each for each in window if self.bytes_per_s <= 0 or _tells_rate(each[0])]
        low, high = min(rated, default=(0, 0.0))[0], max(rated, default=(0, 0.0))[0]
        is_told = high >= LIGHT_BYTES or self.bytes_per_s <= 0
        if is_told and high >= max(SPREAD * low, 1024):
            byte_s = _slope(rated, (high - low) / 2)
            if byte_s <= 1 / FASTEST_BYTES_PER_S:
                # Small ones took as long: others were in their way, or the link is quick indeed.
                quickest = min(given / size for size, given in rated if size > high / 2)
                byte_s = max(BYTES_SHARE * quickest, 1 / FASTEST_BYTES_PER_S)
            return max(0.0, median(given - size * byte_s for size, given in window)), byte_s
        return self._fit_one_size(window)

    def _fit_one_size(self, window: Sequence[tuple[int, float]]) -> tuple[float, float]:
        """Messages of one size tell one number: the larger part of the time takes the change; of
        light ones always the delay."""
        size = median(size for size, _ in window)
        given = median(given for _, given in window)
        if self.bytes_per_s <= 0:
            if size < RATED_BYTES:
                return given, 0.0
            delay_s = min(self.delay_s, given / 2)
            return delay_s, max((given - delay_s) / size, 1 / FASTEST_BYTES_PER_S)
        byte_s = 1 / self.bytes_per_s
        if size * byte_s < self.delay_s or max(size for size, _ in window) < LIGHT_BYTES:
            return max(0.0, median(took - each * byte_s for each, took in window)), byte_s
        delay_s = min(self.delay_s, given / 2)
        return delay_s, max((given - delay_s) / size, 1 / FASTEST_BYTES_PER_S)


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """Measured over predicted seconds of one model on one node."""

    ratio: float = 1.0
    samples: int = 0
    """Taken in all."""
    deviation: float = 0.0
    """Of a sample from the ratio, as a share of it."""
    window: tuple[float, ...] = ()
    """Logarithms, oldest first: twice as slow and twice as fast are equally far."""

    def add(self, ratio: float) -> RatioEstimate:
        """With one more segment's measured over predicted; what is no ratio is left out."""
        if not (math.isfinite(ratio) and ratio > 0):
            return self
        window = (*self.window, math.log(ratio))[-WINDOW:]
        off = [value - math.log(self.ratio) for value in window]
        limit = max(SIGMAS * self.deviation, SHARE) if self.samples >= OFF else math.inf
        start, trusted = _judge(off, [limit] * len(off))
        middle = median(window[at] for at in trusted)
        window = window[start:]
        return replace(
            self,
            ratio=math.exp(middle),
            samples=self.samples + 1,
            deviation=_deviation([value - middle for value in window]),
            window=window,
        )

    @property
    def variance(self) -> float:
        """Of the share."""
        return self.deviation**2


def _judge(off: Sequence[float], limits: Sequence[float]) -> tuple[int, list[int]]:
    """Where the window begins after a step at its end (0 without one), and what to fit."""
    recent = range(max(0, len(off) - RECENT), len(off))
    above = [at for at in recent if off[at] > limits[at]]
    below = [at for at in recent if off[at] < -limits[at]]
    for beyond in (above, below):
        if len(beyond) >= OFF:
            return beyond[0], list(range(beyond[0], len(off)))
    trusted = [at for at in range(len(off)) if at not in above and at not in below]
    return 0, trusted or list(range(len(off)))


def _tells_rate(nbytes: int) -> bool:
    """Has it so many bytes that they are most of its time, or next to none?"""
    return not SMALL_BYTES < nbytes < LIGHT_BYTES


def _slope(window: Sequence[tuple[int, float]], apart_bytes: float) -> float:
    """The median slope between messages whose sizes are far apart."""
    return median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for at, later in enumerate(window)
        for earlier in window[:at]
        if abs(later[0] - earlier[0]) >= apart_bytes
    )


def _deviation(off: Sequence[float]) -> float:
    return 1.4826 * median(abs(value) for value in off)
