"""How wrong the prior is about a node: measured over predicted seconds.

    ratio ─▶ window ─▶ median          a step cuts the window (`edgeflow.estimation.steps`)

Invariant: finite and above zero, whatever was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgeflow.estimation.steps import (
    LAST,
    MEDIAN_ERROR,
    NOISE,
    RECENT,
    SHARE,
    after_step,
    limit_of,
    noisier,
)

WINDOW = 24
"""Samples kept: half must go wrong before the median does."""


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """Measured over predicted seconds of one model on one node."""

    ratio: float = 1.0
    samples: int = 0
    """Taken in all."""
    noise: float = NOISE
    """Deviation of one sample from the ratio, as a share of it."""
    steps: int = 0
    """Believed so far."""
    window: tuple[float, ...] = ()
    """Logarithms, oldest first, since the last step."""

    def add(self, ratio: float) -> RatioEstimate:
        """With one more segment's measured over predicted; what is no ratio is left out."""
        if not (math.isfinite(ratio) and ratio > 0):
            return self
        window = (*self.window, math.log(ratio))[-WINDOW:]
        start, trusted = self._judge(window)
        middle = median(window[at] for at in trusted)
        window, noise = window[start:], self.noise
        if len(window) > RECENT:
            noise = noisier(noise, self.samples, window[-RECENT - 1] - middle)
        return RatioEstimate(
            ratio=math.exp(middle),
            samples=self.samples + 1,
            noise=noise,
            steps=self.steps + (start > 0),
            window=window,
        )

    @property
    def deviation(self) -> float:
        """Standard error of the ratio, as a share of it."""
        return MEDIAN_ERROR * self.noise / math.sqrt(max(1, len(self.window)))

    def _judge(self, window: Sequence[float]) -> tuple[int, list[int]]:
        """Where the window begins after a step at its end (0 without one), and what to fit."""
        every = list(range(len(window)))
        if self.samples < LAST:
            return 0, every
        off = [value - math.log(self.ratio) for value in window[-RECENT:]]
        limit = max(limit_of(self.noise, len(window)), SHARE)
        if found := after_step(off, limit):
            return len(window) - found, every[-found:]
        before = len(window) - len(off)
        suspects = {before + at for at, value in enumerate(off) if abs(value) > limit}
        return 0, [at for at in every if at not in suspects] or every
