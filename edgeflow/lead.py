"""What the leader does for each deployment: plan, prepare, commit, drain, retire.

    waiting ──graph here, links measured──▶ preparing ──all READY──▶ running ──better, broken──┐
       ^  source unheard                       |  ^ failed, lost, stuck: without that node      |
       '---------------------------------------'  '--------------------------------------------'

The board (`plan` topic) is the whole truth: what is prepared, what is committed, what still drains.
It is republished each period, so nothing hangs on one message. A new leader adopts the board it has
heard and changes only what does not work.

Invariants: at most two committed plans (one draining) and one preparing per deployment (F5); a plan
is committed only after every node in it said READY for that hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from edgeflow.codec import plan_hash
from edgeflow.cost import Cluster, CostModel, LinkCost, NodeCost, Terms
from edgeflow.deployments import View
from edgeflow.errors import EdgeflowError
from edgeflow.events import Effect, Publish
from edgeflow.graph import Graph
from edgeflow.holding import READY
from edgeflow.membership import Membership, Peer
from edgeflow.messages import Board, Claim, Held, Notice, Plan, PlanId, Spec, Status
from edgeflow.placement import format_placement, parse_placement
from edgeflow.planning import Proposal, propose

SETTLE_S = 4.0
"""A first plan waits at most so long for links to be measured. Lower plans on guesses."""
STUCK_S = 15.0
"""PREPARE without a byte of progress for so long is given up: the slowest node is left out."""
SHUN_S = 30.0
"""A node that failed or got stuck is left out of this deployment's plans for so long."""
REVIEW_S = 2.0
"""A running plan is compared with the best one this often."""
GAIN_MIN = 0.15
"""A better plan must promise so much less latency: below it, noise would cause switches."""
DWELL_S = 8.0
"""A plan that works stays at least so long."""
LINK_PRIOR = LinkCost(delay_s=0.002, bytes_per_s=50e6 / 8)
"""A link that is up but not measured yet: 50 Mbit/s."""
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
    started_s: float = 0.0
    progress: int = -1
    progress_s: float = 0.0
    committed_s: float = -math.inf
    reviewed_s: float = -math.inf
    published_s: float = -math.inf
    shunned: dict[str, float] = field(default_factory=dict)
    status: Status | None = None


