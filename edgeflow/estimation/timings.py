"""How long each layer of a model takes on this node, as far as it ran here.

    timed run ─▶ shape: which layer takes which part      level: of the first few runs, for ever
    every run ─▶ ratio.RatioEstimate: how much slower than that the node is now

A timed run moves no level: load and heat slow all layers alike and are the ratio's business, so
that the two never count the same thing twice. Under a CPU quota the kernel stops a node in the
middle of any layer; only the mean of many runs is right about a short one, and until then the
prior helps.

Invariant: seconds are finite and above zero, whatever was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PRIOR_RUNS = 1.0
"""The prior counts as so many runs. More trusts single runs less, and a wrong prior for longer."""
LEVEL_RUNS = 8
"""Runs whose mean sets the level. Fewer believe a cold cache, more a machine that was busy."""
RUNS_MAX = 32
"""Runs whose mean is kept. More is steadier under a quota, and slower to see a new engine."""
SECONDS_MIN = 1e-9
TIMED_RUNS, TIMED_EVERY = 16, 8
"""A segment's first runs are timed layer by layer, then one in so many: some 0.1 µs an op."""
NEWS = 0.05
"""Share of the whole by which layers must have moved to be told again."""


@dataclass(slots=True)
class Timings:
    """Of one model on one node."""

    sums: dict[str, float] = field(default_factory=dict)
    """Seconds by layer, over `runs` runs, at the level of the first few."""
    runs: dict[str, int] = field(default_factory=dict)

    def add(self, layers: Sequence[str], seconds: Sequence[float]) -> None:
        """One timed run of some layers; what cannot be times is left out."""
        if len(layers) != len(seconds) or not all(map(_is_time, seconds)):
            return
        level = self._level(layers, seconds)
        for name, given in zip(layers, seconds, strict=True):
            runs = min(self.runs.get(name, 0), RUNS_MAX - 1)
            self.sums[name] = self.mean(name) * runs + max(SECONDS_MIN, given * level)
            self.runs[name] = runs + 1

    def _level(self, layers: Sequence[str], seconds: Sequence[float]) -> float:
        """What a run's seconds are multiplied by, so that layers of known level keep it."""
        pairs = zip(layers, seconds, strict=True)
        known = [
            (self.mean(name), given)
            for name, given in pairs
            if self.runs.get(name, 0) >= LEVEL_RUNS
        ]
        given = sum(given for _, given in known)
        return sum(mean for mean, _ in known) / given if given > 0 else 1.0

    def mean(self, layer: str) -> float:
        """Seconds of a layer; 0 where it never ran here."""
        runs = self.runs.get(layer, 0)
        return self.sums[layer] / runs if runs else 0.0

    def blended(self, prior_s: Mapping[str, float]) -> dict[str, float]:
        """Seconds of every layer that ran here, its prior counted in; finite and above zero."""
        known = [name for name in prior_s if self.runs.get(name) and _is_time(prior_s[name])]
        prior = sum(prior_s[name] for name in known)
        level = sum(map(self.mean, known)) / prior if prior > 0 else 1.0
        return {
            name: (PRIOR_RUNS * level * prior_s[name] + self.runs[name] * self.mean(name))
            / (PRIOR_RUNS + self.runs[name])
            for name in known
        }


def is_timed(run: int) -> bool:
    """Whether a segment's run of that number, from 1, is timed layer by layer."""
    return run <= TIMED_RUNS or run % TIMED_EVERY == 0


def is_news(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether another layer is known, or all together have moved by NEWS."""
    if len(before) != len(after):
        return True
    moved = sum(abs(new - old) for old, new in zip(before, after, strict=True))
    more = any(new and not old for old, new in zip(before, after, strict=True))
    return more or moved > NEWS * sum(after)


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0
