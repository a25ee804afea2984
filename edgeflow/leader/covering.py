"""When a plan is prepared again, the same, with variants beside it.

    committed ──COVER_S, another fleet, or a new link─▶ the plan under a new id, with fallbacks
              ──RECOVER_S, and conditions moved far───▶ and likely next plans, as they are now

The variants are in this order: the running plan, what stands in for lost nodes
(`edgeflow.leader.cover`), what may be best soon (`edgeflow.leader.standby`), which may stand in as
well. A better plan keeps them all beside it until its own are chosen: they are built.

Invariant: variant 0 stays what it is; who only gets more variants makes no frame wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from edgeflow.cluster.membership import Membership
from edgeflow.costmodel.cost import Cluster
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, format_placement, nodes_named, parse_placement
from edgeflow.leader.capacity import Capacity
from edgeflow.leader.change import has_come, has_moved
from edgeflow.leader.cover import VARIANTS_MAX, Cover, cover, left_over, needs
from edgeflow.leader.standby import in_words, standbys
from edgeflow.leader.watch import Watch
from edgeflow.messages import Plan, Spec
from edgeflow.model.graph import Graph

COVER_S = 1.0
"""A plan runs so long before fallbacks are prepared: its first frames have the machines alone."""
RECOVER_S = 10.0
"""Variants are chosen anew at most so often because conditions moved: each takes a build."""
COVERED = "; prepared for the loss of "


@dataclass(slots=True)
class Covering:
    """Makes plans that are better covered."""

    membership: Membership
    capacity: Capacity

    def covered(
        self, watch: Watch, spec: Spec, graph: Graph, plan: Plan | None, now_s: float
    ) -> Plan | None:
        """The committed plan with what stands in for each of its nodes and what is likely next, id
        and hash still to be given; None where it has that already, or it is too early."""
        if plan is None or not spec.fallbacks or now_s - watch.committed_s < COVER_S:
            return None
        cluster = self.capacity.cluster(spec, now_s)
        shunned = watch.shunned_at(now_s)
        fleet = frozenset(
            (name, self.membership.peers[name].session)
            for name, node in cluster.nodes.items()
            if node.rates is not None and name not in shunned
        )
        is_new = watch.covered != (plan.id, fleet) or has_come(watch.scene, cluster)
        if not is_new and not self._is_stale(watch, cluster, now_s):
            return None
        found, likely = self._beside(watch, spec, graph, cluster, plan, shunned)
        lines = [format_placement(graph, each) for each in found.layouts]
        variants = (plan.variants[0], *dict.fromkeys([*lines, *likely]))
        nodes = sorted({spec.source}.union(*map(nodes_named, variants)))
        sessions = {node: self.membership.peers[node].session for node in nodes}
        watch.covered, watch.gaps = (plan.id, fleet), found.gaps
        watch.covered_s, watch.scene, watch.likely = now_s, cluster, likely
        if set(variants) <= set(plan.variants) and self._is_whole(plan, cluster):
            return None
        covers = ", ".join(sorted(found.covers)) or "no node"
        reason = f"{plan.reason.partition(COVERED)[0]}{COVERED}{covers}"[:2000]
        return replace(plan, variants=variants, sessions=sessions, reason=reason)

    def with_variants_of(self, old: Plan | None, new: Plan, now_s: float) -> Plan:
        """A better plan beside what was prepared for the running one, and that one itself, as far
        as their nodes are here: all of it is built, and nobody is without a fallback meanwhile."""
        sessions = old.sessions if old is not None else {}
        here = {
            name
            for name, session in sessions.items()
            if self.membership.is_usable(name, session, now_s)
        }
        lines = old.variants if old is not None else ()
        kept = [line for line in lines if line not in new.variants and nodes_named(line) <= here]
        variants = (*new.variants, *kept[:VARIANTS_MAX])
        nodes = set().union(*map(nodes_named, kept[:VARIANTS_MAX]))
        more = {name: sessions[name] for name in nodes}
        return replace(
            new, variants=variants, sessions=dict(sorted({**more, **new.sessions}.items()))
        )

    def _is_whole(self, plan: Plan, cluster: Cluster) -> bool:
        """Whether every node of it is here in its session, so that what is prepared may stay."""
        peers = self.membership.peers
        return all(
            node in cluster.nodes and peers[node].session == session
            for node, session in plan.sessions.items()
        )

    def _is_stale(self, watch: Watch, cluster: Cluster, now_s: float) -> bool:
        """Whether other plans are the likely ones by now."""
        if watch.scene is None or now_s - watch.covered_s < RECOVER_S:
            return False
        return has_moved(watch.scene, cluster)

    def _beside(
        self,
        watch: Watch,
        spec: Spec,
        graph: Graph,
        cluster: Cluster,
        plan: Plan,
        shunned: tuple[str, ...],
    ) -> tuple[Cover, dict[str, str]]:
        """What covers the plan, and by placement line for which change it may be the next."""
        known = _layouts(graph, plan.variants[1:])
        free = _with_freed(graph, known, self.capacity.free_bytes(spec.name))
        layout = parse_placement(graph, plan.variants[0])
        found = cover(spec, graph, cluster, layout, shunned, free, known)
        for each in found.layouts:
            free = left_over(graph, each, free)
        prepared = [layout, *found.layouts]
        before = _layouts(graph, tuple(reversed(watch.switches.lines)))
        likely = standbys(spec, graph, cluster, prepared, known, before, shunned, free)
        return found, in_words(graph, likely)


def _layouts(graph: Graph, lines: tuple[str, ...]) -> list[Layout]:
    """What was prepared so far, as far as it fits the graph."""
    found: list[Layout] = []
    for line in lines:
        try:
            found.append(parse_placement(graph, line))
        except EdgeflowError:
            continue
    return found


def _with_freed(graph: Graph, known: list[Layout], free: dict[str, int]) -> dict[str, int]:
    """Memory that is free where nothing is prepared: what is takes its own no second time."""
    for layout in known:
        for node, size_bytes in needs(graph, layout):
            if node in free:
                free[node] += size_bytes
    return free
