"""What the planner would do: algorithms side by side, cuts beside the chosen one, one number swept.

    scene ─▶ compare ─▶ an answer an algorithm        the very `propose` that runs in the field
          ─▶ edgeflow.whatif.beside ─▶ what other cuts would cost
          ─▶ sweep ─▶ points, and the values at which the best plan changes

Invariant: pure; time comes in by a clock that the caller gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgeflow.costmodel.cost import Cluster, CostModel, Seconds
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, format_placement
from edgeflow.model.graph import Graph
from edgeflow.planning import Goal, PlanningError, Proposal, propose
from edgeflow.whatif.beside import Neighbour, neighbours
from edgeflow.whatif.scene import Scene

BEST = "mincut"
"""The algorithm whose cuts are explained and marked."""
BY_HAND = "by hand"
"""Among the algorithms: the placement of the question itself."""
POINTS = 41
"""Of a sweep: 20 a decade over two decades. More cost time, and changes are sought between them."""
SHARPNESS = 0.002
"""A change of plan is known to this share of the value."""

LATENCY = Goal()
_SIZES = re.compile(r"\[[^\]]*\]")
Clock = Callable[[], float]
Ends = tuple[float, float]
"""Low and high of a sweep."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every scene."""

    graph: Graph
    algorithms: tuple[str, ...]
    clock: Clock
    goal: Goal = LATENCY
    placement: Layout | None = None
    """What `BY_HAND` answers."""
    tiles: bool = True
    """May the planner tile layers over several nodes of a tier?"""


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

    @property
    def worth(self) -> float:
        """Of the objective, lower is better; infinite where it refuses."""
        return self.proposal.value if self.proposal else math.inf


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a sweep."""

    value: float
    answers: tuple[Answer, ...]
    line: str
    """The best plan here; empty where there is none."""

    @property
    def outline(self) -> str:
        """The plan without the sizes of its tiles: those follow every change of a number."""
        return _SIZES.sub("", self.line)

    def worth(self, algorithm: str) -> float:
        """Of one algorithm; infinite where it refuses."""
        return next(each.worth for each in self.answers if each.algorithm == algorithm)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Values over which the best plan stays the same, but for the sizes of its tiles."""

    low: float
    high: float
    line: str
    """At the low end."""
    low_worth: float
    """Of the objective, at the low end."""
    high_worth: float


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

    asked: Question
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


def find(asked: Question, scene: Scene, swept: tuple[str, Ends] | None) -> Findings:
    """All of it; PlanningError where no algorithm has an answer. `swept` is a name and its ends."""
    answers = compare(asked, scene)
    found = Findings(asked, scene, answers, (), None)
    assert found.best.proposal is not None
    placement = found.best.proposal.placement
    beside = neighbours(asked.graph, scene.cluster(), placement, asked.goal)
    return replace(found, beside=beside, sweep=sweep(asked, scene, *swept) if swept else None)


def compare(asked: Question, scene: Scene) -> tuple[Answer, ...]:
    """Every algorithm's answer; PlanningError with the first refusal where all refuse."""
    cluster = scene.cluster()
    answers = tuple(_answer(asked, cluster, name, {}) for name in asked.algorithms)
    if all(each.proposal is None for each in answers):
        raise PlanningError(answers[0].refusal)
    return answers


def _answer(
    asked: Question, cluster: Cluster, algorithm: str, known_s: dict[str, Seconds]
) -> Answer:
    start_s = asked.clock()
    try:
        costs = CostModel(asked.graph, cluster, known_s)
        pinned = asked.placement if algorithm == BY_HAND else None
        name = BEST if pinned else algorithm
        found = propose(asked.graph, costs, name, pinned=pinned, goal=asked.goal, tiles=asked.tiles)
    except EdgeflowError as error:
        return Answer(algorithm, None, str(error), asked.clock() - start_s)
    return Answer(algorithm, found, "", asked.clock() - start_s)


def backbone_bytes(cluster: Cluster, sent: Mapping[tuple[str, str], int]) -> int:
    """Bytes of a frame that go to or come from the highest tier."""
    top = max(node.tier.rank for node in cluster.nodes.values())
    high = {name for name, node in cluster.nodes.items() if node.tier.rank == top}
    return sum(count for (a, b), count in sent.items() if (a in high) != (b in high))


def sweep(asked: Question, scene: Scene, name: str, ends: Ends) -> Sweep:
    """Every algorithm at values from low to high, each as many times the one before it."""
    algorithms = list(dict.fromkeys((BEST, *asked.algorithms)))
    known_s: dict[str, Seconds] = {}

    def ask(value: float, names: Sequence[str]) -> Point:
        there = scene.changed(name, value)
        cluster = there.cluster()
        seconds = known_s if there.nodes == scene.nodes else {}
        answers = tuple(_answer(asked, cluster, each, seconds) for each in names)
        best = answers[0].proposal
        return Point(value, answers, format_placement(asked.graph, best.placement) if best else "")

    low, high = ends
    step = (high / low) ** (1 / (POINTS - 1))
    values = [low, *(low * step**at for at in range(1, POINTS - 1)), high]
    points = [ask(value, algorithms) for value in values]
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
        Stretch(low, high, start.line, start.worth(BEST), stop.worth(BEST))
        for low, high, start, stop in zip(lows, highs, starts, stops, strict=True)
    )


def _changes(
    before: Point, behind: Point, ask: Callable[[float], Point]
) -> list[tuple[Point, Point]]:
    """Pairs of points close together, with different plans, in order."""
    if before.outline == behind.outline:
        return []
    if behind.value / before.value < 1 + SHARPNESS:
        return [(before, behind)]
    middle = ask(math.sqrt(before.value * behind.value))
    return [*_changes(before, middle, ask), *_changes(middle, behind, ask)]
