"""When fallbacks are prepared: the same plan again, with variants beside it.

    committed ──COVER_S, or the fleet changed──▶ the plan under a new id, with what stands in

Invariant: variant 0 stays what it is; who only gets more variants makes no frame wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from edgeflow.cover import cover
from edgeflow.graph import Graph
from edgeflow.membership import Membership
from edgeflow.messages import Plan, Spec
from edgeflow.placement import format_placement, nodes_named, parse_placement
from edgeflow.survey import free_bytes, survey
from edgeflow.watch import Watch

COVER_S = 1.0
"""A plan runs so long before fallbacks are prepared: its first frames have the machines alone."""
COVERED = "; prepared for the loss of "


@dataclass(slots=True)
class Covering:
    """Makes plans that are better covered."""

    membership: Membership

    def covered(
        self, watch: Watch, spec: Spec, graph: Graph, plan: Plan | None, now_s: float
    ) -> Plan | None:
        """The committed plan with what stands in for each of its nodes, id and hash still to be
        given; None where it has that already, or it is too early."""
        if plan is None or not spec.fallbacks or now_s - watch.committed_s < COVER_S:
            return None
        cluster = survey(self.membership, spec.source, spec.model, now_s)
        shunned = watch.shunned_at(now_s)
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
        covers = ", ".join(sorted(found.covers)) or "no node"
        reason = f"{plan.reason.partition(COVERED)[0]}{COVERED}{covers}"[:2000]
        return replace(plan, variants=variants, sessions=sessions, reason=reason)
