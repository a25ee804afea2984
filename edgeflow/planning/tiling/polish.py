"""Rows move between neighbours until no worker is slower than it must be.

    strips   0 ─── 56 ──── 112 ─── 168 ─── 224         one boundary at a time, to where the stage
                    ◀─┼─▶                              and what follows it take least

A stage's price hangs on its own boundaries and, by who holds what, on those before; so each
boundary is tried at many places at once, with all others as they are. Of places that are no slower
the one is taken where the workers are done most evenly: only then has the next boundary room. A
strip that is pushed together to nothing is a worker less.

Invariant: no step makes a plan slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.tiling.search import Step
from edgeflow.planning.tiling.sharings import Strip
from edgeflow.planning.tiling.stages import NOBODY, Sharing, Stages

ROUNDS_MAX = 4
"""Rounds over all boundaries; most plans stand still after two."""
REACH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""By how many rows a boundary may move at once."""
EVENNESS = 0.01
"""What counts of the workers' mean seconds beside the slowest one's."""
POWER = 4
"""Of that mean: late workers count more."""


def polish(stages: Stages, steps: Sequence[Step]) -> list[Step]:
    """The same plan with better boundaries."""
    found = list(steps)
    tiled = [at for at, step in enumerate(found) if step.is_tiled]
    for _ in range(ROUNDS_MAX):
        before = list(found)
        for at in tiled:
            boundary = 1
            while boundary < len(found[at].strips):
                moved = _moved(stages, found, at, boundary)
                boundary += len(moved.strips) == len(found[at].strips)
                found[at] = moved
        if found == before:
            break
    return found


def _moved(stages: Stages, steps: list[Step], at: int, boundary: int) -> Step:
    """One boundary at its best place."""
    step = steps[at]
    strips = step.strips
    low, now, high = strips[boundary - 1][1], strips[boundary][1], strips[boundary][2]
    tried = {now + sign * by for by in REACH for sign in (1, -1)}
    places = [now, *sorted(place for place in tried if low <= place <= high)]
    many = [_bounded(strips, boundary, place) for place in places]
    price_s, mean_s = _price(stages, steps, at, _sharing(many))
    worth = np.where(price_s <= price_s[0], price_s + EVENNESS * mean_s, np.inf)
    best = int(worth.argmin())
    if not worth[best] < worth[0] * (1 - 1e-9):
        return step
    return replace(step, strips=tuple(strip for strip in many[best] if strip[1] < strip[2]))


def _bounded(strips: tuple[Strip, ...], boundary: int, place: int) -> tuple[Strip, ...]:
    before, behind = strips[boundary - 1], strips[boundary]
    return (
        *strips[: boundary - 1],
        (before[0], before[1], place),
        (behind[0], place, behind[2]),
        *strips[boundary + 1 :],
    )


def _price(stages: Stages, steps: list[Step], at: int, tried: Sharing) -> tuple[Floats, Floats]:
    """(sharings,) seconds of a stage and of what follows it, and the mean of its workers'."""
    step = steps[at]
    run = stages.run(step.start, step.stop, tried)
    goal = Sharing(*(each[None] for each in tried))
    done_s = stages.done(step.start, _holds(stages, steps, at), run, goal)[0, 0]
    found: Floats = done_s.max(axis=-1) + _after(stages, steps, at, tried)
    mean: Floats = (done_s**POWER).mean(axis=-1) ** (1 / POWER)
    return found, mean


def _after(stages: Stages, steps: list[Step], at: int, tried: Sharing) -> Floats:
    """(sharings,) seconds of what follows a stage, its results among them."""
    stop, after = steps[at].stop, steps[at + 1] if at + 1 < len(steps) else None
    found: Floats = np.zeros(len(tried.nodes))
    if stages.strips.leaves[stop]:
        found = found + stages.gather(stop, tried, np.array([stages.source]))[:, 0]
    if after is None:
        return found
    if not after.is_tiled:
        found += stages.gather(stop, tried, np.array([after.strips[0][0]]))[:, 0]
        return found
    next_goal = _sharing([after.strips])
    run = stages.run(after.start, after.stop, next_goal)
    found += stages.stage(stop, tried, run, Sharing(*(each[None] for each in next_goal)))[:, 0, 0]
    return found


def _holds(stages: Stages, steps: list[Step], at: int) -> Sharing:
    """Who has what a step reads."""
    if at and steps[at - 1].is_tiled:
        return _sharing([steps[at - 1].strips])
    node = steps[at - 1].strips[0][0] if at else stages.source
    return stages.alone(node, steps[at].start)


def _sharing(many: Sequence[Sequence[Strip]]) -> Sharing:
    """(plans, strips) of plans with as many strips each; an empty one is nobody's."""
    table: Indices = np.array(many, dtype=np.intp)
    nodes, lo, hi = np.moveaxis(table, -1, 0)
    return Sharing(np.where(lo < hi, nodes, NOBODY), lo, hi)
