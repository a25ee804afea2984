"""Every placement there is, one after the other: the judge of the others on small graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from edgeflow.layout.placement import Placement
from edgeflow.model.graph import Graph
from edgeflow.planning.candidates import Problem
from edgeflow.planning.proposal import PlanningError

LAYERS_MAX = 16
"""Placements grow exponentially with the branches of a graph; a chain of 16 has 153 for 3 nodes."""


def place_brute(
    problem: Problem, worth: Callable[[Placement], tuple[float, float]] | None = None
) -> Placement:
    """The best of all placements, by `worth` or latency; PlanningError where the graph is too large
    to try them all."""
    graph = problem.costs.graph
    if len(graph.layers) > LAYERS_MAX:
        raise PlanningError(
            f"brute tries every placement: {graph.name} has {len(graph.layers)} layers, "
            f"it can do {LAYERS_MAX}; use mincut"
        )
    price = problem.costs.evaluate
    key = worth or (lambda found: (price(found).total_s, 0.0))
    return min(all_placements(problem), key=key)


def few_placements(problem: Problem, most: int) -> list[Placement] | None:
    """All placements, each once; None where there are more than `most`."""
    if len(problem.costs.graph.layers) > LAYERS_MAX:
        return None
    found: dict[tuple[str, ...], Placement] = {}
    for tried, placement in enumerate(all_placements(problem)):
        found[tuple(placement.values())] = placement
        if len(found) > most or tried > 4 * most:
            return None
    return list(found.values())


def all_placements(problem: Problem) -> Iterator[Placement]:
    """Each placement on one node a tier in which data only rises and pins hold, at least once."""
    for team in problem.teams():
        names = [node.name for node in team]
        for labels in _rising(problem.costs.graph, problem.pinned, names, 0, {}):
            yield {layer: names[label] for layer, label in labels.items()}


def _rising(
    graph: Graph, pinned: Mapping[str, str], names: list[str], at: int, labels: dict[str, int]
) -> Iterator[dict[str, int]]:
    """Labels of the layers from `at` on, none below a layer that feeds it."""
    if at == len(graph.layers):
        yield labels
        return
    layer = graph.layers[at]
    makers = (graph.producer[name] for name in layer.inputs if name in graph.producer)
    floor = max((labels[maker] for maker in makers), default=0)
    for label in range(floor, len(names)):
        if pinned.get(layer.name, names[label]) == names[label]:
            yield from _rising(graph, pinned, names, at + 1, {**labels, layer.name: label})
