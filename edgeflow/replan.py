"""When a deployment gets another plan, and which.

    none yet · broken · wish changed ─▶ the best plan now          first without fallbacks: at once
    running  · another is much better ─▶ that one
    running  · not covered ─▶ the same plan, with variants for the loss of each node

Invariant: a plan that works is given up only for what is measurably better, or wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from edgeflow.boards import Word, describe, holding_of
from edgeflow.codec import plan_hash
from edgeflow.cover import cover
from edgeflow.deployments import View
from edgeflow.errors import EdgeflowError
from edgeflow.graph import Graph
from edgeflow.holding import READY
from edgeflow.membership import Membership
from edgeflow.messages import Board, Claim, Plan, PlanId, Spec
from edgeflow.placement import format_placement, nodes_named, nodes_of, parse_placement
from edgeflow.planning import Proposal
from edgeflow.planning.standing import Standing, standing, what_is_gained
from edgeflow.survey import (
    ask,
    free_bytes,
    in_use,
    is_settled,
    is_worth_a_search,
    survey,
    what_broke,
)
from edgeflow.watch import Watch

SETTLE_S = 4.0
"""A first plan waits at most so long for links to be measured. Lower plans on guesses."""
IMPOSSIBLE_S = 1.0
"""Where no plan exists the planner is asked again after this long: it costs the leader's CPU."""
UNHELD_S = 6.0
"""A committed plan that a node says not to hold is given up after 3 of its reports."""
REVIEW_S = 2.0
"""A running plan is compared with the best one this often."""
GAIN_MIN = 0.15
"""A better plan must promise so much less of what is wanted: below, noise would cause switches."""
DWELL_S = 8.0
"""A plan that works stays at least so long."""
COVER_S = 1.0
"""A plan runs so long before fallbacks are prepared: its first frames have the machines alone."""
COVERED = "; prepared for the loss of "


