"""How much slower heat will make this machine within a minute.

    sample ─▶ headroom, of a minute ─▶ thirds ─▶ Newton's cooling ─▶ used up within AHEAD_S: hot
    throttled ─▶ how fast it still is, for the next time               hot ─▶ slower by that

What warms up nears the temperature at which it gives off as much as it takes in, each step by the
same share of what is left: of three means in a row the last two steps tell all later ones. A
straight line would see every machine throttle that was switched on.

A throttled machine is slow already, which its measured times say: nothing is forecast then, nor
shortly after, as it comes and goes. Once hot it stays so until it is cool again, or plans would
come back to heat it anew; or until it has stayed quick for so long that the forecast was wrong.

Invariant: at least 1, at most 1 / SHARE_MIN; 1 where nothing is known.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from edgeflow.events import Sampled

WINDOW_S = 60.0
"""Samples that the forecast is made of. Longer is steadier and later to see a new load."""
SPAN_S_MIN = 24.0
"""There must be so many seconds of them: thirds of 8 s, for sensors that know whole degrees."""
AHEAD_S = 60.0
"""How far it looks. Further leaves a machine that would have stayed below its limit."""
KEPT_FIRST, KEPT_MAX = 0.5, 0.85
"""Share of a step that the next one is: of a load that just began, as a die warms up quickly and
its board slowly; and at most, a time constant of two minutes. More cries wolf, less comes late."""
COOL_C = 8.0
"""So much headroom ends what was hot. Less heats it again the sooner."""
HELD_S = 30.0
"""After the last throttled sample a machine counts as throttled: at its limit it comes and goes."""
WRONG_S = 120.0
"""A hot machine that was not throttled for so long bears its load: some live at their limit."""
NEAR_C, SLOWED = 3.0, 0.85
"""So near its limit a busy machine with no more than this of its clock is throttled, where no
firmware says so."""
SHARE_USUAL, SHARE_MIN = 0.6, 0.1
"""What is left of the clock while throttled: where none was seen (a Pi 4 goes from 1.8 to 1.0 GHz
or so), and at least."""
BUSY_PERCENT = 20.0
"""Of all cores: what the clock of an idle machine is says nothing."""
SAMPLES_MAX = 120


@dataclass(slots=True)
class Heat:
    """Of one machine."""

    headrooms: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    """(seconds, degrees below the nearest limit), oldest first."""
    throttled_share: float = SHARE_USUAL
    """Of the full clock, as last seen while throttled."""
    throttled_s: float = -math.inf
    """When it last was."""
    is_hot: bool = False
    hot_s: float = -math.inf
    """Since when."""
    now_s: float = 0.0

    def add(self, sample: Sampled, now_s: float) -> None:
        """Once a second or so; samples without a headroom leave only what they say of the clock."""
        self.now_s = now_s
        if _is_throttled(sample):
            self.throttled_s = now_s
            if sample.clock_share is not None and sample.cpu_percent >= BUSY_PERCENT:
                self.throttled_share = min(1.0, max(SHARE_MIN, sample.clock_share))
        if sample.headroom_c is None or not math.isfinite(sample.headroom_c):
            return
        self.headrooms.append((now_s, sample.headroom_c))
        while self.headrooms[0][0] < now_s - WINDOW_S:
            self.headrooms.popleft()
        soon_c = self._forecast_c()
        if soon_c is None:
            return
        if soon_c <= 0:
            self.hot_s = self.hot_s if self.is_hot else now_s
            self.is_hot = True
        elif sample.headroom_c >= COOL_C:
            self.is_hot = False

    @property
    def slower_soon(self) -> float:
        """Seconds of compute in a minute over those of now."""
        since_s = self.now_s - max(self.hot_s, self.throttled_s)
        if not self.is_hot or self.now_s - self.throttled_s < HELD_S or since_s > WRONG_S:
            return 1.0
        return 1 / self.throttled_share

    def _forecast_c(self) -> float | None:
        """The headroom in AHEAD_S; None while there is too little to go by."""
        begin_s, end_s = self.headrooms[0][0], self.headrooms[-1][0]
        third_s = (end_s - begin_s) / 3
        if end_s - begin_s < SPAN_S_MIN:
            return None
        thirds: list[list[float]] = [[], [], []]
        for at_s, headroom_c in self.headrooms:
            thirds[min(2, int((at_s - begin_s) / third_s))].append(headroom_c)
        if not all(thirds):
            return None
        first_c, second_c, last_c = map(fmean, thirds)
        step_c = last_c - second_c
        before_c = second_c - first_c
        kept = KEPT_FIRST
        if before_c <= step_c < 0:
            kept = min(step_c / before_c, KEPT_MAX)
        steps = (AHEAD_S + third_s / 2) / third_s
        # kept + kept² + …, so many terms.
        return last_c + step_c * kept * (1.0 - math.pow(kept, steps)) / (1.0 - kept)


def _is_throttled(sample: Sampled) -> bool:
    """Whether heat slows the machine down now."""
    if sample.headroom_c is None or sample.clock_share is None:
        return sample.throttled
    is_slowed = sample.cpu_percent >= BUSY_PERCENT and sample.clock_share <= SLOWED
    return sample.throttled or (is_slowed and sample.headroom_c <= NEAR_C)
