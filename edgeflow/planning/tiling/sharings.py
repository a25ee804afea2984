"""Who gets how many rows: the sharings that are tried at each waist.

    small maps    every order of every set of workers, with every bound           exact
    large maps    the k most useful workers, k = 2, 3, …: even, by speed,         then polished
                  by speed and links; one worker with several strips

Workers are the nodes of one tier that may compute, where there are several; the most useful first,
by their seconds for the whole model and their links. On large maps a sharing is the same share of
every map, so that neighbours keep what their halos need.

Invariant: the sharings of all positions are of one shape, and each holds all rows or none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np

from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.tiling.stages import NOBODY, Sharing, Stages
from edgeflow.tiles.grid import bounds

WORKERS_MAX = 8
"""Of one tier. More would be one message and one machine that may fail more for little work."""
SHARINGS_MAX = 120
"""So many at one waist are tried one by one: three workers on maps of five rows."""
STRIPS_ALONE = (2, 4)
"""Strips of one worker: it computes the first while the others are on their way."""
STRIPS_ALONE_MAX = 2
"""The same on small maps, with every bound."""
ALIKE = 0.05
"""Shares that differ by no more are the same to begin with."""

Strip = tuple[int, int, int]
"""Number of the node, first row, and the one behind the last."""


def crews(problem: Problem, stages: Stages) -> list[list[int]]:
    """Workers by tier, the most useful first; tiers with several nodes that compute only."""
    found = []
    for nodes in problem.candidates.values():
        if len(nodes) > 1:
            order = sorted(nodes, key=lambda node: (_use_s(problem, node.name), node.name))
            found.append([stages.number[node.name] for node in order][:WORKERS_MAX])
    return found


def _use_s(problem: Problem, node: str) -> float:
    """Seconds of the layers that it can run, and of a megabyte from the source and back."""
    known = problem.costs.layers_s(node)
    way_s = problem.costs.transfer_s(1 << 20, problem.source, node)
    back_s = problem.costs.transfer_s(1 << 20, node, problem.source)
    barred = float(np.isinf(known).sum()) * 1e6
    return float(known[np.isfinite(known)].sum()) + way_s + back_s + barred


def sharings(stages: Stages, teams: Sequence[Sequence[int]]) -> tuple[list[Sharing], bool]:
    """What is tried, by position: (sharings, strips), filled up with sharings of nothing; and
    whether that is all there is."""
    rows = [int(each) for each in stages.strips.rows]
    if _is_small(rows, teams):
        return stacked([_every(count, teams) for count in rows]), True
    return stacked([_handful(stages, count, teams) for count in rows]), False


def stacked(found: Sequence[Sequence[Sequence[Strip]]]) -> list[Sharing]:
    """Lists of strips as arrays of one shape."""
    most = max(1, max(map(len, found)))
    wide = max((len(each) for every in found for each in every), default=1)
    table = np.zeros((3, len(found), most, wide), dtype=np.intp)
    table[0] = NOBODY
    for at, every in enumerate(found):
        for place, strips in enumerate(every):
            for strip, values in enumerate(strips):
                table[:, at, place, strip] = values
    return [Sharing(*table[:, at]) for at in range(len(found))]


def _is_small(rows: Sequence[int], teams: Sequence[Sequence[int]]) -> bool:
    return all(
        sum(_count(count, len(team)) for team in teams) <= SHARINGS_MAX for count in rows if count
    )


def _count(rows: int, workers: int) -> int:
    """How many sharings `_every` gives for one team."""
    orders = sum(
        math.perm(workers, strips) * math.comb(rows - 1, strips - 1)
        for strips in range(1, workers + 1)
    )
    alone = sum(math.comb(rows - 1, strips - 1) for strips in range(2, STRIPS_ALONE_MAX + 1))
    return orders + workers * alone


def _every(rows: int, teams: Sequence[Sequence[int]]) -> list[list[Strip]]:
    """All sharings of so many rows; none of a map without rows."""
    return [
        _strips(nodes, (0, *inner, rows))
        for team in teams
        for nodes in _orders(team)
        if rows
        for inner in combinations(range(1, rows), len(nodes) - 1)
    ]


def _orders(team: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for count in range(1, len(team) + 1):
        yield from permutations(team, count)
    for node in team:
        for count in range(2, STRIPS_ALONE_MAX + 1):
            yield (node,) * count


def _strips(nodes: Sequence[int], ends: Sequence[int]) -> list[Strip]:
    return [
        (node, ends[at], ends[at + 1]) for at, node in enumerate(nodes) if ends[at] < ends[at + 1]
    ]


def _handful(stages: Stages, rows: int, teams: Sequence[Sequence[int]]) -> list[list[Strip]]:
    """The same shares of every map."""
    if not rows:
        return []
    found = []
    for team in teams:
        for nodes, shares in _shares(stages, team):
            found.append(_strips(nodes, bounds(rows, shares)))
    return found


def _shares(stages: Stages, team: Sequence[int]) -> Iterator[tuple[list[int], list[float]]]:
    """Workers, and how much each gets."""
    for count in STRIPS_ALONE:
        yield [team[0]] * count, [1.0] * count
    computing_s = np.where(np.isfinite(stages.layers_s), stages.layers_s, 0.0).sum(axis=1)
    for count in range(2, len(team) + 1):
        nodes = list(team[:count])
        known = [np.ones(count)]
        ways_s = [stages.problem.undivided_s(stages.names[node]) for node in nodes]
        for seconds in (computing_s[nodes], np.array(ways_s)):
            speed = 1 / np.maximum(seconds, 1e-9)
            # None has a way there and back: links may come up one after the other.
            if speed.sum() > 0 and all(_differ(speed, other) for other in known):
                known.append(speed)
        for speed in known:
            yield nodes, [float(each) for each in speed]


def _differ(one: Floats, other: Floats) -> bool:
    """Are these shares other ones?"""
    ratio = (one / one.sum()) / (other / other.sum())
    return bool(ratio.max() > ratio.min() * (1 + ALIKE))
