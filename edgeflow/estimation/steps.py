"""When measured values are those of something else: steps, outliers, noise.

    values, as logarithms of how far off each is ─▶ one or two of the last few off: suspects
                                                 '▶ three in a row, four of five to one side: a step

Off is what lies beyond the noise; as a logarithm, twice as slow and twice as quick are equally far.

Invariant: pure arithmetic of the last RECENT values and the noise so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RECENT, OFF, LAST = 5, 4, 3
"""A step is believed when OFF of the RECENT last samples, or the LAST ones all, are off to one
side; or all RECENT ones by half as much. Less believes three outliers of five: 7 in 10,000 samples
where one of 20 is one."""
LEAP, ALIKE = math.log(5.0), math.log(2.0)
"""So far off, the last two are enough where they agree: it takes a step to slow two five-fold."""
SIGMAS = 2.5
"""How many deviations of a sample it must be off to count. More overlooks a halved rate under 20 %
of noise, less sees steps in it: at 2.5 three in a row are one in a million, were noise normal."""
SHARE = math.log(1.2)
"""The least by which it must be off, however quiet the link: below, a step hardly matters."""
NOISE, NOISE_SAMPLES = 0.15, (8, 32)
"""The deviation of samples, as a share, while none has shown it; how many samples what is known of
it counts as, at the start and at most. More is steadier, and later to see that noise has grown."""
MEDIAN_ERROR = 1.25
"""Standard error of a median over that of a mean: √(π/2) for normal noise."""


def after_step(off: Sequence[float], limit: float) -> int:
    """How many of the last samples came after a step; 0 where there was none."""
    for side in (1, -1):
        beyond = [side * value > limit for value in off]
        if sum(beyond) >= OFF or (len(beyond) >= LAST and all(beyond[-LAST:])):
            return len(off) - beyond.index(True)
        if len(off) == RECENT and min(side * value for value in off) > max(limit / 2, SHARE):
            return RECENT
        leap = [side * value for value in off[-2:]]
        if len(leap) == 2 and min(leap) >= max(LEAP, limit) and max(leap) - min(leap) <= ALIKE:
            return 2
    return 0


def limit_of(noise: float, samples: int) -> float:
    """How far one more sample may be off; few samples may be off together."""
    return SIGMAS * noise * math.sqrt(1 + MEDIAN_ERROR**2 / max(1, samples))


def noisier(noise: float, samples: int, off: float) -> float:
    """The noise with one more sample's distance, an outlier's cut: 1.25 times the mean of them."""
    least, most = NOISE_SAMPLES
    weight = min(least + samples, most)
    return noise + (MEDIAN_ERROR * min(abs(off), SIGMAS * noise) - noise) / weight
