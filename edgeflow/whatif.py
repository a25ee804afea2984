"""What the planner would do: algorithms side by side, cuts beside the chosen one, one number swept.

    scene ─▶ compare ─▶ an answer an algorithm        the very `propose` that runs in the field
          ─▶ neighbours ─▶ what other cuts would cost
          ─▶ sweep ─▶ points, and the values at which the best plan changes

Invariant: pure; time comes in by a clock that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgeflow.cost import Cluster, CostModel, Seconds
from edgeflow.errors import EdgeflowError
from edgeflow.graph import Graph
from edgeflow.messages import CLOUD
from edgeflow.placement import Placement, format_placement, split
from edgeflow.planning import PlanningError, Proposal, propose
from edgeflow.scene import Scene

BEST = "mincut"
"""The algorithm whose cuts are explained and marked."""
POINTS = 41
"""Of a sweep: 20 a decade over two decades. More cost time, and changes are sought between them."""
CUTS_TRIED = 100
"""Places to cut that are tried between two nodes, evenly chosen."""
SHARPNESS = 0.002
"""A change of plan is known to this share of the value."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one algorithm says."""

    algorithm: str
    proposal: Proposal | None
    refusal: str
    """Why there is no proposal; else empty."""
    planning_s: float

    @property
    def latency_s(self) -> float:
        """Predicted; infinite where it refuses."""
        return self.proposal.predicted_s if self.proposal else math.inf


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another placement, and what it would cost."""

    what: str
    placement: Placement
    latency_s: float
    """Infinite where it cannot be run."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a sweep."""

    value: float
    answers: tuple[Answer, ...]
    line: str
    """The best plan here; empty where there is none."""

    def latency_s(self, algorithm: str) -> float:
        """Of one algorithm; infinite where it refuses."""
        return next(each.latency_s for each in self.answers if each.algorithm == algorithm)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Values over which the best plan stays the same."""

    low: float
    high: float
    line: str
    low_s: float
    """Latency at the low end."""
    high_s: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """One number of a scene, from low to high."""

    name: str
    points: tuple[Point, ...]
    stretches: tuple[Stretch, ...]
    """In order; the plan changes where one ends and the next begins."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that is told about one question."""

    graph: Graph
    scene: Scene
    answers: tuple[Answer, ...]
    beside: tuple[Neighbour, ...]
    """What other cuts than the best answer's would cost."""
    sweep: Sweep | None

    @property
    def best(self) -> Answer:
        """The answer whose cut is explained: the planner's own, or the first that there is."""
        told = [each for each in self.answers if each.proposal]
        return next((each for each in told if each.algorithm == BEST), told[0])


def find(
    graph: Graph,
    scene: Scene,
    algorithms: Sequence[str],
    swept: tuple[str, tuple[float, float]] | None,
    clock: Clock,
) -> Findings:
    """All of it; PlanningError where no algorithm has an answer. `swept` is a name and its ends."""
    answers = compare(graph, scene, algorithms, clock)
    found = Findings(graph, scene, answers, (), None)
    assert found.best.proposal is not None
    beside = neighbours(graph, scene.cluster(), found.best.proposal.placement)
    swung = sweep(graph, scene, algorithms, *swept, clock) if swept else None
    return replace(found, beside=beside, sweep=swung)


def compare(
    graph: Graph, scene: Scene, algorithms: Sequence[str], clock: Clock
) -> tuple[Answer, ...]:
    """Every algorithm's answer; PlanningError with the first refusal where all refuse."""
    cluster = scene.cluster()
    answers = tuple(_answer(graph, cluster, name, clock, {}) for name in algorithms)
    if all(each.proposal is None for each in answers):
        raise PlanningError(answers[0].refusal)
    return answers


def _answer(
    graph: Graph, cluster: Cluster, algorithm: str, clock: Clock, known_s: dict[str, Seconds]
) -> Answer:
    start_s = clock()
    try:
        found = propose(graph, CostModel(graph, cluster, known_s), algorithm)
    except EdgeflowError as error:
        return Answer(algorithm, None, str(error), clock() - start_s)
    return Answer(algorithm, found, "", clock() - start_s)


def backbone_bytes(cluster: Cluster, sent: Mapping[tuple[str, str], int]) -> int:
    """Bytes of a frame that go to or come from the cloud tier."""
    cloud = {name for name, node in cluster.nodes.items() if node.tier == CLOUD}
    return sum(count for (a, b), count in sent.items() if (a in cloud) != (b in cloud))


# --- why this cut --------------------------------------------------------------------------------


def neighbours(graph: Graph, cluster: Cluster, placement: Placement) -> tuple[Neighbour, ...]:
    """One layer earlier and later at each boundary, or the best cuts beside an undivided plan; then
    all layers on each node that computes."""
    costs = CostModel(graph, cluster)
    nodes = list(split(graph, placement, cluster.source).segments)
    found = [
        *_moved(costs, placement, nodes),
        *(_best_cut(costs, *pair) for pair in _pairs(cluster, nodes)),
    ]
    found += _undivided(costs, placement)
    return tuple(each for each in found if math.isfinite(each.latency_s))


