"""When a deployment gets another plan, and which.

    none yet · broken · wish changed ─▶ the policy's plan now      first without fallbacks: at once
    running  · the policy has a better one ─▶ that one     asked each REVIEW_S, after news at once
    running  · not covered ─▶ the same plan, with variants beside it

Invariant: a plan that works is given up only for what its policy finds better, or what is wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from dataclasses import replace as changed

from msgspec.structs import replace

from edgeflow.cluster.membership import Membership
from edgeflow.codec import plan_hash
from edgeflow.costmodel.cost import Cluster
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import format_placement, nodes_of, parse_placement
from edgeflow.leader.boards import Word, describe, emptied, holding_of
from edgeflow.leader.capacity import Capacity
from edgeflow.leader.covering import Covering
from edgeflow.leader.prices import tried
from edgeflow.leader.watch import Watch
from edgeflow.messages import Board, Claim, Plan, PlanId, Spec
from edgeflow.model.graph import Graph
from edgeflow.planning import Proposal
from edgeflow.planning.fit import UnfitError
from edgeflow.planning.standing import standing
from edgeflow.plans.deployments import View
from edgeflow.plans.holding import READY
from edgeflow.policy import Choice, Policy, Question
from edgeflow.policy.survey import ask, in_use, is_settled, what_broke

SETTLE_S = 4.0
"""A first plan waits at most so long for links to be measured. Lower plans on guesses."""
IMPOSSIBLE_S = 1.0
"""Where no plan exists the planner is asked again after this long: it costs the leader's CPU."""
AGAIN_S = 20.0
"""A plan by hand that a node could not prepare is tried again while that node is shunned for less
than this: 10 s after it failed. Shorter asks a full disk less often."""
UNHELD_S = 6.0
"""A committed plan that a node says not to hold is given up after 3 of its reports."""
REVIEW_S = 2.0
"""A running plan is compared with the best one this often."""
NEWS_S = 0.25
"""After news at once, but at most so often."""


