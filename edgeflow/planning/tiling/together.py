"""The best plan in which several nodes of a tier work on one map together.

    workers, sharings ─▶ search (`search`) ─▶ boundaries (`polish`) ─▶ a layout, priced as any other

It is looked for where a tier has several nodes that compute and layers that can be tiled, and where
the bound leaves room for what tiles must gain. Each tile is another machine that may fail, so that
is no little.

Invariant: what is returned has a finite price and is quicker than what it was asked to beat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeflow.layout.placement import Layout, Placement, TileMap, tile_maps
from edgeflow.messages import Rect
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import ROUNDING, is_within
from edgeflow.planning.tiling.bound import bound_of_tiles
from edgeflow.planning.tiling.polish import polish
from edgeflow.planning.tiling.search import Programme, Step
from edgeflow.planning.tiling.sharings import crews, sharings
from edgeflow.planning.tiling.stages import Stages
from edgeflow.planning.tiling.strips import Strips

TILING_GAIN_MIN = 0.05
"""Share of the untiled plan's seconds that tiles must save: below, one machine is better."""
STAGE_GAIN_MIN = 0.002
"""The same for each stage of a tiled plan: lines stay short, and what no model knows of a stage is
small. Not asked of small maps, where the search is exact."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """A layout with tiles, and its price."""

    layout: Layout
    seconds: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The better one of a plan without tiles and the best with them."""

    layout: Layout
    bound_s: float
    """No plan of either kind takes less."""
    untiled_s: float | None
    """What the other one takes; None where nothing is tiled."""


def consider(problem: Problem, untiled: Placement, bound_s: float, limit_s: float) -> Choice:
    """Tiles where they save enough, or alone keep the limit. `bound_s` is that of untiled plans."""
    untiled_s = problem.costs.evaluate(untiled).total_s
    tiled_bound_s = bound_of_tiles(problem)
    least_s = min(bound_s, tiled_bound_s)
    most_s = untiled_s * (1 - TILING_GAIN_MIN)
    if not is_within(untiled_s, limit_s):
        most_s = min(untiled_s, limit_s * (1 + ROUNDING))
    if tiled_bound_s < most_s:
        found = best_tiled(problem, most_s)
        if found is not None:
            return Choice(found.layout, min(least_s, found.seconds), untiled_s)
    return Choice(untiled, least_s, None)


def may_tile(problem: Problem) -> bool:
    """Are there layers in tiles for several nodes of a tier?"""
    several = any(len(nodes) > 1 for nodes in problem.candidates.values())
    return several and any(block is not None for block in Strips.of(problem.costs.graph).blocks)


def best_tiled(problem: Problem, limit_s: float) -> Tiled | None:
    """The best layout with tiles that takes less than `limit_s`; None where none was found."""
    stages = Stages(problem)
    teams = crews(problem, stages)
    while teams:
        goals, is_exact = sharings(stages, teams)
        stage_s = 0.0 if is_exact or math.isinf(limit_s) else STAGE_GAIN_MIN * limit_s
        found_s, steps = Programme(problem, stages, goals).solve(limit_s, stage_s)
        if not found_s < limit_s or not any(step.is_tiled for step in steps):
            return None
        layout = _layout(stages, polish(stages, steps))
        terms = problem.costs.evaluate(layout)
        if terms.total_s < limit_s:
            return Tiled(layout, terms.total_s) if tile_maps(layout) else None
        full = {node for node, seconds in terms.compute_s.items() if math.isinf(seconds)}
        if not full:
            return None
        # It held too much in several runs together: without it.
        teams = [[node for node in team if stages.names[node] not in full] for team in teams]
        teams = [team for team in teams if len(team) > 1]
    return None


def _layout(stages: Stages, steps: Sequence[Step]) -> Layout:
    layers, edges = stages.costs.graph.layers, stages.strips.edges
    found: dict[str, str | TileMap] = {}
    for step in steps:
        names = tuple(layer.name for layer in layers[edges[step.start] : edges[step.stop]])
        right = int(stages.strips.columns[step.stop])
        tiles = tuple(
            (stages.names[node], Rect(top, bottom, 0, right)) for node, top, bottom in step.strips
        )
        where = TileMap(names, tiles) if step.is_tiled else tiles[0][0]
        found.update(dict.fromkeys(names, where))
    return found
