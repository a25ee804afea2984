"""What each deployment takes of nodes and links, as their leader keeps account of it.

    heartbeats: busy shares ──┬─▶ Use of each deployment ─▶ Sharing of one ─▶ survey ─▶ its Cluster
    boards: plans, rates ─────┘       (busy, kept)            (the others)

A plan that was made lately is not in the heartbeats yet, so its shares are booked by what it
should take: rate times seconds. Thus when two deployments crowd one node and the first one leaves,
the second one sees it gone at once and stays, instead of leaving as well.

A rate that was said is kept free for whoever said it. Who said none keeps what it takes at the
moment; its rate follows from the shares that its plan has.

    a plan is needed, none fits ─▶ as if younger ones were not here ─▶ none: refused, it waits
                                        └─ one fits ─▶ they make room: another plan, or they wait

Age is the order in which deployments first ran, and is told on their boards. A new one is younger
than all that run, so it never takes anything from them; one whose node died may be older.

Invariant: all of it can be lost; a new leader has heartbeats and boards, and learns the rates anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from edgeflow.cluster.membership import HEARTBEAT_S, Membership
from edgeflow.costmodel.cost import Cluster, CostModel, Terms
from edgeflow.costmodel.sharing import Place, Sharing, Use
from edgeflow.errors import EdgeflowError
from edgeflow.estimation.busyness import MEAN_S
from edgeflow.layout.placement import nodes_of, parse_placement
from edgeflow.leader import memory
from edgeflow.messages import Plan, PlanId, Spec
from edgeflow.model.graph import Graph
from edgeflow.planning.fit import UnfitError, busy_s
from edgeflow.plans.deployments import View
from edgeflow.policy.survey import free_bytes, survey

BOOKED_S = 2 * MEAN_S + HEARTBEAT_S
"""A plan is booked by what it should take for so long after it was committed: then 86 % of it show
in the heartbeats. Shorter takes what still fades for what is."""
PRICED_S = 10.0
"""What a plan takes a frame is looked at again this often: it follows load and heat of nodes."""
TINY = 1e-6
REASK_S, REASK_SHARE = 15.0, 0.03
"""What was refused is planned again after so long, or once the share that is left of some place has
changed by so much, or the fleet has. Lower notices a faster node sooner and costs the leader's CPU:
a refusal tries some ten plans."""


@dataclass(slots=True)
class Account:
    """Of one deployment."""

    view: View
    graph: Graph | None
    """None: it is still on its way here."""
    line: str = ""
    """Of its newest plan; empty: it has none."""
    moved_s: float = float("-inf")
    """When that plan was last on its way."""
    frame_s: Mapping[Place, float] = field(default_factory=dict)
    """What one frame takes of each place under it."""
    priced_s: float = float("-inf")
    rate_fps: float = 0.0
    """As its shares tell, for who said none."""


class Refusal(NamedTuple):
    """Of one deployment's wish, and what it was given for."""

    error: UnfitError
    generation: int
    left: Mapping[Place, float]
    at_s: float


