"""The speed of a link, as messages tell it.

    sample ─▶ window ─▶ robust fit      one or two of the last few off: suspects, not fitted
                └──────── step ─▶ cut   three in a row off to one side: it starts at the first

A median follows a step only after half its window, a mean swallows every outlier; so the window is
long (steady), the fit ignores single outliers, and a step cuts the window (quick). What is off is
told by `edgeflow.estimation.steps`. How noisy a link is outlives its steps, so that three samples
do not pass for certainty.

Invariant: estimates are finite and not negative, whatever was measured. Fit after Theil (1950) and
Sen, JASA 63 (1968): the median of the slopes between pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgeflow.estimation.steps import (
    ALIKE,
    LAST,
    MEDIAN_ERROR,
    NOISE,
    RECENT,
    SHARE,
    after_step,
    limit_of,
    noisier,
)

WINDOW, LIGHT_WINDOW = 24, 12
"""Samples kept, of a link of those that tell its rate and of light ones: half must go wrong before
the fit does. More takes longer, 0.1 ms a sample. Were they kept together, a small probe before each
larger one would halve what is known of the rate."""
SPREAD = 4.0
"""Largest over smallest message from which delay and rate can be told apart."""
RATED_BYTES = 32_768
"""A message from which a rate may be guessed while there is no other size."""
SMALL_BYTES, LIGHT_BYTES = 4096, 1 << 16
"""Messages between these tell no rate of a link whose rate is known: what they take varies with how
busy both nodes are, by more than their bytes take on all but slow links. Halos are such messages;
smaller ones are mostly probes: so little fits into one flight of packets, and its time is delay."""
TELLING_S = 0.03
"""Unless their bytes take so long: what a busy node adds is less."""
JITTER_S = 0.002
"""What a busy machine adds to any message, so that a quick one is never far off."""
BYTES_SHARE = 0.5
"""Of the quickest large message's time, what its bytes count for where sizes tell nothing. Less
lets one crowded start of a fleet pass for a link on which whole maps are free."""
TRIPS, CROWDED = 8, 2.0
"""What a link adds beside bytes is at most so many times what the quickest of the last small
messages took, however the others fared: those waited for what went to others over the same radio.
More trips see later that a link got longer; the bytes count for it until then."""
FASTER = 2.0
"""So many times as quick as it was told to be, a link is doubtful, and its other direction with it:
a radio is one. Lower tries what noise makes of rates."""
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
    noise: float = NOISE
    """Deviation of one message that tells the rate from the fit, as a share."""
    steps: int = 0
    """Believed so far."""
    window: tuple[tuple[int, float], ...] = ()
    """(bytes, seconds), oldest first, since the last step."""
    trips_s: tuple[float, ...] = ()
    """Of the last small messages, also before it."""

    def add(self, nbytes: int, seconds: float) -> LinkEstimate:
        """With one more message that had the link alone; what cannot be a time is left out."""
        if not (math.isfinite(seconds) and seconds >= 0 and nbytes >= 0):
            return self
        window = self._kept((*self.window, (nbytes, seconds)))
        start, trusted = self._judge(window)
        trips_s = (*self.trips_s, seconds)[-TRIPS:] if nbytes <= SMALL_BYTES else self.trips_s
        delay_s, byte_s = self._fit_within([window[at] for at in trusted], trips_s)
        return LinkEstimate(
            delay_s=delay_s,
            bytes_per_s=1 / byte_s if byte_s > 0 else 0.0,
            samples=self.samples + 1,
            noise=self._noisier(window[start:]),
            steps=self.steps + (start > 0),
            window=window[start:],
            trips_s=trips_s,
        )

    def restarted(self, nbytes: int, seconds: float) -> LinkEstimate:
        """With one message as the first after a step that is known from elsewhere."""
        delay_s, window = min(self.delay_s, seconds / 2), ((nbytes, seconds),)
        rate = nbytes / max(seconds - delay_s, nbytes / FASTEST_BYTES_PER_S)
        known = self.samples + 1, self.noise, self.steps + 1
        return LinkEstimate(delay_s, rate, *known, window, self.trips_s)

    def seconds(self, nbytes: int) -> float:
        """Expected for a message of so many bytes; its delay alone where the rate is not known."""
        return self.delay_s + (nbytes / self.bytes_per_s if self.bytes_per_s > 0 else 0.0)

    @property
    def typical_bytes(self) -> int:
        """Of the messages that take most of the window's time, the median one; 0 without any."""
        ordered = sorted(self.window)
        half_s = sum(self.seconds(size) for size, _ in ordered) / 2
        for size, _ in ordered:
            half_s -= self.seconds(size)
            if half_s <= 0:
                return size
        return 0

    @property
    def deviation_s(self) -> float:
        """Standard error of the seconds expected for a message of `typical_bytes`."""
        typical = self.typical_bytes
        like = sum(self.is_telling(size) == self.is_telling(typical) for size, _ in self.window)
        return self.seconds(typical) * MEDIAN_ERROR * self.noise / math.sqrt(max(1, like))

    def _kept(self, window: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
        """Without the oldest, of each kind."""
        if len(window) <= LIGHT_WINDOW:
            return tuple(window)
        telling = [at for at, (size, _) in enumerate(window) if self.is_telling(size)]
        light = [at for at, (size, _) in enumerate(window) if not self.is_telling(size)]
        return tuple(window[at] for at in sorted(telling[-WINDOW:] + light[-LIGHT_WINDOW:]))

    def _judge(self, window: Sequence[tuple[int, float]]) -> tuple[int, list[int]]:
        """Where the window begins after a step at its end (0 without one), and what to fit.

        Messages that tell the rate and light ones are judged apart: one kind may not show what the
        other does.
        """
        every = list(range(len(window)))
        if self.samples < LAST:
            return 0, every
        suspects: set[int] = set()
        for telling in (True, False):
            like = [at for at, (size, _) in enumerate(window) if self.is_telling(size) is telling]
            off = [_off(window[at][1], self.seconds(window[at][0])) for at in like[-RECENT:]]
            limit = max(limit_of(self.noise, len(like)), SHARE if telling else ALIKE)
            if found := after_step(off, limit):
                start = like[-found]
                # The small probe before a larger one belongs to it.
                start -= telling and start > 0 and window[start - 1][0] <= SMALL_BYTES
                return start, every[start:]
            recent = zip(like[-RECENT:], off, strict=True)
            suspects |= {at for at, value in recent if _is_suspect(value, limit, telling)}
        return 0, [at for at in every if at not in suspects] or every

    def _noisier(self, window: Sequence[tuple[int, float]]) -> float:
        """The noise with the sample that is not recent any more: no step will be found in it."""
        if len(window) <= RECENT:
            return self.noise
        size, given = window[-RECENT - 1]
        if self.bytes_per_s <= 0 or not self.is_telling(size):
            return self.noise
        return noisier(self.noise, self.samples, _off(given, self.seconds(size)))

    def is_telling(self, nbytes: int) -> bool:
        """Has it so many bytes that they are most of its time?"""
        known = self.bytes_per_s
        return nbytes >= LIGHT_BYTES or (known > 0 and nbytes >= TELLING_S * known)

    def _fit_within(
        self, window: Sequence[tuple[int, float]], trips_s: Sequence[float]
    ) -> tuple[float, float]:
        """Delay and seconds of a byte, where the link adds no more than small messages say."""
        delay_s, byte_s = self._fit(window)
        most_s = CROWDED * min(trips_s, default=math.inf) + JITTER_S
        byte_times_s = [(given - most_s) / size for size, given in window if self.is_telling(size)]
        if delay_s <= most_s or byte_s <= 0 or not byte_times_s:
            return delay_s, byte_s
        return most_s, max(median(byte_times_s), 1 / FASTEST_BYTES_PER_S)

    def _fit(self, window: Sequence[tuple[int, float]]) -> tuple[float, float]:
        """Delay and seconds of a byte, by these messages alone."""
        is_first = self.bytes_per_s <= 0
        rated = [
            each
            for each in window
            if is_first or each[0] <= SMALL_BYTES or self.is_telling(each[0])
        ]
        low, high = min(rated, default=(0, 0.0))[0], max(rated, default=(0, 0.0))[0]
        if (is_first or self.is_telling(high)) and high >= max(SPREAD * low, 1024):
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
        is_light = not self.is_telling(max(size for size, _ in window))
        if is_light or size * byte_s < self.delay_s:
            return max(0.0, median(took - each * byte_s for each, took in window)), byte_s
        delay_s = min(self.delay_s, given / 2)
        return delay_s, max((given - delay_s) / size, 1 / FASTEST_BYTES_PER_S)


def _is_suspect(off: float, limit: float, telling: bool) -> bool:
    """Whether one message may be an outlier. Of light ones those are slow: a machine was busy. One
    that was quicker than the delay shows the delay wrong."""
    return off > limit or (telling and off < -limit)


def _off(given: float, expected: float) -> float:
    """How far a message's seconds are from what was expected, as a logarithm."""
    return math.log((given + JITTER_S) / (expected + JITTER_S))


def _slope(window: Sequence[tuple[int, float]], apart_bytes: float) -> float:
    """The median slope between messages whose sizes are far apart."""
    return median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for at, later in enumerate(window)
        for earlier in window[:at]
        if abs(later[0] - earlier[0]) >= apart_bytes
    )
