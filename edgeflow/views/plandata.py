"""What the planner answers, as data for programs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from edgeflow.costmodel.cost import Cluster
from edgeflow.layout.placement import format_placement
from edgeflow.model.graph import Graph
from edgeflow.views import plantiles
from edgeflow.whatif.findings import Answer, Findings, Sweep, backbone_bytes
from edgeflow.whatif.scene import unit_of


def as_data(found: Findings) -> dict[str, Any]:
    """The object that `--json` prints."""
    graph, scene, goal = found.asked.graph, found.scene, found.asked.goal
    cluster = scene.cluster()
    return {
        "model": graph.name,
        "cluster": scene.name,
        "basis": scene.basis,
        "source": scene.source,
        "objective": goal.objective,
        "latency_ms_max": goal.latency_s_max * 1e3 if math.isfinite(goal.latency_s_max) else None,
        "private": goal.private,
        "figures": [
            {"what": each.what, "value": each.value, "unit": each.unit, "source": each.source}
            | {"estimate": each.is_estimate}
            for each in scene.cited
        ],
        "plans": [_plan_data(graph, each, cluster) for each in found.answers if each.proposal],
        "refused": {each.algorithm: each.refusal for each in found.answers if not each.proposal},
        "neighbours": [
            {
                "what": each.what,
                "latency_ms": each.latency_s * 1e3,
                "value": each.worth,
                "placement": format_placement(graph, each.placement),
            }
            for each in found.beside
        ],
        "sweep": _sweep_data(found.sweep) if found.sweep else None,
    }


def _plan_data(graph: Graph, answer: Answer, cluster: Cluster) -> dict[str, Any]:
    found = answer.proposal
    assert found is not None
    terms = found.terms
    return {
        "algorithm": answer.algorithm,
        "latency_ms": found.predicted_s * 1e3,
        "compute_ms": {node: seconds * 1e3 for node, seconds in terms.compute_s.items()},
        "transfer_ms": {f"{a}>{b}": each * 1e3 for (a, b), each in terms.transfer_s.items()},
        "transfer_bytes": {f"{a}>{b}": count for (a, b), count in terms.bytes.items()},
        "way_back_ms": terms.way_back_s * 1e3,
        "moved_kb": sum(terms.bytes.values()) / 1e3,
        "backbone_kb": backbone_bytes(cluster, terms.bytes) / 1e3,
        "bound_ms": found.lower_bound_s * 1e3,
        "value": found.value,
        "value_bound": found.value_bound,
        "value_unit": found.unit,
        "gap": found.gap if math.isfinite(found.gap) else None,
        "optimal": found.optimal,
        "planning_ms": answer.planning_s * 1e3,
        "placement": format_placement(graph, found.placement),
        "reason": found.reason,
        **plantiles.data(graph, cluster, answer),
    }


def _sweep_data(found: Sweep) -> dict[str, Any]:
    return {
        "name": found.name,
        "unit": unit_of(found.name),
        "points": [
            {
                "value": point.value,
                "placement": point.line,
                "latency_ms": {
                    each.algorithm: each.latency_s * 1e3 for each in point.answers if each.proposal
                },
            }
            for point in found.points
        ],
        "changes": [
            {"value": behind.low, "before": before.line, "behind": behind.line}
            for before, behind in pairwise(found.stretches)
        ],
    }
