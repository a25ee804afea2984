"""What the leader does for each deployment: plan, prepare, commit, drain, retire.

    waiting ──graph here, links measured──▶ preparing ──all READY──▶ running ──better, broken──┐
       ^  source unheard                       |  ^ failed, lost, stuck: without that node      |
       '---------------------------------------'  '--------------------------------------------'

The board (`plan` topic) is the whole truth: what is prepared, what is committed, what still drains.
It is republished each period, so nothing hangs on one message. A new leader adopts the board it has
heard and changes only what does not work. That a committed plan is held it does not believe but
hear: who forgot it, or uses another, makes the leader plan anew.

Invariants: at most two committed plans (one draining) and one preparing per deployment (F5); a plan
is committed only after every node in it said READY for that hash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from edgeflow.boards import Word, describe, emptied, holding_of, is_drained, patience_s, status_of
from edgeflow.codec import plan_hash
from edgeflow.deployments import View
from edgeflow.errors import EdgeflowError
from edgeflow.events import Effect, Publish
from edgeflow.graph import Graph
from edgeflow.holding import READY
from edgeflow.membership import Membership
from edgeflow.messages import Board, Claim, Notice, Plan, PlanId, Spec, Status
from edgeflow.placement import format_placement, nodes_of
from edgeflow.planning import Proposal
from edgeflow.planning.standing import Standing, standing, what_is_gained
from edgeflow.prices import Prices
from edgeflow.survey import ask, is_settled, is_worth_a_search, survey, what_broke

SETTLE_S = 4.0
"""A first plan waits at most so long for links to be measured. Lower plans on guesses."""
SHUN_S = 30.0
"""A node that failed or got stuck computes nothing of this deployment for so long."""
RETRY_S = 5.0
"""A source that cannot prepare is asked again after this long: no plan does without it."""
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
FORGET_S = 30.0
"""Plans whose source is unheard for so long are retired, and their memory is freed."""
BOARD_S = 2.0
"""The board is republished this often."""


@dataclass(slots=True)
class Watch:
    """The leader's notes on one deployment; all of it can be lost."""

    since_s: float
    waiting_s: float = math.inf
    """Since when the source is unheard."""
    progress: int = -1
    progress_s: float = 0.0
    committed_s: float = -math.inf
    reviewed_s: float = -math.inf
    searched: tuple[float, float] = (-math.inf, 0.0)
    """When a better plan was last looked for, and what the running one took then."""
    published_s: float = -math.inf
    unheld_s: float = math.inf
    """Since when some node does not hold the committed plan."""
    hold_until_s: float = -math.inf
    """No new plan before this, unless the wish changes."""
    held_generation: int = 0
    verdict: Word = ("waiting", "no plan yet")
    """What is said while held."""
    shunned: dict[str, float] = field(default_factory=dict)
    status: Status | None = None
    prices: Prices = field(default_factory=Prices)

    def hold(self, spec: Spec, until_s: float, verdict: Word) -> None:
        """Ask for no plan for a while."""
        self.hold_until_s, self.held_generation, self.verdict = until_s, spec.generation, verdict

    def is_held(self, spec: Spec, now_s: float) -> bool:
        """Whether it is too early for a new plan for this wish."""
        return now_s < self.hold_until_s and spec.generation == self.held_generation


