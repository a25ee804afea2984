"""A plan that is prepared is taken instead of one that is hardly better: it runs at once.

    best plan ─▶ a variant of the running plan within SLACK of it? ─▶ that one, else the best plan

Invariant: what breaks a constraint is not taken, however prepared it is.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import format_placement, nodes_of, parse_placement
from edgeflow.planning import Proposal
from edgeflow.planning.attain import worth_of
from edgeflow.planning.goal import Scale, restricted
from edgeflow.planning.standing import goal_of
from edgeflow.policy.question import Question
from edgeflow.policy.survey import ask

SLACK = 0.03
"""Share by which it may be worse than the best one, for as long as it runs: below what a switch has
to promise (`edgeflow.policy.worth`). Higher builds less."""


def or_prepared(question: Question, best: Proposal) -> Proposal:
    """`best`, or a variant of the running plan that is nearly as good. For little traffic always
    `best`: which latency goes with it nobody said."""
    if question.plan is None or best.objective == "traffic":
        return best
    found = (priced(question, best, line) for line in question.plan.variants[1:])
    near = [
        each
        for each in found
        if each is not None and each.value <= (1 + SLACK) * best.value and _fits(question, each)
    ]
    chosen = min(near, key=lambda each: each.value, default=None)
    if chosen is None:
        return best
    reason = f"prepared already, and hardly worse than the best plan: {best.reason}"
    return replace(chosen, reason=reason)


def priced(question: Question, like: Proposal, line: str) -> Proposal | None:
    """A placement line at the prices of now, in what else is said of another plan; None where it
    may not run."""
    usable = question.cluster.nodes.keys() - set(question.shunned)
    try:
        layout, goal = parse_placement(question.graph, line), goal_of(question.spec)
        if not nodes_of(layout) <= usable:
            return None
        costs = restricted(CostModel(question.graph, question.cluster), goal)
        terms = costs.evaluate(layout)
    except EdgeflowError:
        return None
    value, _ = worth_of(Scale.of(goal, costs), terms, goal.latency_s_max)
    return replace(
        like, placement=layout, terms=terms, predicted_s=terms.total_s, optimal=False, value=value
    )


def _fits(question: Question, proposal: Proposal) -> bool:
    """Whether it can be run beside other deployments."""
    line = format_placement(question.graph, proposal.placement)
    try:
        ask(changed(question.spec, placement=line), question.graph, question.cluster, ())
    except EdgeflowError:
        return False
    return True
