"""What the leader does for each deployment: plan, prepare, commit, drain, retire.

    waiting ──graph here, links measured──▶ preparing ──all READY──▶ running ──better, broken──┐
       ^  source unheard                       |  ^ failed, lost, stuck: without that node      |
       '---------------------------------------'  '--------------------------------------------'

The board (`plan` topic) is the whole truth: what is prepared, what is committed, what still drains.
It is republished each period, so nothing hangs on one message; beside it stand status and history,
for people. A new leader adopts the board it has heard and changes only what does not work. That a
committed plan is held it does not believe but hear: who forgot it, or uses another, makes the
leader plan anew.

Invariants: at most two committed plans (one draining) and one preparing per deployment (F5); a plan
is committed only after every node in it said READY for that hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from msgspec.structs import replace

from edgeflow.cluster.membership import Membership
from edgeflow.events import Effect, Publish
from edgeflow.leader import wording
from edgeflow.leader.boards import (
    Word,
    adopted,
    emptied,
    holding_of,
    is_drained,
    patience_s,
    status_of,
)
from edgeflow.leader.replan import Replan
from edgeflow.leader.watch import Watch
from edgeflow.messages import Board, Claim, Notice, PlanId, Spec
from edgeflow.model.graph import Graph
from edgeflow.plans.deployments import View
from edgeflow.plans.holding import READY

SHUN_S = 30.0
"""A node that failed or got stuck computes nothing of this deployment for so long."""
RETRY_S = 5.0
"""A source that cannot prepare is asked again after this long: no plan does without it."""
FORGET_S = 30.0
"""Plans whose source is unheard for so long are retired, and their memory is freed."""
BOARD_S = 2.0
"""The board is republished this often."""


@dataclass(slots=True)
class Lead:
    """Leads as long as it is ticked."""

    me: str
    membership: Membership
    replan: Replan = field(init=False)
    wall_s: float = 0.0
    """The wall clock less this node's own, for people; 0: unknown."""

    def __post_init__(self) -> None:
        self.replan = Replan(self.membership)

    @property
    def watches(self) -> dict[str, Watch]:
        """The notes, by deployment."""
        return self.replan.watches

    def tick_all(
        self, views: Sequence[tuple[View, Graph | None]], claim: Claim, now_s: float
    ) -> list[Effect]:
        """Move every deployment on; each knows of all others before the first one is planned."""
        for view, graph in views:
            self.replan.capacity.see(view, graph, now_s)
        return [effect for each in views for effect in self.tick(*each, claim, now_s)]

    def tick(self, view: View, graph: Graph | None, claim: Claim, now_s: float) -> list[Effect]:
        """Move one deployment on."""
        spec = view.spec
        if spec is None:
            return []
        watch = self.watches.setdefault(view.name, Watch(now_s))
        self.replan.capacity.see(view, graph, now_s)
        old = adopted(spec, view.board, claim)
        watch.history.wall_s = self.wall_s
        notices: list[Effect] = []
        source = self.membership.peers.get(spec.source)
        if spec.removed:
            watch.history.clear()
            board, word = emptied(spec, old, PlanId(claim, self.replan.seq)), ("removed", "removed")
        elif source is None or not self.membership.is_usable(spec.source, source.session, now_s):
            watch.waiting_s = min(watch.waiting_s, now_s)
            is_over = now_s - watch.waiting_s > FORGET_S
            board = (
                emptied(spec, old, PlanId(claim, self.replan.seq))
                if is_over
                else replace(old, preparing=None)
            )
            word = ("waiting", f"the source {spec.source} is not here")
        else:
            watch.waiting_s = inf
            notices = self._judge(view, old, now_s)
            board, more = self._advance(view, spec, old, now_s)
            notices += more
            board, word = self.replan.advance(view, spec, graph, board, claim, now_s)
            self._note(watch, board, now_s)
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
            old = (board.committed,) if board.committed else ()
            if not any(each.variants[0] == plan.variants[0] for each in old):
                watch.committed_s, watch.unheld_s = now_s, inf
            admitted = board.admitted or plan.id
            board = replace(board, preparing=None, committed=plan, draining=old, admitted=admitted)
            change = watch.history.commit(view, plan, now_s)
            sentence = wording.committed(view.name, plan, change)
            return board, [Publish(Notice(view.name, self.me, "plan", sentence))]
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

    # --- the history ---------------------------------------------------------------------------

    def _judge(self, view: View, board: Board, now_s: float) -> list[Effect]:
        """What came of a plan, once that is known."""
        change = self.watches[view.name].history.follow(view, board, now_s)
        if change is None:
            return []
        sentence = wording.judged(view.name, change)
        return [Publish(Notice(view.name, self.me, "outcome", sentence))]

    def _note(self, watch: Watch, board: Board, now_s: float) -> None:
        """A change that was decided on just now."""
        plan, chosen, running = board.preparing, watch.chosen, board.committed
        watch.chosen = None
        if plan is None or chosen is None or chosen[0] != plan.id:
            return
        before = (running.variants[0], watch.prices.of(running).seconds) if running else ("", 0.0)
        choice = chosen[1]
        if choice.kind == "broken" or plan.variants[0] != before[0]:
            watch.history.decide(plan, choice.kind, choice.why, before, now_s)

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
        status = status_of(spec, board, word, self.me, watch.prices, watch.gaps, watch.likely)
        is_due = now_s - watch.published_s >= BOARD_S
        effects: list[Effect] = []
        if board != old or is_due:
            effects.append(Publish(board))
        if status != watch.status or is_due:
            effects.append(Publish(status))
        if effects:
            watch.published_s, watch.status = now_s, status
        history = watch.history.tell(view, self.me, now_s)
        return effects if history is None else [*effects, Publish(history)]
