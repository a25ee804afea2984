"""Plans that fit into what others leave of nodes and links, or the reason why none does.

    best plan ── fits ──────────────▶ that one
        └─ some place is overfull ──▶ dearer there, and again ─▶ the first that fits
                                      the most frames a second ─▶ that one, if it fits
                                      none fits: UnfitError says where, what is needed, who has it

A place is a node, or a directed link. It is overfull where rate times busy seconds a frame is more
than what `edgeflow.costmodel.sharing` says is left. Who never said a rate is held to the one it
has, on what others use as well, and only in the choice among plans: it is never refused.

Invariant: what is returned fits, or is of a deployment that did not say what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, Terms
from edgeflow.costmodel.sharing import UTILISATION_MAX, Place
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout
from edgeflow.model.graph import Graph
from edgeflow.planning.attain import worth_of
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import Goal, Scale, restricted
from edgeflow.planning.proposal import PlanningError, Proposal
from edgeflow.planning.reason import explain

ROUNDS = 4
"""Times that overfull places are made dearer. More find a quicker plan that fits, a few plans' time
later; without any the plan for throughput answers."""
DEARER_MIN = 1.25
"""By at least so much each time."""

Planner = Callable[[Cluster, Goal, frozenset[str], bool], Proposal]
"""The planner that is asked: a cluster, a goal, the nodes that may compute, whether tiles may be
looked for, which takes ten times as long: only in the first plan and the first that is dearer."""


class UnfitError(PlanningError):
    """No plan keeps up with the rate that was asked for beside what runs already."""


@dataclass(frozen=True, slots=True)
class Overfull:
    """A place that a plan does not fit into, as shares of its time."""

    place: Place
    needs: float
    left: float

    @property
    def excess(self) -> float:
        """How many times too much; infinite where nothing is left."""
        return self.needs / self.left if self.left > 0 else math.inf


def busy_s(cluster: Cluster, terms: Terms) -> dict[Place, float]:
    """Seconds that each place is busy with one frame, as if nobody else were there."""
    sharing = cluster.sharing
    found = {
        (node, node): seconds / sharing.slowdown((node, node))
        for node, seconds in terms.compute_s.items()
    }
    for link, nbytes in terms.bytes.items():
        priced = cluster.links.get(link)
        if link[0] != link[1] and priced is not None and priced.bytes_per_s > 0:
            found[link] = nbytes / priced.bytes_per_s / sharing.slowdown(link)
    return found


def overfull(cluster: Cluster, terms: Terms) -> list[Overfull]:
    """Where a plan does not fit, the worst first; nowhere, as long as no rate is known."""
    sharing, found = cluster.sharing, []
    for place, seconds in busy_s(cluster, terms).items() if sharing.rate_fps > 0 else ():
        needs, left = sharing.rate_fps * seconds, sharing.left(place)
        if needs > left and (sharing.is_said or sharing.taken(place) > 0):
            found.append(Overfull(place, needs, left))
    return sorted(found, key=lambda each: (-each.excess, -each.needs, each.place))


def is_overrun(cluster: Cluster, terms: Terms) -> bool:
    """Whether a running plan cannot keep up: with what was promised to others a place would have to
    work for more than all of its time. Between that and what is planned for lies what estimates
    sway by."""
    sharing = cluster.sharing
    full = overfull(cluster, terms) if sharing.is_said else []
    return any(each.needs + sharing.promised(each.place) > 1 for each in full)


@dataclass(frozen=True)
class Fitting:
    """One question, and who answers it."""

    graph: Graph
    cluster: Cluster
    goal: Goal
    allowed: frozenset[str]
    plan: Planner

    def best(self) -> Proposal:
        """The best plan that fits; UnfitError where none does and one has to, PlanningError where
        there is no plan at all."""
        first = self.plan(self.cluster, self.goal, self.allowed, True)
        full = overfull(self.cluster, first.terms)
        if not full:
            return first
        tried: list[tuple[Layout, Terms]] = [(first.placement, first.terms)]
        for layout in chain(self._dearer(full), self._widest()):
            if self._keep(tried, layout):
                return self._proposed(first, full[0], layout)
        if self.cluster.sharing.is_said:
            raise UnfitError(self._why(tried))
        return first

    def check(self, proposal: Proposal) -> Proposal:
        """The same one; UnfitError where it does not fit."""
        if self.cluster.sharing.is_said and overfull(self.cluster, proposal.terms):
            raise UnfitError(self._why([(proposal.placement, proposal.terms)]))
        return proposal

    def _dearer(self, full: list[Overfull]) -> Iterator[Layout]:
        """Plans where overfull places cost more and more."""
        factors: dict[Place, float] = {}
        for round_ in range(ROUNDS):
            for each in full:
                factor = max(DEARER_MIN, min(each.excess, 4.0))
                factors[each.place] = factors.get(each.place, 1.0) * factor
            there = scaled(self.cluster, factors)
            layout = self._asked(there, self.goal, self.allowed, tiles=not round_)
            if layout is None:
                return
            yield layout
            full = overfull(self.cluster, self.costs.evaluate(layout))
            if not full:
                return

    def _widest(self) -> Iterator[Layout]:
        """The plan that carries most beside the others."""
        sharing = self.cluster.sharing
        alone = [(name, name) for name in self.cluster.nodes]
        room = {
            place: sharing.left(place) / UTILISATION_MAX for place in [*alone, *self.cluster.links]
        }
        factors = {
            place: 1 / max(share, 1e-3) / sharing.slowdown(place) for place, share in room.items()
        }
        goal = replace(self.goal, objective="throughput")
        layout = self._asked(scaled(self.cluster, factors), goal, self.allowed)
        if layout is not None:
            yield layout

    def _asked(
        self, cluster: Cluster, goal: Goal, allowed: frozenset[str], *, tiles: bool = False
    ) -> Layout | None:
        try:
            return self.plan(cluster, goal, allowed, tiles).placement
        except EdgeflowError:
            return None

    @property
    def costs(self) -> CostModel:
        """With what the goal forbids."""
        kept = self.__dict__.get("_costs")
        if not isinstance(kept, CostModel):
            kept = restricted(CostModel(self.graph, self.cluster), self.goal)
            self.__dict__["_costs"] = kept
        return kept

    def _keep(self, tried: list[tuple[Layout, Terms]], layout: Layout) -> bool:
        """Take a plan down; whether it fits, and keeps what it has to."""
        terms = self.costs.evaluate(layout)
        if not math.isfinite(terms.total_s):
            return False
        tried.append((layout, terms))
        return not overfull(self.cluster, terms) and math.isfinite(self._worth(layout)[0])

    def _worth(self, layout: Layout) -> tuple[float, float]:
        scale = Scale.of(self.goal, self.costs)
        return worth_of(scale, self.costs.evaluate(layout), self.goal.latency_s_max)

    def _proposed(self, first: Proposal, full: Overfull, layout: Layout) -> Proposal:
        """A plan that fits, in the place of the first one, which does not."""
        terms = self.costs.evaluate(layout)
        problem = Problem(self.costs, {}, self.allowed)
        why = explain(problem, layout, terms, "what is left")
        instead = f"the quickest plan, {first.predicted_s * 1e3:.0f} ms, has no room: "
        return replace(
            first,
            placement=layout,
            terms=terms,
            predicted_s=terms.total_s,
            optimal=False,
            value=self._worth(layout)[0],
            reason=f"{why}; {instead}{self._needed(full)}",
        )

    def _needed(self, full: Overfull) -> str:
        """What a place would have to do, and what of it is left, in words."""
        one, other = full.place
        what = f"{one} would compute" if one == other else f"the link {one} to {other} would send"
        users = " and ".join(self.cluster.sharing.users(full.place))
        beside = f"is left beside {users}" if users else "may be filled"
        return f"{what} for {full.needs:.2f} s of each second, where {full.left:.2f} s {beside}"

    def _why(self, tried: list[tuple[Layout, Terms]]) -> str:
        """Where the first plan fails, how much the best of all can carry, and the cure."""
        sharing = self.cluster.sharing
        full = [found for _, terms in tried if (found := overfull(self.cluster, terms))]
        most = sharing.rate_fps / min(worst[0].excess for worst in full)
        places = dict.fromkeys(each.place for found in full for each in found)
        users = dict.fromkeys(name for place in places for name in sharing.users(place))
        free = f" remove {' or '.join(users)}," if users else ""
        return (
            f"no plan of {self.graph.name} keeps up with {sharing.rate_fps:.3g} frames/s: "
            f"{self._needed(full[0][0])}; at most {most:.2g} frames/s fit anywhere. "
            f"Ask for fewer (--rate-fps),{free} or add a node"
        )


def scaled(cluster: Cluster, factors: dict[Place, float]) -> Cluster:
    """The same cluster with places that take so many times as long."""
    nodes = {
        name: replace(node, ratio=node.ratio * factors.get((name, name), 1.0))
        for name, node in cluster.nodes.items()
    }
    links = {link: _slower(cost, factors.get(link, 1.0)) for link, cost in cluster.links.items()}
    return replace(cluster, nodes=nodes, links=links)


def _slower(link: LinkCost, factor: float) -> LinkCost:
    return replace(link, bytes_per_s=link.bytes_per_s / factor)