@dataclass(slots=True)
class Lead:
    """Leads as long as it is ticked."""

    me: str
    membership: Membership
    seq: int = 0
    watches: dict[str, Watch] = field(default_factory=dict)

    def tick(self, view: View, graph: Graph | None, claim: Claim, now_s: float) -> list[Effect]:
        """Move one deployment on."""
        spec, board = view.spec, view.board
        if spec is None:
            return []
        watch = self.watches.setdefault(view.name, Watch(now_s))
        if board is None:
            board = Board(view.name, claim, spec.generation, None, None)
        old = board
        if spec.removed:
            board = self._empty(view, spec, claim)
            return self._publish(view, watch, board, old, claim, "removed", "removed", now_s)
        problem = self._problem(view, graph, now_s)
        if problem:
            watch.waiting_s = min(watch.waiting_s, now_s)
            is_over = now_s - watch.waiting_s > FORGET_S
            board = self._empty(view, spec, claim) if is_over else replace(board, preparing=None)
            return self._publish(view, watch, board, old, claim, "waiting", problem, now_s)
        watch.waiting_s = math.inf
        assert graph is not None
        board, notices = self._advance(view, board, now_s)
        board, phase, text, more = self._plan(view, graph, board, claim, now_s)
        effects = self._publish(view, watch, board, old, claim, phase, text, now_s)
        return [*effects, *notices, *more]

    def _empty(self, view: View, spec: Spec, claim: Claim) -> Board:
        """No plan, and every plan so far is over."""
        retired = PlanId(claim, self.seq)
        return Board(view.name, claim, spec.generation, None, None, retired=retired)

    def _problem(self, view: View, graph: Graph | None, now_s: float) -> str:
        """Why nothing can be planned now, in words; empty where it can."""
        spec = view.spec
        assert spec is not None
        source = self.membership.peers.get(spec.source)
        if source is None or not self.membership.is_usable(spec.source, source.session, now_s):
            return f"the source {spec.source} is not here"
        if graph is None:
            return f"the model {spec.model_name} is still on its way to {self.me}"
        return ""

    # --- what is under way ---------------------------------------------------------------------

    def _advance(self, view: View, board: Board, now_s: float) -> tuple[Board, list[Effect]]:
        """Commit what is ready, give up what is stuck, forget what is drained."""
        watch = self.watches[view.name]
        draining = tuple(plan for plan in board.draining if not self._is_drained(view, plan, board))
        board = replace(board, draining=draining)
        plan = board.preparing
        if plan is None:
            return board, []
        states = {node: self._holding(view, plan, node) for node in plan.sessions}
        if all(status in READY for status, _, _ in states.values()):
            watch.committed_s = now_s
            old = (board.committed,) if board.committed else ()
            board = replace(board, preparing=None, committed=plan, draining=old)
            sentence = f"{view.name} runs as {plan.variants[0]}: {plan.reason}"
            return board, [Publish(Notice(view.name, self.me, "plan", sentence[:2000]))]
        for node, (status, _, why) in states.items():
            if status == "failed":
                return self._give_up(view, board, node, f"cannot prepare: {why}", now_s)
        progress = sum(have for _, have, _ in states.values()) + sum(
            status in READY for status, _, _ in states.values()
        )
        if progress != watch.progress:
            watch.progress, watch.progress_s = progress, now_s
        elif now_s - watch.progress_s > STUCK_S:
            node = next(node for node, (status, _, _) in states.items() if status not in READY)
            return self._give_up(view, board, node, f"got stuck for {STUCK_S:.0f} s", now_s)
        return board, []

    def _give_up(
        self, view: View, board: Board, node: str, why: str, now_s: float
    ) -> tuple[Board, list[Effect]]:
        if view.spec is not None and node != view.spec.source:
            self.watches[view.name].shunned[node] = now_s + SHUN_S
        notice = Notice(view.name, self.me, "refused", f"{node} {why}"[:2000])
        return replace(board, preparing=None), [Publish(notice)]

    def _holding(self, view: View, plan: Plan, node: str) -> tuple[str, int, str]:
        """(status, bytes at hand, why) that a node last said of a plan."""
        held = view.helds.get(node)
        if held is None or held.session != plan.sessions[node]:
            return "", 0, ""
        for holding in held.plans:
            if holding.hash == plan.hash and holding.id == plan.id:
                return holding.status, holding.have_bytes, holding.why
        return "", 0, ""

    def _is_drained(self, view: View, plan: Plan, board: Board) -> bool:
        """The source uses a newer plan and has no open frame under this one; or it is gone."""
        held: Held | None = view.helds.get(plan.source)
        if held is None or board.committed is None:
            return False
        if held.session != plan.sessions[plan.source]:
            return True
        active = any(
            holding.status == "active" and holding.id >= board.committed.id
            for holding in held.plans
        )
        status, _, _ = self._holding(view, plan, plan.source)
        return active and status not in ("active", "in-flight")

    # --- planning ------------------------------------------------------------------------------

    def _plan(
        self, view: View, graph: Graph, board: Board, claim: Claim, now_s: float
    ) -> tuple[Board, str, str, list[Effect]]:
        """The board with a new plan to prepare, where one is needed or much better."""
        watch, spec = self.watches[view.name], view.spec
        assert spec is not None
        plan = board.preparing or board.committed
        broken = "" if plan is None else self._broken(plan, now_s)
        why = "first plan" if plan is None else broken
        if plan is not None and not broken and board.generation != spec.generation:
            why = "the deployment was changed"
        is_review = not why
        if is_review and (board.preparing or not self._is_review_due(watch, now_s)):
            return board, *self._describe(view, board), []
        if plan is None and not self._is_settled(spec.source, watch, now_s):
            return board, "waiting", "links are being measured", []
        watch.reviewed_s = now_s
        cluster = self.cluster(spec.source, spec.model, watch.shunned, now_s)
        try:
            proposal = self._propose(view, graph, cluster)
        except EdgeflowError as error:
            board = replace(board, preparing=None)
            return board, "impossible", str(error)[:2000], []
        if is_review:
            assert plan is not None
            why = self._gain(graph, cluster, plan, proposal)
            if not why:
                return board, *self._describe(view, board), []
        watch.progress, watch.progress_s, watch.started_s = -1, now_s, now_s
        new = self._make(view, graph, proposal, claim, why)
        board = replace(board, preparing=new, generation=spec.generation)
        return board, *self._describe(view, board), []

    def _is_review_due(self, watch: Watch, now_s: float) -> bool:
        return now_s - watch.reviewed_s >= REVIEW_S and now_s - watch.committed_s >= DWELL_S

    def _broken(self, plan: Plan, now_s: float) -> str:
        """Which node of a plan cannot be used any more, in words."""
        for node, session in plan.sessions.items():
            if not self.membership.is_usable(node, session, now_s):
                peer = self.membership.peers.get(node)
                if peer is None or not self.membership.is_alive(node, now_s):
                    return f"{node} is lost"
                if peer.session != session:
                    return f"{node} was restarted"
                return f"{node} is {peer.state}"
        return ""

    def _is_settled(self, source: str, watch: Watch, now_s: float) -> bool:
        """Every link that a first plan may use was measured, or we waited long enough."""
        if now_s - watch.since_s > SETTLE_S:
            return True
        peers = {peer.name: peer for peer in self.membership.alive(now_s)}
        if source not in peers or any(peer.state == "init" for peer in peers.values()):
            return False
        computing = [peer for peer in peers.values() if peer.caps and peer.caps.rates]
        return bool(computing) and all(
            a.name == b.name or _samples(a, b.name) >= 2
            for a in [*computing, peers[source]]
            for b in computing
            if _may_link(a, b)
        )

    def cluster(
        self, source: str, model: str, shunned: Mapping[str, float], now_s: float
    ) -> Cluster:
        """The nodes and links a plan may use, with what was learned of each."""
        peers = {
            peer.name: peer
            for peer in self.membership.alive(now_s)
            if peer.state == "ready" and now_s >= shunned.get(peer.name, 0.0)
        }
        known = sorted(
            peer.load.compute_ratio[model]
            for peer in peers.values()
            if peer.load and model in peer.load.compute_ratio
        )
        guess = known[len(known) // 2] if known else 1.0
        nodes = {name: _node_cost(peer, model, guess) for name, peer in peers.items()}
        links = {
            (name, other): _link_cost(peer, other)
            for name, peer in peers.items()
            if peer.load
            for other, report in peer.load.links.items()
            if report.up and other in peers
        }
        return Cluster(nodes, links, source)

    def _propose(self, view: View, graph: Graph, cluster: Cluster) -> Proposal:
        assert view.spec is not None
        if view.spec.placement:
            placement = parse_placement(graph, view.spec.placement)
            return propose(graph, cluster, "mincut", pinned=placement)
        return propose(graph, cluster, view.spec.algorithm)

    def _gain(self, graph: Graph, cluster: Cluster, plan: Plan, proposal: Proposal) -> str:
        """Why the proposal is worth a switch, in words; empty where it is not."""
        line = format_placement(graph, proposal.placement)
        if line == plan.variants[0]:
            return ""
        now = self._price(graph, cluster, plan.variants[0])
        if now is None or math.isinf(now.total_s):
            return "the running plan lost a link"
        if proposal.predicted_s > (1 - GAIN_MIN) * now.total_s:
            return ""
        was, will = now.total_s * 1e3, proposal.predicted_s * 1e3
        return f"predicted {will:.1f} ms instead of {was:.1f} ms as things are now"

    def _price(self, graph: Graph, cluster: Cluster, line: str) -> Terms | None:
        try:
            placement = parse_placement(graph, line)
        except EdgeflowError:
            return None
        if any(node not in cluster.nodes for node in placement.values()):
            return None
        return CostModel(graph, cluster).evaluate(placement)

    def _make(self, view: View, graph: Graph, proposal: Proposal, claim: Claim, why: str) -> Plan:
        spec = view.spec
        assert spec is not None
        self.seq += 1
        nodes = sorted({spec.source, *proposal.placement.values()})
        plan = Plan(
            id=PlanId(claim, self.seq),
            deployment=view.name,
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

    def _describe(self, view: View, board: Board) -> tuple[str, str]:
        """(phase, sentence)."""
        if board.preparing is not None:
            plan = board.preparing
            late = [n for n in plan.sessions if self._holding(view, plan, n)[0] not in READY]
            return "preparing", f"plan {plan.id}: waiting for {', '.join(late)}"
        if board.committed is None:
            return "waiting", "no plan yet"
        return "running", board.committed.reason

    def _publish(
        self,
        view: View,
        watch: Watch,
        board: Board,
        old: Board,
        claim: Claim,
        phase: str,
        text: str,
        now_s: float,
    ) -> list[Effect]:
        """Board and status, where they changed or are due."""
        board = replace(board, claim=claim)
        is_due = now_s - watch.published_s >= BOARD_S
        view.board = board
        plan = board.committed or board.preparing
        spec = view.spec
        assert spec is not None
        status = Status(
            deployment=view.name,
            model_name=spec.model_name,
            source=spec.source,
            phase=phase,
            sentence=text,
            placement=plan.variants[0] if plan else "",
            predicted_s=plan.predicted_s if plan else 0.0,
            lower_bound_s=plan.lower_bound_s if plan else 0.0,
            plan=str(plan.id) if plan else "",
            leader=self.me,
        )
        effects: list[Effect] = []
        if board != old or is_due:
            effects.append(Publish(board))
        if status != watch.status or is_due:
            effects.append(Publish(status))
        if effects:
            watch.published_s, watch.status = now_s, status
        return effects


def _samples(peer: Peer, other: str) -> int:
    report = peer.load.links.get(other) if peer.load else None
    return report.samples if report is not None and report.up else 0


def _may_link(a: Peer, b: Peer) -> bool:
    assert a.caps is not None
    assert b.caps is not None
    return a.caps.reachable or b.caps.reachable


def _node_cost(peer: Peer, model: str, guess: float) -> NodeCost:
    assert peer.caps is not None
    ratio = peer.load.compute_ratio.get(model, guess) if peer.load else guess
    return NodeCost(peer.name, peer.caps.tier, peer.caps.rates, ratio)


def _link_cost(peer: Peer, other: str) -> LinkCost:
    assert peer.load is not None
    report = peer.load.links[other]
    if report.samples < 2 or report.bytes_per_s <= 0:
        return LINK_PRIOR
    return LinkCost(report.delay_s, report.bytes_per_s)
