"""What became of a Weather: every frame, every change of plan, beside what was possible.

    convergence   frames and seconds from a moment until the running plan is as good as the best
    regret        what frames took, over what the best plan of their moment takes

Invariant: prices are the oracle's; what frames took is what their source saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.sim.weather.oracle import Oracle
from edgeflow.sim.weather.script import Weather

WITHIN, STAYS = 0.05, 20
"""Converged: for so many frames on end the running plan's true price is this close to the best."""


@dataclass(slots=True)
class Shot:
    """One frame."""

    at_s: float
    """Handed in."""
    latency_s: float = math.inf
    code: str = ""
    """ok, an error's code, or nothing where there never was an outcome."""
    plan: str = ""
    """Under which it flew last."""
    flown_s: float = 0.0
    """When it left under that."""
    is_trial: bool = False
    """A spare frame that tried another way than the running plan's."""


@dataclass(frozen=True, slots=True)
class Change:
    """The source took up another plan."""

    at_s: float
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """From a moment on; both infinite where it never came to that."""

    frames: float
    """Handed in since, and not converged."""
    seconds: float


@dataclass(frozen=True)
class Report:
    """Of one run."""

    weather: Weather
    frames: tuple[Shot, ...]
    changes: tuple[Change, ...]
    oracle: Oracle = field(repr=False, compare=False)

    @property
    def lost(self) -> int:
        """Frames without any outcome."""
        return sum(not shot.code for shot in self.frames)

    @property
    def failed(self) -> int:
        """Frames that ended in an error."""
        return sum(shot.code not in ("", "ok") for shot in self.frames)

    @property
    def moments(self) -> list[tuple[float, float]]:
        """The start, and each time at which something happens; each with the next one."""
        times = sorted({0.0, *(each.at_s for each in self.weather.happenings)})
        return list(zip(times, [*times[1:], self.weather.ends_s], strict=True))

    def words_at(self, at_s: float) -> str:
        """What happens then."""
        said = [words for when_s, words in self.weather.events if when_s == at_s]
        return ", ".join(said if at_s else ["start", *said])

    def ratio(self, shot: Shot) -> float:
        """The true price of a frame's plan over that of the best, when it left."""
        if not shot.plan:
            return math.inf
        return self.oracle.true_s(shot.plan, shot.flown_s) / self.oracle.best_s(shot.flown_s)

    def convergence(self, at_s: float = 0.0, until_s: float = math.inf) -> Convergence:
        """Of frames handed in from one moment to another; trials say nothing of the plan."""
        mine = [each for each in self.frames if at_s <= each.at_s < until_s and not each.is_trial]
        run = 0
        for place, shot in enumerate(mine):
            run = run + 1 if self.ratio(shot) <= 1 + WITHIN else 0
            if run == STAYS:
                first = place - STAYS + 1
                return Convergence(first, mine[first].flown_s - at_s)
        return Convergence(math.inf, math.inf)

    def regret(self, at_s: float = 0.0, until_s: float = math.inf) -> float:
        """Mean latency of the answered frames of a time over what the best plans would take."""
        mine = [each for each in self.frames if at_s <= each.at_s < until_s and each.code == "ok"]
        best_s = sum(self.oracle.best_s(shot.at_s) for shot in mine)
        return sum(shot.latency_s for shot in mine) / best_s if mine else math.inf

    def changed(self, at_s: float = 0.0, until_s: float = math.inf) -> int:
        """Changes from one plan to another within a time."""
        return sum(bool(each.before) and at_s <= each.at_s < until_s for each in self.changes)
