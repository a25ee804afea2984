"""What became of a run: when the best plan ran for good, and what not knowing the future cost.

    frame ─▶ plan of its outcome ─▶ placement line ─▶ its time in the table ─▶ near the best?

    change ──▶ 0 1 2 … n │ n+1 … n+STAY all near the best        converged after n frames

Invariant: pure; a line that nobody measured is never near the best, and is told.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgeflow.layout.placement import nodes_named
from edgeflow.ledger.records import AnyRecord
from edgeflow.ledger.sheet import Sheet

NEAR = 1.05
"""A plan whose time is at most so many times the best's is as good as the best."""
STAY = 20
"""Frames that a good plan has to stay."""
POINTS_MIN = 3
"""Rates at which a plan has to be measured before a line is laid through them."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One frame, and what it ran under."""

    at_s: float
    """When it was handed in."""
    seconds: float
    ok: bool
    line: str
    """Placement; empty where no plan answered it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """When the best plan ran for good."""

    frames: int
    """Handed in before, since the change."""
    seconds: float


def ran(
    records: Sequence[AnyRecord],
    variants: Mapping[str, Sequence[str]],
    dead: Iterable[tuple[str, float, float]] = (),
) -> list[Ran]:
    """Every frame with its placement, in the order in which they were handed in.

    `variants`: by plan id in words. `dead`: (node, from, until) in which it was; a plan that wanted
    it ran under its first variant without it.
    """
    sheet, gone = Sheet.of(records), tuple(dead)
    found = []
    for number, submit in sorted(sheet.submits.items()):
        outcome = sheet.outcomes.get(number)
        ended_s = outcome.at_s if outcome else math.inf
        line = _line(variants.get(outcome.plan, ()) if outcome else (), ended_s, gone)
        ok = outcome is not None and not outcome.code
        found.append(Ran(submit.at_s, ended_s - submit.at_s, ok, line))
    return found


def _line(variants: Sequence[str], ended_s: float, dead: Sequence[tuple[str, float, float]]) -> str:
    lost = {node for node, from_s, until_s in dead if from_s < ended_s <= until_s}
    alive = (line for line in variants if not nodes_named(line) & lost)
    return next(alive, variants[0] if variants else "")


def reached(
    frames: Sequence[Ran], moment_s: float, until_s: float, is_good: Callable[[str], bool]
) -> Reached | None:
    """When, counted from a change, every one of STAY frames ran near the best; None: never."""
    mine = [each for each in frames if moment_s <= each.at_s < until_s]
    run = 0
    for at, each in enumerate(mine):
        run = run + 1 if each.ok and is_good(each.line) else 0
        if run == STAY:
            first = at + 1 - STAY
            return Reached(first, mine[first].at_s - moment_s)
    return None


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """(a, b) of seconds = a + b / Mbit/s through (Mbit/s, seconds); None of too few rates.

    Relative errors count: each point weighs by its own seconds.
    """
    if len({mbps for mbps, _ in points}) < POINTS_MIN:
        return None
    rates, seconds = np.array(points, dtype=np.float64).T
    table = np.stack([np.ones_like(rates), 1 / rates], axis=1) / seconds[:, None]
    (a, b), *_ = np.linalg.lstsq(table, np.ones_like(seconds), rcond=None)
    if b < 0:  # noise: it does not use the link
        return statistics.median(points_s for _, points_s in points), 0.0
    return float(a), float(b)


def oracle_s(fits: Iterable[tuple[float, float]], mbps: float) -> float:
    """The best plan's seconds at a rate."""
    return min(a + b / mbps for a, b in fits)


def regret(
    frames: Sequence[Ran], oracle: Callable[[float], float], from_s: float, until_s: float
) -> float | None:
    """Mean latency over the mean of the oracle's at the same moments; None without frames."""
    mine = [each for each in frames if each.ok and from_s <= each.at_s < until_s]
    if not mine:
        return None
    return statistics.fmean(each.seconds for each in mine) / statistics.fmean(
        oracle(each.at_s) for each in mine
    )


def switches(committed: Sequence[tuple[float, str]], from_s: float, until_s: float) -> int:
    """How often another placement was committed; `committed` is (when, line) in order."""
    return sum(
        later != earlier and from_s <= at_s < until_s
        for (_, earlier), (at_s, later) in pairwise(committed)
    )


def dead_of(acts: Iterable[tuple[float, str]]) -> list[tuple[str, float, float]]:
    """(node, from, until) in which nodes were dead, out of what was done to the lab."""
    since_s: dict[str, float] = {}
    found = []
    for at_s, said in acts:
        word, _, host = said.partition(" host=")
        if word == "kill":
            since_s[host] = at_s
        elif word == "restart" and host in since_s:
            found.append((host, since_s.pop(host), at_s))
    return found + [(host, from_s, math.inf) for host, from_s in since_s.items()]