@dataclass(slots=True)
class Capacity:
    """Of all deployments that this node leads."""

    membership: Membership
    accounts: dict[str, Account] = field(default_factory=dict)
    displaced: dict[str, str] = field(default_factory=dict)
    """Deployments that have to make room, and for whom."""
    refusals: dict[str, Refusal] = field(default_factory=dict)

    def see(self, view: View, graph: Graph | None, now_s: float) -> None:
        """A deployment as it is now, wanted or not."""
        spec = view.spec
        if spec is None or spec.removed:
            for notes in (self.accounts, self.displaced, self.refusals):
                notes.pop(view.name, None)
            return
        account = self.accounts.setdefault(view.name, Account(view, graph))
        account.view, account.graph = view, graph
        self._follow(account, now_s)

    def _follow(self, account: Account, now_s: float) -> None:
        """Its newest plan, what a frame takes under it, and the rate that its shares tell."""
        plan = memory.newest(account.view)
        line = plan.variants[0] if plan is not None else ""
        if memory.is_on_its_way(account.view) or (account.line and line != account.line):
            account.moved_s = now_s
        is_known = bool(account.frame_s) or account.graph is None
        if line != account.line or not is_known or now_s - account.priced_s >= PRICED_S:
            account.line, account.priced_s = line, now_s
            account.frame_s = self._frame_s(account, plan, now_s)
        if now_s - account.moved_s > BOOKED_S:
            account.rate_fps = self._rate_fps(account)

    def cluster(self, spec: Spec, now_s: float, *, above: bool = False) -> Cluster:
        """The nodes and links for one deployment, at the prices that the others leave; `above`: as
        if those were not here that have to make room for it."""
        sharing = self.sharing(spec, now_s)
        if above:
            gone = set(self.younger(spec.name))
            others = tuple(each for each in sharing.others if each.deployment not in gone)
            sharing = replace(sharing, others=others)
        found = survey(self.membership, spec.source, spec.model, now_s, sharing)
        return memory.limited(found, spec.name, self.seen, self.free_bytes(spec.name))

    def free_bytes(self, name: str) -> dict[str, int]:
        """Memory of each node that is free for a deployment: what the node says, less what others
        are about to take; nodes that do not say are left out."""
        return memory.free_for(name, self.seen, free_bytes(self.membership))

    @property
    def seen(self) -> dict[str, tuple[View, Graph]]:
        """Every deployment that is wanted, and its model, where that is here."""
        accounts = self.accounts.items()
        return {name: (each.view, each.graph) for name, each in accounts if each.graph}

    def sharing(self, spec: Spec, now_s: float) -> Sharing:
        """What one deployment needs, and what the others take."""
        own = self.accounts.get(spec.name)
        rate_fps = spec.rate_fps or (own.rate_fps if own is not None else 0.0)
        for account in self.accounts.values():
            self._follow(account, now_s)  # another one may have got its plan a moment ago
        others = (self.use(name, now_s) for name in sorted(self.accounts) if name != spec.name)
        return Sharing(rate_fps, spec.rate_fps > 0, tuple(each for each in others if each.kept))

    def younger(self, name: str) -> list[str]:
        """Deployments that first ran after this one, the youngest first; none for one that never
        ran."""
        ages = {each: _admitted(account.view) for each, account in self.accounts.items()}
        mine = ages.get(name)
        found = [
            (age, each)
            for each, age in ages.items()
            if mine is not None and age is not None and age > mine
        ]
        return [each for _, each in sorted(found, reverse=True)]

    def make_room(self, spec: Spec, above: Cluster, terms: Terms, now_s: float) -> None:
        """Have those go that a plan for this deployment does not fit beside, the youngest first;
        `above` is the cluster that it was made for. Who was promised nothing may stay: it gets what
        is left, and finds the place dearer."""
        needs = {place: spec.rate_fps * s for place, s in busy_s(above, terms).items()}
        young, uses = self.younger(spec.name), self.sharing(spec, now_s).others
        staying = {
            use.deployment: use for use in uses if use.is_said or use.deployment not in young
        }
        for name in (name for name in young if name in staying):
            others = Sharing(others=tuple(staying.values()))
            kept = staying[name].kept
            full = [at for at in needs if at in kept and needs[at] > others.left(at)]
            if full:
                del staying[name]
                where = " to ".join(dict.fromkeys(full[0]))
                self.displaced[name] = f"{where} is needed for {spec.name}, which runs longer"

    def refuse(self, spec: Spec, cluster: Cluster, error: UnfitError, now_s: float) -> None:
        """Remember that nothing fits as things are."""
        self.refusals[spec.name] = Refusal(error, spec.generation, _left(cluster), now_s)

    def refused(self, spec: Spec, cluster: Cluster, now_s: float) -> UnfitError | None:
        """What was said when things were as they are now."""
        known = self.refusals.get(spec.name)
        if known is None or known.generation != spec.generation:
            return None
        left = _left(cluster)
        is_same = (
            now_s - known.at_s < REASK_S
            and known.left.keys() == left.keys()
            and all(abs(left[at] - known.left[at]) < REASK_SHARE for at in left)
        )
        return known.error if is_same else None

    def use(self, name: str, now_s: float) -> Use:
        """What a deployment takes now, and what has to be left to it."""
        account = self.accounts[name]
        spec = account.view.spec
        assert spec is not None
        if not account.line:
            return Use(name, {}, {})
        measured = self._measured(name)
        said = {place: spec.rate_fps * seconds for place, seconds in account.frame_s.items()}
        booked = {place: account.rate_fps * s for place, s in account.frame_s.items()}
        if now_s - account.moved_s <= BOOKED_S:
            busy = said if spec.rate_fps else booked
        else:
            busy = {place: share for place, share in booked.items() if place[0] != place[1]}
            busy |= {(node, node): share for node, share in measured.items()}
        kept = said or busy if spec.rate_fps else busy  # nobody knows what a frame takes
        kept = {place: share for place, share in kept.items() if share > TINY}
        return Use(name, busy, kept, spec.rate_fps > 0)

    def _measured(self, name: str) -> dict[str, float]:
        """Shares of nodes, as these say."""
        return {
            peer.name: peer.load.busy[name]
            for peer in self.membership.peers.values()
            if peer.load is not None and name in peer.load.busy
        }

    def _rate_fps(self, account: Account) -> float:
        """Frames a second that the shares of its nodes come from."""
        alone_s = sum(seconds for (a, b), seconds in account.frame_s.items() if a == b)
        return sum(self._measured(account.view.name).values()) / alone_s if alone_s > 0 else 0.0

    def _frame_s(self, account: Account, plan: Plan | None, now_s: float) -> Mapping[Place, float]:
        """What a frame takes of each place; what was known where the plan cannot be priced."""
        if plan is None or account.graph is None:
            return {}
        cluster = survey(self.membership, plan.source, plan.model, now_s)
        try:
            layout = parse_placement(account.graph, plan.variants[0])
            if not nodes_of(layout) <= cluster.nodes.keys():
                return account.frame_s
            return busy_s(cluster, CostModel(account.graph, cluster).evaluate(layout))
        except EdgeflowError:
            return account.frame_s


def _admitted(view: View) -> PlanId | None:
    return view.board.admitted if view.board is not None else None


def _left(cluster: Cluster) -> dict[Place, float]:
    """Of every place that a plan may use."""
    places = [*((name, name) for name in cluster.nodes), *cluster.links]
    return {place: cluster.sharing.left(place) for place in places}
