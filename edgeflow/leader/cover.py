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

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed

from msgspec.structs import replace

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, nodes_of
from edgeflow.messages import Spec
from edgeflow.model.graph import Graph
from edgeflow.planning import Proposal
from edgeflow.policy.survey import ask

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
    known: Sequence[Layout] = (),
) -> Cover:
    """What to prepare beside `layout`; `free_bytes` by node, where known. `known` was prepared so
    far: it is kept where it is good enough."""
    losses = sorted(nodes_of(layout) - {spec.source})
    if spec.placement:
        return Cover((), frozenset(), dict.fromkeys(losses, "the plan was fixed by hand"))
    lenient = changed(cluster.sharing, is_said=False)  # too slow is better than not at all
    cluster = changed(cluster, sharing=lenient)
    free, gaps = dict(free_bytes), {}
    costs = CostModel(graph, cluster)
    chosen: list[tuple[Layout, float]] = []
    for lost in losses:
        avoided = [*shunned, lost]
        try:
            best = best_untiled(spec, graph, cluster, avoided, free)
        except EdgeflowError as error:
            gaps[lost] = str(error)[:500]
            continue
        enough_s = REUSE * best.predicted_s
        if any(s <= enough_s and lost not in nodes_of(each) for each, s in chosen):
            continue
        if len(chosen) >= VARIANTS_MAX:
            gaps[lost] = f"{VARIANTS_MAX} other variants are prepared already"
            continue
        here = [each for each in known if nodes_of(each) <= cluster.nodes.keys() - set(avoided)]
        kept = ((each, costs.evaluate(each).total_s) for each in here)
        within = (each for each in kept if each[1] <= enough_s)
        chosen.append(next(within, (best.placement, best.predicted_s)))
        free = left_over(graph, chosen[-1][0], free)
    return Cover(tuple(each for each, _ in chosen), frozenset(losses) - gaps.keys(), gaps)


def best_untiled(
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    avoided: Collection[str],
    free_bytes: Mapping[str, int],
) -> Proposal:
    """The best plan without tiles and without these nodes, that fits into what memory is left; by
    the default policy where the wished one has none. EdgeflowError says what is in the way."""
    spec = replace(spec, tiles=False, latency_s_max=0.0)
    weights_bytes = WEIGHTS_FACTOR * sum(weight.nbytes for weight in graph.weights.values())
    memory = {
        node: max(1, size // WEIGHTS_FACTOR)
        for node, size in free_bytes.items()
        if size < weights_bytes and node != spec.source
    }
    try:
        return ask(spec, graph, cluster, avoided, memory)
    except EdgeflowError:
        if spec.policy == "mincut":
            raise
        return ask(replace(spec, policy="mincut"), graph, cluster, avoided, memory)


def needs(graph: Graph, layout: Layout) -> Iterator[tuple[str, int]]:
    """Bytes that each node needs for its part."""
    for node in sorted(nodes_of(layout)):
        names = graph.weights_of(
            layer for layer, where in layout.items() if node in nodes_of({layer: where})
        )
        yield node, WEIGHTS_FACTOR * sum(graph.weights[name].nbytes for name in names)


def left_over(graph: Graph, layout: Layout, free_bytes: Mapping[str, int]) -> dict[str, int]:
    """What memory is left beside a layout."""
    needed = dict(needs(graph, layout))
    return {node: max(0, size - needed.get(node, 0)) for node, size in free_bytes.items()}
