"""From an algorithm's placement to a proposal that serves a goal, or says why there is none.

    placement, bound ─▶ too slow? ─▶ latency: done     others: `attain` ─▶ Proposal, with a sentence

Invariant: a Proposal keeps every constraint of its goal.
"""

from __future__ import annotations

import math

from edgeflow.layout.placement import Layout, tile_maps
from edgeflow.planning.attain import attain, latency_limit_s, quickest
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import UNITS, Goal, Scale, is_within
from edgeflow.planning.mincut import PROOF
from edgeflow.planning.proposal import PlanningError, Proposal
from edgeflow.planning.reason import (
    explain,
    explain_constraints,
    explain_goal,
    explain_goal_proof,
    explain_proof,
)
from edgeflow.planning.tiling.byhand import placed_whole
from edgeflow.planning.unmet import check_latency, why_too_slow

FREE = ("mincut", "brute")
"""Algorithms that choose for the goal; the others are what they are, and are judged by it."""


def pursue(
    problem: Problem,
    goal: Goal,
    algorithm: str,
    placement: Layout,
    bound_s: float,
    untiled_s: float | None = None,
) -> Proposal:
    """The proposal; `placement` has a finite price, and none is quicker than `bound_s`. Where it
    has tiles, `untiled_s` is what the best one without takes."""
    scale = Scale.of(goal, problem.costs)
    if algorithm in FREE:
        placement, bound, limit_s = _choose(problem, scale, algorithm, (placement, bound_s))
    else:
        limit_s = goal.latency_s_max
        check_latency(problem.costs.evaluate(placement).total_s, limit_s, algorithm)
        bound = _bound(problem, scale, placement, bound_s, by_hand=algorithm == "by hand")
    terms = problem.costs.evaluate(placement)
    value = scale.value(terms)
    optimal = bound >= value * (1 - PROOF)
    bound = value if optimal else bound
    if is_quick := goal.objective == "latency":
        why = explain(problem, placement, terms, algorithm, untiled_s)
        proof = explain_proof(bound, value, optimal=optimal)
    else:
        why = explain_goal(problem, scale, placement, terms, algorithm)
        proof = explain_goal_proof(goal.objective, value, bound, optimal=optimal)
    return Proposal(
        placement=placement,
        terms=terms,
        predicted_s=terms.total_s,
        lower_bound_s=bound if is_quick else min(bound_s, terms.total_s),
        optimal=optimal,
        algorithm=algorithm,
        reason=f"{why}{explain_constraints(goal, limit_s)}; {proof}",
        objective=goal.objective,
        value=value,
        value_bound=bound,
        unit=UNITS[goal.objective],
    )


def _choose(
    problem: Problem, scale: Scale, algorithm: str, quick: tuple[Layout, float]
) -> tuple[Layout, float, float]:
    """The best placement for the goal, the bound of its value, and the limit it keeps."""
    quickest_s = problem.costs.evaluate(quick[0]).total_s
    limit_s = latency_limit_s(scale.goal, quickest_s)
    if not is_within(quickest_s, limit_s):
        raise PlanningError(why_too_slow(limit_s, quickest_s, quick[1]))
    is_brute = algorithm == "brute"
    if scale.goal.objective == "latency" and not is_brute:
        return *quick, limit_s
    whole = placed_whole(quick[0])
    found, bound = attain(problem, scale, (whole, quick[1]), limit_s, brute=is_brute)
    assert found is not None, "the quickest plan keeps every constraint"
    return found, bound, limit_s


def _bound(
    problem: Problem, scale: Scale, placement: Layout, bound_s: float, *, by_hand: bool
) -> float:
    """Of what the planner would do in place of a rival, or of what was placed by hand; 0 where
    nothing is known, as of stages and bytes with tiles."""
    if scale.goal.objective == "latency":
        return bound_s
    free = Problem(problem.costs, {} if by_hand else problem.pinned, problem.allowed)
    best, best_s = quickest(free)
    if best is None or tile_maps(placement):
        return 0.0
    if not math.isfinite(problem.costs.evaluate(best).total_s):
        return 0.0
    return attain(free, scale, (best, best_s), scale.goal.latency_s_max, brute=False)[1]
