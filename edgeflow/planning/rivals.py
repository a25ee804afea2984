"""The rivals out of papers, by name: as we read them, on the same costs, under the same rules.

    neurosurgeon   one cut of the chain, best pair of nodes            `neurosurgeon`
    dads           min-cut over the best pair of nodes                 `dads`
    dads-heavy     the same for throughput: the slowest stage          `dads`
    hpa            D3: vertex by vertex over all tiers                 `hpa`; `local` re-evaluates

Invariant: a rival's plan has a finite price, or there is an error that says what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.dads import place_dads
from edgeflow.planning.hpa import place_hpa
from edgeflow.planning.neurosurgeon import place_neurosurgeon
from edgeflow.planning.proposal import PlanningError

RIVALS: dict[str, Callable[[Problem], Placement | None]] = {
    "neurosurgeon": place_neurosurgeon,
    "dads": place_dads,
    "dads-heavy": partial(place_dads, heavy=True),
    "hpa": place_hpa,
}


def place_rival(problem: Problem, algorithm: str, best: Placement | None) -> Placement | None:
    """The rival's placement; None where there is none at all, which `best` being None says.

    PlanningError where others find a plan and the rival cannot have one.
    """
    found = RIVALS[algorithm](problem)
    if found is None and best is not None:
        raise PlanningError(
            f"{algorithm} divides over two nodes at most, and no two can run all of "
            f"{problem.costs.graph.name}: links are missing, layers are pinned to more, or memory "
            "is short; use mincut"
        )
    return found