@dataclass(slots=True)
class Replan:
    """Makes plans for the deployments that this node leads."""

    membership: Membership
    seq: int = 0
    watches: dict[str, Watch] = field(default_factory=dict)
    covering: Covering = field(init=False)
    capacity: Capacity = field(init=False)

    def __post_init__(self) -> None:
        self.capacity = Capacity(self.membership)
        self.covering = Covering(self.membership, self.capacity)

    def advance(
        self, view: View, spec: Spec, graph: Graph | None, board: Board, claim: Claim, now_s: float
    ) -> tuple[Board, Word]:
        """The board with a new plan to prepare, where one is needed, much better, or better
        covered."""
        watch = self.watches[view.name]
        board = self._still_covering(board, now_s)
        plan = board.preparing or board.committed
        why, kind = self._why(view, spec, board, now_s)
        if graph is None:
            absent = f"the model {spec.model_name} is still on its way to {self.membership.me}"
            return board, ("waiting", absent) if plan is None else describe(view, board)
        if watch.is_held(spec, now_s):
            return board, watch.verdict
        is_early = now_s - watch.since_s <= SETTLE_S
        if plan is None and is_early and not is_settled(self.membership, spec.source, now_s):
            return board, ("waiting", "links are being measured")
        watch.switches.see(board, now_s)
        is_news = not why and self._is_news(view, spec, graph, now_s)
        if not (why or is_news) and now_s - watch.reviewed_s < REVIEW_S:
            return board, describe(view, board)
        watch.reviewed_s, watch.metrics = now_s, view.metrics
        try:
            choice = self._choose(view, spec, graph, board, (why, kind, is_news), now_s)
        except EdgeflowError as error:
            watch.hold(spec, now_s + IMPOSSIBLE_S, ("impossible", str(error)[:2000]))
            return self._refused(spec, board, claim), watch.verdict
        self.capacity.displaced.pop(view.name, None)
        if choice is not None:
            watch.progress, watch.progress_s = -1, now_s
            new = self._chosen(spec, graph, choice, board, claim, now_s)
            watch.chosen = new.id, choice
            board = replace(board, preparing=new, generation=spec.generation)
            watch.switches.begin(new.variants[0], now_s)
            watch.reviewed_s = -math.inf  # the next tick prices it, tile by tile
        elif board.preparing is None and not watch.policy_for(spec).is_searching(now_s):
            board = replace(board, preparing=self._covered(spec, graph, board, claim, now_s))
        return board, describe(view, board)

    def _refused(self, spec: Spec, board: Board, claim: Claim) -> Board:
        """Without a new plan; without any, where the running one has to make room."""
        if self.capacity.displaced.pop(spec.name, ""):
            return emptied(spec, board, PlanId(claim, self.seq))
        return replace(board, preparing=None)

    def _still_covering(self, board: Board, now_s: float) -> Board:
        """Without a better covered plan that lost a node: the running one does not need it."""
        new = board.preparing
        if new is None or is_switch(board):
            return board
        is_lost = what_broke(self.membership, new, frozenset(new.sessions), now_s)
        return replace(board, preparing=None) if is_lost else board

    def _why(self, view: View, spec: Spec, board: Board, now_s: float) -> tuple[str, str]:
        """Why a new plan is needed, in words, and the kind of change; empty where it is not."""
        plan = board.preparing or board.committed
        if plan is None:
            return "first plan", "first"
        needed = in_use(plan) if board.preparing is None else frozenset(plan.sessions)
        if broken := what_broke(self.membership, plan, needed, now_s):
            return broken, "broken"
        if view.name in self.capacity.displaced:
            return self.capacity.displaced[view.name], "broken"
        if board.generation != spec.generation:
            return "the deployment was changed", "wished"
        watch = self.watches[view.name]
        return self._unheld(view, plan, watch, now_s) if board.preparing is None else "", "broken"

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

    def _is_news(self, view: View, spec: Spec, graph: Graph, now_s: float) -> bool:
        """Whether something was heard that may change what is best."""
        watch = self.watches[view.name]
        if watch.policy is None or now_s - watch.reviewed_s < NEWS_S:
            return False
        if watch.policy.measures and view.metrics is not watch.metrics:
            return True
        if watch.was_tried(view.lately):
            return True
        return watch.news.is_due(self.membership, spec.model, _input_bytes(graph), now_s)

    def _choose(
        self,
        view: View,
        spec: Spec,
        graph: Graph,
        board: Board,
        asked: tuple[str, str, bool],
        now_s: float,
    ) -> Choice | None:
        """A plan that is needed, or better than the running one."""
        (why, kind, is_news), watch = asked, self.watches[spec.name]
        cluster = self.capacity.cluster(spec, now_s)
        plan, policy = board.preparing or board.committed, watch.policy_for(spec)
        question = self._question(view, spec, graph, cluster, now_s)
        if plan is not None and not why:
            now = standing(spec, graph, cluster, plan.variants[0])
            watch.prices.note(board, plan, now.seconds, graph, cluster)
            watch.news.note(self.membership, spec.model, _input_bytes(graph), now.seconds, now_s)
            if math.isinf(now.seconds):
                why, kind = "the running plan lost a link", "broken"
            elif is_switch(board):
                return None
            elif spec.placement:
                if not _is_overdue(spec, graph, plan, watch, now_s):
                    return None
                why, kind = "the plan by hand could not be prepared before", "wished"
            told_s = watch.prices.as_told(plan, now.seconds, question.measured.get(str(plan.id)))
            found = tried(plan, view.lately)
            question = changed(
                question, plan=plan, standing=now, told_s=told_s, tried=found, is_news=is_news
            )
        if not why:
            try:
                return policy.review(question)
            except UnfitError:
                return None  # who runs runs on
        return Choice(self._fitting(question, policy), why, kind)

    def _fitting(self, question: Question, policy: Policy) -> Proposal:
        """A plan that is needed. Where none fits, younger deployments make room; UnfitError where
        they cannot, at once where that was found out lately."""
        spec, now_s = question.spec, question.now_s

        def plan(asked: Question) -> Proposal:
            by_hand = spec.placement
            return ask(spec, asked.graph, asked.cluster, ()) if by_hand else policy.first(asked)

        if known := self.capacity.refused(spec, question.cluster, now_s):
            raise known
        try:
            return plan(question)
        except UnfitError as error:
            if not self.capacity.younger(spec.name):
                self.capacity.refuse(spec, question.cluster, error, now_s)
                raise
        above = self.capacity.cluster(spec, now_s, above=True)
        found = plan(changed(question, cluster=above))
        self.capacity.make_room(spec, above, found.terms, now_s)
        return found

    def _question(
        self, view: View, spec: Spec, graph: Graph, cluster: Cluster, now_s: float
    ) -> Question:
        """What there is to know, but of the running plan."""
        watch = self.watches[view.name]
        return Question(
            *(spec, graph, cluster, watch.shunned_at(now_s), now_s),
            since_s=watch.committed_s,
            measured={each.plan: each for each in view.lately if each.variant == 0},
            waiting=view.waiting,
            is_draining=view.board is not None and bool(view.board.draining),
            prepared=tuple(watch.switches.lines),
            keepers=frozenset(name for name, held in view.helds.items() if held.keeps_model),
            switch_s=watch.switches.usual_s,
        )

    def _covered(
        self, spec: Spec, graph: Graph, board: Board, claim: Claim, now_s: float
    ) -> Plan | None:
        """The committed plan, better covered; None where it need not be."""
        watch = self.watches[spec.name]
        found = self.covering.covered(watch, spec, graph, board.committed, now_s)
        if found is None:
            return None
        watch.progress, watch.progress_s = -1, now_s
        new = self._sealed(claim, found)
        if watch.covered is not None:
            watch.covered = new.id, watch.covered[1]
        return new

    def _chosen(
        self, spec: Spec, graph: Graph, choice: Choice, board: Board, claim: Claim, now_s: float
    ) -> Plan:
        """The plan to prepare; one that nobody needs at once keeps what is built beside it."""
        new = self._made(spec, graph, choice, claim)
        if choice.kind == "better" and spec.fallbacks:
            new = self.covering.with_variants_of(board.committed, new, now_s)
        return self._sealed(claim, new)

    def _made(self, spec: Spec, graph: Graph, choice: Choice, claim: Claim) -> Plan:
        proposal: Proposal = choice.proposal
        nodes = sorted({spec.source} | nodes_of(proposal.placement))
        return Plan(
            id=PlanId(claim, 0),
            deployment=spec.name,
            model=spec.model,
            source=spec.source,
            sessions={node: self.membership.peers[node].session for node in nodes},
            variants=(format_placement(graph, proposal.placement),),
            predicted_s=proposal.predicted_s,
            lower_bound_s=proposal.lower_bound_s,
            algorithm=proposal.algorithm,
            reason=f"{choice.why}; {proposal.reason}"[:2000],
            hash="0" * 64,
        )

    def _sealed(self, claim: Claim, plan: Plan) -> Plan:
        """The plan under the next id, with its hash."""
        self.seq += 1
        plan = replace(plan, id=PlanId(claim, self.seq))
        return replace(plan, hash=plan_hash(plan))


def _input_bytes(graph: Graph) -> int:
    """Of one frame."""
    return sum(graph.tensors[contract.name].nbytes for contract in graph.inputs)


def _is_overdue(spec: Spec, graph: Graph, plan: Plan, watch: Watch, now_s: float) -> bool:
    """Whether a plan by hand that could not be prepared is to be tried again."""
    wanted = format_placement(graph, parse_placement(graph, spec.placement))
    is_rested = all(until_s - now_s < AGAIN_S for until_s in watch.shunned.values())
    return is_rested and plan.variants[0] != wanted


def is_switch(board: Board) -> bool:
    """Whether another placement is prepared: what is only better covered makes nobody wait."""
    new, now = board.preparing, board.committed
    return new is not None and (now is None or new.variants[0] != now.variants[0])