def _undivided(costs: CostModel, placement: Placement) -> list[Neighbour]:
    """All layers on each node that computes, the same price in one line."""
    names: dict[float, list[str]] = {}
    for name, node in costs.cluster.nodes.items():
        if node.rates is not None and any(name != other for other in placement.values()):
            price_s = _price_s(costs, dict.fromkeys(placement, name))
            names.setdefault(price_s, []).append(name)
    return [
        Neighbour(
            f"undivided, all on {' or '.join(same)}", dict.fromkeys(placement, same[0]), price_s
        )
        for price_s, same in names.items()
    ]


def _moved(costs: CostModel, placement: Placement, nodes: Sequence[str]) -> Iterator[Neighbour]:
    """One layer over each boundary of the plan, both ways."""
    layers = split(costs.graph, placement, costs.cluster.source).segments
    for before, behind in pairwise(nodes):
        last, first = layers[before].layers[-1], layers[behind].layers[0]
        for what, moved in (
            (f"one layer earlier: {last} @{behind}", {**placement, last: behind}),
            (f"one layer later: {first} @{before}", {**placement, first: before}),
        ):
            yield Neighbour(what, moved, _price_s(costs, moved))


def _pairs(cluster: Cluster, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """An undivided plan's node with each one of a lower or a higher tier."""
    if len(nodes) > 1:
        return []
    own = cluster.nodes[nodes[0]]
    others = [node for node in cluster.nodes.values() if node.rates and node.tier != own.tier]
    lower = [(node.name, own.name) for node in others if node.tier < own.tier]
    return lower + [(own.name, node.name) for node in others if node.tier > own.tier]


def _best_cut(costs: CostModel, before: str, behind: str) -> Neighbour:
    """The cheapest place to cut between two nodes, where a single tensor crosses."""
    layers = costs.graph.layers
    places = [at for at in costs.graph.cuts if at > 0] or [1]
    found = []
    for at in places[:: len(places) // CUTS_TRIED + 1]:
        placement = {layer.name: before if n < at else behind for n, layer in enumerate(layers)}
        what = f"best cut of two: ..{layers[at - 1].name} @{before} | {layers[at].name}.. @{behind}"
        found.append(Neighbour(what, placement, _price_s(costs, placement)))
    return min(found, key=lambda each: each.latency_s)


def _price_s(costs: CostModel, placement: Placement) -> float:
    try:
        return costs.evaluate(placement).total_s
    except EdgeflowError:
        return math.inf


# --- a sweep -------------------------------------------------------------------------------------


def sweep(
    graph: Graph,
    scene: Scene,
    algorithms: Sequence[str],
    name: str,
    ends: tuple[float, float],
    clock: Clock,
) -> Sweep:
    """Every algorithm at values from low to high, each as many times the one before it."""
    asked = list(dict.fromkeys((BEST, *algorithms)))
    known_s: dict[str, Seconds] = {}

    def ask(value: float, names: Sequence[str]) -> Point:
        there = scene.changed(name, value)
        cluster = there.cluster()
        seconds = known_s if there.nodes == scene.nodes else {}
        answers = tuple(_answer(graph, cluster, each, clock, seconds) for each in names)
        best = answers[0].proposal
        return Point(value, answers, format_placement(graph, best.placement) if best else "")

    low, high = ends
    step = (high / low) ** (1 / (POINTS - 1))
    values = [low, *(low * step**at for at in range(1, POINTS - 1)), high]
    points = [ask(value, asked) for value in values]
    if not any(answer.proposal for point in points for answer in point.answers):
        raise PlanningError(points[0].answers[0].refusal)
    return Sweep(name, tuple(points), _stretches(points, lambda value: ask(value, [BEST])))


def _stretches(points: Sequence[Point], ask: Callable[[float], Point]) -> tuple[Stretch, ...]:
    """The stretches between the values at which the best plan changes."""
    sides: list[tuple[Point, Point]] = []
    for before, behind in pairwise(points):
        sides += _changes(before, behind, ask)
    starts = [points[0], *(behind for _, behind in sides)]
    stops = [*(before for before, _ in sides), points[-1]]
    bounds = [math.sqrt(before.value * behind.value) for before, behind in sides]
    lows, highs = [points[0].value, *bounds], [*bounds, points[-1].value]
    return tuple(
        Stretch(low, high, start.line, start.latency_s(BEST), stop.latency_s(BEST))
        for low, high, start, stop in zip(lows, highs, starts, stops, strict=True)
    )


def _changes(
    before: Point, behind: Point, ask: Callable[[float], Point]
) -> list[tuple[Point, Point]]:
    """Pairs of points close together, with different plans, in order."""
    if before.line == behind.line:
        return []
    if behind.value / before.value < 1 + SHARPNESS:
        return [(before, behind)]
    middle = ask(math.sqrt(before.value * behind.value))
    return [*_changes(before, middle, ask), *_changes(middle, behind, ask)]
