"""Where to split: one interface, one file an algorithm.

    propose(graph, cluster, algorithm) ─▶ Proposal: placement · terms · bound · optimal or not · why

    mincut (default)                         exact where it says so          `mincut`, `cut`, `milp`
    device-only  edge-only  cloud-only       the undivided rivals            `whole`
    neurosurgeon  dads  dads-heavy  hpa      the rivals out of papers        `rivals`
    brute                                    every placement; small graphs   `brute`

All minimise the same sum, `CostModel.evaluate`, over placements with at most one node of each tier
in which data only rises through the tiers; the first node may stand anywhere. A `Goal` asks for
something else instead, or for constraints to be kept (`goal`, `attain`).

Where a tier has several nodes, `mincut` may tile layers over them so that one frame is answered
sooner: that is the room `tiling`. Of the other files

    proposal, reason, refuse, unmet    the answer and its why; or what is in the way, and the cure
    candidates, wiring, standing       the question as arrays; the running plan beside a new one
    flow, narrow, skip, waists, pairs  cuts of graphs, what they leave out, plans at single tensors
    pursue, dual, limits               goals other than latency, and constraints
    siblings, tariff, local            HPA's layers and bill, and its plan kept up to date

Invariant: pure. The same question has the same answer, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.layout.placement import Layout, Placement
from edgeflow.model.graph import Graph
from edgeflow.planning.attain import quickest
from edgeflow.planning.brute import place_brute
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import OBJECTIVES, Goal, restricted
from edgeflow.planning.proposal import PlanningError, Proposal
from edgeflow.planning.pursue import pursue
from edgeflow.planning.refuse import check, why_impossible
from edgeflow.planning.rivals import RIVALS, place_rival
from edgeflow.planning.tiling.bound import bound_of_tiles
from edgeflow.planning.tiling.byhand import check_layout, has_tiles, placed_whole
from edgeflow.planning.tiling.together import consider, may_tile
from edgeflow.planning.unmet import check_private, check_sound, why_unmet
from edgeflow.planning.whole import TIERS, place_whole

ALGORITHMS = ("mincut", *TIERS, *RIVALS, "brute")

__all__ = ["ALGORITHMS", "OBJECTIVES", "Goal", "PlanningError", "Proposal", "propose"]

LATENCY = Goal()
"""The default: one frame alone, as fast as can be, without constraints."""


def propose(
    graph: Graph,
    cluster: Cluster | CostModel,
    algorithm: str = "mincut",
    *,
    pinned: Layout | None = None,
    allowed: Collection[str] | None = None,
    goal: Goal = LATENCY,
    tiles: bool = True,
) -> Proposal:
    """The algorithm's placement with its price and bound.

    `pinned` keeps layers on nodes; where it holds all of them it is the placement, as long as its
    nodes can run it, and may hold tile maps. `allowed` names the nodes that may compute (None: all
    that can). `goal` says what the plan is to be good at, and what it must keep; the undivided
    rivals and placements by hand are what they are, and keep its constraints or are refused. With
    `tiles`, `mincut` may tile layers over several nodes of a tier where latency is asked for.
    PlanningError names what is in the way where there is no plan, or none that keeps the goal.
    """
    if algorithm not in ALGORITHMS:
        raise PlanningError(f"no algorithm {algorithm!r}: choose of {', '.join(ALGORITHMS)}")
    open_ = cluster if isinstance(cluster, CostModel) else CostModel(graph, cluster)
    pins = pinned or {}
    check_sound(open_)
    check_private(open_, pins, goal)
    costs = restricted(open_, goal)
    names = frozenset(costs.cluster.nodes if allowed is None else allowed)
    problem = Problem(costs, placed_whole(pins), names)
    if has_tiles(pins):
        return _tiled_by_hand(problem, pins, goal)
    by_hand = len(problem.pinned) >= len(graph.layers)
    check(problem, by_hand=by_hand)
    placement, bound_s = _by_hand(problem) if by_hand else _place(problem, algorithm)
    terms = costs.evaluate(placement) if placement is not None else None
    if placement is None or terms is None or not math.isfinite(terms.total_s):
        raise PlanningError(why_unmet(problem, open_, goal) or why_impossible(problem, terms))
    algorithm = "by hand" if by_hand else algorithm
    if tiles and algorithm == "mincut":
        return _with_tiles(problem, goal, placement, bound_s)
    return pursue(problem, goal, algorithm, placement, bound_s)


def _with_tiles(problem: Problem, goal: Goal, untiled: Placement, bound_s: float) -> Proposal:
    """The best plan, with tiles where they make one frame so much quicker."""
    if goal.objective != "latency" or not may_tile(problem):
        return pursue(problem, goal, "mincut", untiled, bound_s)
    choice = consider(problem, untiled, bound_s, goal.latency_s_max)
    return pursue(problem, goal, "mincut", choice.layout, choice.bound_s, choice.untiled_s)


def _tiled_by_hand(problem: Problem, layout: Layout, goal: Goal) -> Proposal:
    """What somebody tiled, where it can be run. Only of its latency a bound is known."""
    problem = Problem(problem.costs, {}, problem.allowed)
    check_layout(problem, layout)
    bound_s = min(quickest(problem)[1], bound_of_tiles(problem, alone=True))
    return pursue(problem, goal, "by hand", layout, bound_s)


def _by_hand(problem: Problem) -> tuple[Placement, float]:
    """The pins themselves, and a bound of what the planner would do."""
    free = Problem(problem.costs, {}, problem.allowed)
    return problem.pinned, quickest(free)[1]


def _place(problem: Problem, algorithm: str) -> tuple[Placement | None, float]:
    """A placement and a bound of all placements."""
    if algorithm == "brute":
        placement = place_brute(problem)
        return placement, problem.costs.evaluate(placement).total_s
    best, bound_s = quickest(problem)
    if algorithm in RIVALS:
        return place_rival(problem, algorithm, best), bound_s
    return (best if algorithm == "mincut" else place_whole(problem, algorithm)), bound_s
