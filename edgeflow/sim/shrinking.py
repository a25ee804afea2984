"""A failing history with as few faults as possible.

    script ─▶ without its first half? its second? … without each single fault ─▶ shortest that fails

Invariant: what is left still violates the same invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeflow.sim.history import Outcome
from edgeflow.sim.script import Fault

RUNS_MAX = 100
"""Histories played for it at most: half a minute."""


def name_of(outcome: Outcome) -> str:
    """Which invariant was violated; empty where none was."""
    return outcome.violation.partition(":")[0].partition("\n")[0]


def shrunk(outcome: Outcome, play: Callable[[Sequence[Fault]], Outcome]) -> Outcome:
    """The shortest failing history that was found; `play` plays one of the same seed."""
    best, runs, name = outcome, 0, name_of(outcome)
    size = max(1, len(best.script) // 2)
    while runs < RUNS_MAX:
        at, was = 0, len(best.script)
        while at < len(best.script) and runs < RUNS_MAX:
            runs += 1
            tried = play(best.script[:at] + best.script[at + size :])
            if name_of(tried) == name:
                best = tried
            else:
                at += size
        if size == 1 and len(best.script) == was:
            return best
        size = max(1, size // 2)
    return best
