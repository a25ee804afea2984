"""Every algorithm on every network behind every up-link: what it predicts, sends and takes.

Invariant: all prices are those of `CostModel.evaluate` on the same graph and cluster; a ratio is
against min-cut's plan of the same question.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgeflow.bench.partitions.scene import FAR, cluster
from edgeflow.costmodel.cost import CostModel
from edgeflow.layout.placement import Placement, format_placement
from edgeflow.model.graph import Graph
from edgeflow.planning import propose
from edgeflow.planning.candidates import Problem
from edgeflow.planning.hpa import placement_of, plan_row
from edgeflow.planning.mincut import place_mincut
from edgeflow.planning.rivals import RIVALS
from edgeflow.planning.siblings import Families
from edgeflow.planning.whole import TIERS, place_whole

NETWORKS = (
    "alexnet",
    "vgg16",
    "resnet18",
    "darknet53",
    "inceptionv4",
    "mobilenetv2_w1",
    "squeezenet_v1_0",
    "efficientnet_lite0",
)
ALGORITHMS = (*TIERS, *RIVALS, "mincut")
HPA_BARE = "hpa, all tiers"
"""HPA's walk without the search for tiers to leave out; told beside the others, drawn nowhere."""
HEURISTICS = ("hpa", HPA_BARE, "dads", "neurosurgeon")
"""Those that minimise the latency of one frame, and may miss the best."""


@dataclass(frozen=True, slots=True)
class Row:
    """One algorithm's plan."""

    network: str
    machines: str
    uplink: str
    algorithm: str
    predicted_ms: float
    ratio: float
    """To min-cut's prediction."""
    backbone_kb: float
    """A frame, to and from the cloud."""
    planning_ms: float
    """Median, the bound not included."""
    is_proven: bool
    plan: str

    @property
    def question(self) -> tuple[str, str, str]:
        """What was asked of all algorithms."""
        return self.network, self.machines, self.uplink


def load(network: str, dtype: str) -> Graph:
    """The network without its weights, for a uint8 picture or a float32 tensor made of it."""
    from edgeflow.exporter import export, zoo

    if network == "efficientnet_lite0":
        module = zoo.efficientnet_lite0(uint8=dtype == "uint8")
    else:
        size = 299 if "inception" in network else 224
        module = zoo.pytorchcv(network, size=size, uint8=dtype == "uint8")
    name = network if dtype == "uint8" else f"{network}-{dtype}"
    return replace(export(module, name=name), arrays={})


def compare(graph: Graph, machines: str, uplink: str, repeats: int) -> Iterator[Row]:
    """The rows of one network on some machines behind one up-link."""
    costs = CostModel(graph, cluster(machines, uplink))
    best_s = propose(graph, costs).predicted_s
    for algorithm in (*ALGORITHMS, HPA_BARE):
        pins = bare(costs) if algorithm == HPA_BARE else None
        found = propose(graph, costs, "mincut" if pins else algorithm, pinned=pins)
        yield Row(
            network=graph.name,
            machines=machines,
            uplink=uplink,
            algorithm=algorithm,
            predicted_ms=found.predicted_s * 1e3,
            ratio=found.predicted_s / best_s,
            backbone_kb=sum(n for way, n in found.terms.bytes.items() if FAR in way) / 1e3,
            planning_ms=planning_ms(costs, algorithm, repeats),
            is_proven=found.optimal,
            plan=format_placement(graph, found.placement),
        )


def bare(costs: CostModel) -> Placement:
    """HPA's walk over one node of every tier."""
    problem = Problem(costs, {}, frozenset(costs.cluster.nodes))
    row = [nodes[0].name for nodes in problem.useful().values()]
    return placement_of(problem, plan_row(problem, row, Families.of(costs.graph)))


def planning_ms(costs: CostModel, algorithm: str, repeats: int) -> float:
    """Median over fresh questions about a graph that was seen before."""
    place = _placer(algorithm)
    times: list[float] = []
    for _ in range(repeats):
        fresh = CostModel(costs.graph, costs.cluster)
        problem = Problem(fresh, {}, frozenset(costs.cluster.nodes))
        start_s = time.perf_counter()
        place(problem)
        times.append(time.perf_counter() - start_s)
    return statistics.median(times) * 1e3


def _placer(algorithm: str) -> Callable[[Problem], Placement | None]:
    if algorithm in RIVALS:
        return RIVALS[algorithm]
    if algorithm == HPA_BARE:
        return lambda problem: bare(problem.costs)
    if algorithm in TIERS:
        return lambda problem: place_whole(problem, algorithm)
    return lambda problem: place_mincut(problem)[0]


@dataclass(frozen=True, slots=True)
class Spread:
    """Of an algorithm's ratios to min-cut."""

    algorithm: str
    median: float
    low: float
    high: float
    """Quartiles."""
    worst: Row
    best_found: int
    """Questions on which it found a plan as good as min-cut's."""
    questions: int


def spread(rows: Sequence[Row], algorithm: str) -> Spread:
    """Over all questions."""
    mine = [row for row in rows if row.algorithm == algorithm]
    ratios = [row.ratio for row in mine]
    many = ratios if len(ratios) > 1 else ratios * 2
    low, _, high = statistics.quantiles(many, n=4, method="inclusive")
    return Spread(
        algorithm=algorithm,
        median=statistics.median(ratios),
        low=low,
        high=high,
        worst=max(mine, key=lambda row: row.ratio),
        best_found=sum(ratio < 1 + 1e-9 for ratio in ratios),
        questions=len(ratios),
    )


def backbone_shares(rows: Sequence[Row], algorithm: str, other: str) -> list[float]:
    """Backbone bytes of one against the other's, by question, where the other sends any."""
    sent = {(*row.question, row.algorithm): row.backbone_kb for row in rows}
    return [
        row.backbone_kb / there
        for row in rows
        if row.algorithm == algorithm and (there := sent[(*row.question, other)]) > 0
    ]
