"""What stands in when a node is lost.

    plan ── without n ─▶ the best plan that is left ─▶ a variant, prepared beside the plan
                           '─ nobody left, no memory ─▶ a gap, and why

A variant stands in for every node that it does without, so that a few cover all. It has no tiles:
one node's part of it then covers the loss of any other, and each variant is built in memory. It may
be slower than what the deployment allows, since slow is better than not at all until the leader has
made a new plan; what is private stays where it has to be.

Invariant: pure. Every node of the plan but its source is covered, or a gap says why it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from edgeflow.cost import Cluster
from edgeflow.errors import EdgeflowError
from edgeflow.graph import Graph
from edgeflow.messages import Spec
from edgeflow.placement import Layout, nodes_of
from edgeflow.planning import Proposal
from edgeflow.survey import ask

WEIGHTS_FACTOR = 2
"""A built segment takes so many times the bytes of its weights: an engine packs its own copy."""
REUSE = 1.25
"""A variant that is there already stands in for one more node, if it is at most so much slower than
the best for that. Higher saves memory and is slower after a loss."""
VARIANTS_MAX = 6
"""Of a plan; each is built on its nodes, and opens links."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Variants 1..k of a plan, and which losses nothing covers."""

    layouts: tuple[Layout, ...]
    covers: frozenset[str]
    """Nodes that some variant does without."""
    gaps: Mapping[str, str]
    """The others, and why."""


def cover(
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    layout: Layout,
    shunned: Collection[str],
    free_bytes: Mapping[str, int],
) -> Cover:
    """What to prepare beside `layout`; `free_bytes` by node, where known."""
    losses = sorted(nodes_of(layout) - {spec.source})
    if spec.placement:
        return Cover((), frozenset(), dict.fromkeys(losses, "the plan was fixed by hand"))
    free, gaps = dict(free_bytes), {}
    chosen: list[Proposal] = []
    for lost in losses:
        try:
            best = _without(lost, spec, graph, cluster, shunned, free)
        except EdgeflowError as error:
            gaps[lost] = str(error)[:500]
            continue
        at_hand = (each for each in chosen if lost not in nodes_of(each.placement))
        if any(each.predicted_s <= REUSE * best.predicted_s for each in at_hand):
            continue
        if len(chosen) >= VARIANTS_MAX:
            gaps[lost] = f"{VARIANTS_MAX} other variants are prepared already"
            continue
        chosen.append(best)
        for node, size_bytes in _needs(graph, best.placement):
            free[node] = max(0, free[node] - size_bytes) if node in free else 0
    return Cover(tuple(each.placement for each in chosen), frozenset(losses) - gaps.keys(), gaps)


def _without(
    lost: str,
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    shunned: Collection[str],
    free_bytes: Mapping[str, int],
) -> Proposal:
    """The best untiled plan without that node; by the default policy where the wished one has
    none. EdgeflowError says what is in the way."""
    spec = replace(spec, tiles=False, latency_s_max=0.0)
    weights_bytes = WEIGHTS_FACTOR * sum(weight.nbytes for weight in graph.weights.values())
    memory = {
        node: max(1, size // WEIGHTS_FACTOR)
        for node, size in free_bytes.items()
        if size < weights_bytes and node != spec.source
    }
    try:
        return ask(spec, graph, cluster, [*shunned, lost], memory)
    except EdgeflowError:
        if spec.policy == "mincut":
            raise
        return ask(replace(spec, policy="mincut"), graph, cluster, [*shunned, lost], memory)


def _needs(graph: Graph, layout: Layout) -> Iterator[tuple[str, int]]:
    """Bytes that each node of an untiled layout needs for its part."""
    for node in sorted(nodes_of(layout)):
        names = graph.weights_of(layer for layer, where in layout.items() if where == node)
        yield node, WEIGHTS_FACTOR * sum(graph.weights[name].nbytes for name in names)
