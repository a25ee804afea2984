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

from dataclasses import dataclass, field
from math import inf

from msgspec.structs import replace

from edgeflow.boards import Word, adopted, emptied, holding_of, is_drained, patience_s, status_of
from edgeflow.deployments import View
from edgeflow.events import Effect, Publish
from edgeflow.graph import Graph
from edgeflow.holding import READY
from edgeflow.membership import Membership
from edgeflow.messages import Board, Claim, Notice, PlanId, Spec
from edgeflow.replan import Replan
from edgeflow.watch import Watch

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

    def __post_init__(self) -> None:
        self.replan = Replan(self.membership)

    @property
    def watches(self) -> dict[str, Watch]:
        """The notes, by deployment."""
        return self.replan.watches

    def tick(self, view: View, graph: Graph | None, claim: Claim, now_s: float) -> list[Effect]:
        """Move one deployment on."""
        spec = view.spec
        if spec is None:
            return []
        watch = self.watches.setdefault(view.name, Watch(now_s))
        old = adopted(spec, view.board, claim)
        notices: list[Effect] = []
        source = self.membership.peers.get(spec.source)
        if spec.removed:
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
            board, notices = self._advance(view, spec, old, now_s)
            board, word = self.replan.advance(view, spec, graph, board, claim, now_s)
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
        status = status_of(spec, board, word, self.me, watch.prices, watch.gaps)
        is_due = now_s - watch.published_s >= BOARD_S
        effects: list[Effect] = []
        if board != old or is_due:
            effects.append(Publish(board))
        if status != watch.status or is_due:
            effects.append(Publish(status))
        if effects:
            watch.published_s, watch.status = now_s, status
        return effects