@dataclass(slots=True)
class Replan:
    """Makes plans for the deployments that this node leads."""

    membership: Membership
    seq: int = 0
    watches: dict[str, Watch] = field(default_factory=dict)

    def advance(
        self, view: View, spec: Spec, graph: Graph | None, board: Board, claim: Claim, now_s: float
    ) -> tuple[Board, Word]:
        """The board with a new plan to prepare, where one is needed, much better, or better
        covered."""
        watch = self.watches[view.name]
        plan = board.preparing or board.committed
        why = self._why(view, spec, board, now_s)
        if graph is None:
            absent = f"the model {spec.model_name} is still on its way to {self.membership.me}"
            return board, ("waiting", absent) if plan is None else describe(view, board)
        if watch.is_held(spec, now_s):
            return board, watch.verdict
        is_early = now_s - watch.since_s <= SETTLE_S
        if plan is None and is_early and not is_settled(self.membership, spec.source, now_s):
            return board, ("waiting", "links are being measured")
        if not why and now_s - watch.reviewed_s < REVIEW_S:
            return board, describe(view, board)
        watch.reviewed_s = now_s
        try:
            proposal, why = self._propose(spec, graph, board, why, now_s)
        except EdgeflowError as error:
            watch.hold(spec, now_s + IMPOSSIBLE_S, ("impossible", str(error)[:2000]))
            return replace(board, preparing=None), watch.verdict
        if proposal is not None:
            watch.progress, watch.progress_s = -1, now_s
            new = self._make(spec, graph, proposal, claim, why)
            board = replace(board, preparing=new, generation=spec.generation)
            watch.reviewed_s = -math.inf  # the next tick prices it, tile by tile
        elif board.preparing is None and now_s - watch.committed_s >= COVER_S:
            board = replace(board, preparing=self._covered(spec, graph, board, claim, now_s))
        return board, describe(view, board)

    def _why(self, view: View, spec: Spec, board: Board, now_s: float) -> str:
        """Why a new plan is needed, in words; empty where it is not."""
        plan = board.preparing or board.committed
        if plan is None:
            return "first plan"
        needed = in_use(plan) if board.preparing is None else frozenset(plan.sessions)
        if broken := what_broke(self.membership, plan, needed, now_s):
            return broken
        if board.generation != spec.generation:
            return "the deployment was changed"
        watch = self.watches[view.name]
        return self._unheld(view, plan, watch, now_s) if board.preparing is None else ""

    def _unheld(self, view: View, plan: Plan, watch: Watch, now_s: float) -> str:
        """Who does not hold a committed plan, in words, once that has lasted."""
        for node in in_use(plan):
            status, _, _ = holding_of(view, plan, node)
            if status not in READY or (node == plan.source and status != "active"):
                watch.unheld_s = min(watch.unheld_s, now_s)
                is_lasting = now_s - watch.unheld_s > UNHELD_S
                return f"{node} does not hold the plan any more" if is_lasting else ""
        watch.unheld_s = math.inf
        return ""

    def _propose(
        self, spec: Spec, graph: Graph, board: Board, why: str, now_s: float
    ) -> tuple[Proposal | None, str]:
        """A plan that is needed, or much better than the running one; and why."""
        watch = self.watches[spec.name]
        cluster = survey(self.membership, spec.source, spec.model, now_s)
        plan = board.preparing or board.committed
        now = Standing(0.0, 0.0)
        if plan is not None and not why:
            now = standing(spec, graph, cluster, plan.variants[0])
            watch.prices.note(board, plan, now.seconds, graph, cluster)
            is_new = is_switch(board) or now_s - watch.committed_s < DWELL_S
            seen = now_s, now.seconds
            if math.isinf(now.seconds):
                why = "the running plan lost a link"
            elif is_new or not is_worth_a_search(spec, cluster, watch.searched, seen):
                return None, ""
        watch.searched = now_s, now.seconds
        shunned = [name for name, until_s in watch.shunned.items() if now_s < until_s]
        proposal = ask(spec, graph, cluster, shunned)
        if why:
            return proposal, why
        assert plan is not None
        is_same = format_placement(graph, proposal.placement) == plan.variants[0]
        why = "" if is_same else what_is_gained(now, proposal, GAIN_MIN)
        return (proposal, why) if why else (None, "")

    def _covered(
        self, spec: Spec, graph: Graph, board: Board, claim: Claim, now_s: float
    ) -> Plan | None:
        """The committed plan again, with what stands in for each of its nodes; None where it has
        that already."""
        watch, plan = self.watches[spec.name], board.committed
        if plan is None or not spec.fallbacks:
            return None
        cluster = survey(self.membership, spec.source, spec.model, now_s)
        shunned = [name for name, until_s in watch.shunned.items() if now_s < until_s]
        fleet = frozenset(
            (name, self.membership.peers[name].session)
            for name, node in cluster.nodes.items()
            if node.rates is not None and name not in shunned
        )
        if watch.covered == (plan.id, fleet):
            return None
        layout = parse_placement(graph, plan.variants[0])
        found = cover(spec, graph, cluster, layout, shunned, free_bytes(self.membership))
        lines = [format_placement(graph, each) for each in found.layouts]
        variants = (plan.variants[0], *dict.fromkeys(lines))
        nodes = sorted({spec.source}.union(*map(nodes_named, variants)))
        sessions = {node: self.membership.peers[node].session for node in nodes}
        watch.covered, watch.gaps = (plan.id, fleet), found.gaps
        if (variants, sessions) == (plan.variants, plan.sessions):
            return None
        watch.progress, watch.progress_s = -1, now_s
        covers = ", ".join(sorted(found.covers)) or "no node"
        reason = f"{plan.reason.partition(COVERED)[0]}{COVERED}{covers}"[:2000]
        new = self._sealed(
            claim, replace(plan, variants=variants, sessions=sessions, reason=reason)
        )
        watch.covered = new.id, fleet
        return new

    def _make(self, spec: Spec, graph: Graph, proposal: Proposal, claim: Claim, why: str) -> Plan:
        nodes = sorted({spec.source} | nodes_of(proposal.placement))
        plan = Plan(
            id=PlanId(claim, 0),
            deployment=spec.name,
            model=spec.model,
            source=spec.source,
            sessions={node: self.membership.peers[node].session for node in nodes},
            variants=(format_placement(graph, proposal.placement),),
            predicted_s=proposal.predicted_s,
            lower_bound_s=proposal.lower_bound_s,
            algorithm=proposal.algorithm,
            reason=f"{why}; {proposal.reason}"[:2000],
            hash="0" * 64,
        )
        return self._sealed(claim, plan)

    def _sealed(self, claim: Claim, plan: Plan) -> Plan:
        """The plan under the next id, with its hash."""
        self.seq += 1
        plan = replace(plan, id=PlanId(claim, self.seq))
        return replace(plan, hash=plan_hash(plan))


def is_switch(board: Board) -> bool:
    """Whether another placement is prepared: what is only better covered makes nobody wait."""
    new, now = board.preparing, board.committed
    return new is not None and (now is None or new.variants[0] != now.variants[0])