@dataclass(slots=True)
class Lead:
    """Leads as long as it is ticked."""

    me: str
    membership: Membership
    seq: int = 0
    watches: dict[str, Watch] = field(default_factory=dict)

    def tick(self, view: View, graph: Graph | None, claim: Claim, now_s: float) -> list[Effect]:
        """Move one deployment on."""
        spec = view.spec
        if spec is None:
            return []
        watch = self.watches.setdefault(view.name, Watch(now_s))
        old = view.board or Board(view.name, claim, spec.generation, None, None)
        notices: list[Effect] = []
        source = self.membership.peers.get(spec.source)
        if spec.removed:
            board, word = emptied(spec, old, PlanId(claim, self.seq)), ("removed", "removed")
        elif source is None or not self.membership.is_usable(spec.source, source.session, now_s):
            watch.waiting_s = min(watch.waiting_s, now_s)
            is_over = now_s - watch.waiting_s > FORGET_S
            board = (
                emptied(spec, old, PlanId(claim, self.seq))
                if is_over
                else replace(old, preparing=None)
            )
            word = ("waiting", f"the source {spec.source} is not here")
        else:
            watch.waiting_s = math.inf
            board, notices = self._advance(view, spec, old, now_s)
            board, word = self._plan(view, spec, graph, board, claim, now_s)
        return [*self._publish(view, spec, board, old, claim, word, now_s), *notices]

    # --- what is under way ---------------------------------------------------------------------

    def _advance(
        self, view: View, spec: Spec, board: Board, now_s: float
    ) -> tuple[Board, list[Effect]]:
        """Commit what is ready, give up what is stuck, forget what is drained."""
        watch = self.watches[view.name]
        draining = tuple(plan for plan in board.draining if not is_drained(view, plan, board))
        board = replace(board, draining=draining)
        plan = board.preparing
        if plan is None:
            return board, []
        states = {node: holding_of(view, plan, node) for node in plan.sessions}
        late = [node for node, (status, _, _) in states.items() if status not in READY]
        if not late:
            watch.committed_s, watch.unheld_s = now_s, math.inf
            old = (board.committed,) if board.committed else ()
            board = replace(board, preparing=None, committed=plan, draining=old)
            sentence = f"{view.name} runs as {plan.variants[0]}: {plan.reason}"
            return board, [Publish(Notice(view.name, self.me, "plan", sentence[:2000]))]
        for node in late:
            status, _, why = states[node]
            if status == "failed":
                return self._give_up(spec, board, node, f"cannot prepare: {why}", now_s)
        progress = sum(have for _, have, _ in states.values()) - len(late)
        if progress != watch.progress:
            watch.progress, watch.progress_s = progress, now_s
            return board, []
        most_s = patience_s(view, plan, late)
        if now_s - watch.progress_s > most_s:
            why = states[late[0]][2] or "no progress"
            text = f"got stuck for {most_s:.0f} s: {why}"
            return self._give_up(spec, board, late[0], text, now_s)
        return board, []

    def _give_up(
        self, spec: Spec, board: Board, node: str, why: str, now_s: float
    ) -> tuple[Board, list[Effect]]:
        watch = self.watches[spec.name]
        watch.shunned[node] = now_s + SHUN_S
        text = f"{node} {why}"[:2000]
        if node == spec.source:
            watch.hold(spec, now_s + RETRY_S, ("waiting", text))
        notice = Notice(spec.name, self.me, "refused", text)
        return replace(board, preparing=None), [Publish(notice)]

    def _unheld(self, view: View, plan: Plan, now_s: float) -> str:
        """Who does not hold a committed plan, in words, once that has lasted."""
        watch = self.watches[view.name]
        for node in plan.sessions:
            status, _, _ = holding_of(view, plan, node)
            if status not in READY or (node == plan.source and status != "active"):
                watch.unheld_s = min(watch.unheld_s, now_s)
                is_lasting = now_s - watch.unheld_s > UNHELD_S
                return f"{node} does not hold the plan any more" if is_lasting else ""
        watch.unheld_s = math.inf
        return ""

    # --- planning ------------------------------------------------------------------------------

    def _plan(
        self, view: View, spec: Spec, graph: Graph | None, board: Board, claim: Claim, now_s: float
    ) -> tuple[Board, Word]:
        """The board with a new plan to prepare, where one is needed or much better."""
        watch = self.watches[view.name]
        plan = board.preparing or board.committed
        why = self._why(view, spec, board, now_s)
        if graph is None:
            absent = f"the model {spec.model_name} is still on its way to {self.me}"
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
        return board, describe(view, board)

    def _why(self, view: View, spec: Spec, board: Board, now_s: float) -> str:
        """Why a new plan is needed, in words; empty where it is not."""
        plan = board.preparing or board.committed
        if plan is None:
            return "first plan"
        if broken := what_broke(self.membership, plan, now_s):
            return broken
        if board.generation != spec.generation:
            return "the deployment was changed"
        return self._unheld(view, plan, now_s) if board.preparing is None else ""

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
            is_new = board.preparing is not None or now_s - watch.committed_s < DWELL_S
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

    def _make(self, spec: Spec, graph: Graph, proposal: Proposal, claim: Claim, why: str) -> Plan:
        self.seq += 1
        nodes = sorted({spec.source} | nodes_of(proposal.placement))
        plan = Plan(
            id=PlanId(claim, self.seq),
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
        return replace(plan, hash=plan_hash(plan))

    # --- telling -------------------------------------------------------------------------------

    def _publish(
        self,
        view: View,
        spec: Spec,
        board: Board,
        old: Board,
        claim: Claim,
        word: Word,
        now_s: float,
    ) -> list[Effect]:
        """Board and status, where they changed or are due."""
        watch = self.watches[view.name]
        view.board = board = replace(board, claim=claim)
        status = status_of(spec, board, word, self.me, watch.prices)
        is_due = now_s - watch.published_s >= BOARD_S
        effects: list[Effect] = []
        if board != old or is_due:
            effects.append(Publish(board))
        if status != watch.status or is_due:
            effects.append(Publish(status))
        if effects:
            watch.published_s, watch.status = now_s, status
        return effects
