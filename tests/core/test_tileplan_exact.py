"""The search for tiles against every layout there is, on small random graphs and clusters.
EDGEFLOW_GRAPHS=2000 asks more of them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.layout.placement import format_placement, parse_placement
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates
from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight
from edgeflow.planning import propose
from edgeflow.planning.candidates import Problem
from edgeflow.planning.tiling.bound import bound_of_tiles
from edgeflow.planning.tiling.brute import all_layouts, best_layout
from edgeflow.planning.tiling.search import Programme
from edgeflow.planning.tiling.sharings import crews, sharings
from edgeflow.planning.tiling.stages import Stages
from edgeflow.planning.tiling.together import best_tiled, may_tile

GRAPHS = int(os.environ.get("EDGEFLOW_GRAPHS", "40"))
BLOCKS = 2 if GRAPHS <= 40 else 3
"""Three blocks of three rows have thousands of layouts: a second each."""
CHANNELS = 4


@dataclass
class Stack:
    """A graph that grows op by op."""

    rows: int
    ops: list[Op]
    weights: dict[str, Weight]
    last: str = "x"

    def conv(self, size: int, stride: int, padding: int) -> None:
        name = f"conv{len(self.ops)}"
        self.weights[name] = Weight(name, "float32", (CHANNELS, CHANNELS, size, size), "0" * 64)
        attrs: dict[str, Attribute] = {
            "stride": (stride, stride),
            "padding": (padding, padding, padding, padding),
            "dilation": (1, 1),
            "groups": 1,
        }
        rows = (self.rows + 2 * padding - size) // stride + 1
        self._add(Op(name, "conv2d", (self.last,), {"weight": name}, attrs, fmap(name, rows)))
        self.rows = rows

    def relu(self) -> None:
        name = f"relu{len(self.ops)}"
        self._add(Op(name, "relu", (self.last,), {}, {}, fmap(name, self.rows)))

    def residual(self) -> None:
        """A convolution, and its input added to it."""
        before = self.last
        self.conv(3, 1, 1)
        name = f"add{len(self.ops)}"
        self._add(Op(name, "add", (self.last, before), {}, {}, fmap(name, self.rows)))

    def flatten(self) -> None:
        count = CHANNELS * self.rows * self.rows
        name = f"flat{len(self.ops)}"
        shape: dict[str, Attribute] = {"shape": (1, count)}
        self._add(
            Op(name, "reshape", (self.last,), {}, shape, Contract(name, "float32", (1, count)))
        )

    def _add(self, op: Op) -> None:
        self.ops.append(op)
        self.last = op.name


def fmap(name: str, rows: int) -> Contract:
    return Contract(name, "float32", (1, CHANNELS, rows, rows))


@st.composite
def graphs(draw: st.DrawFn, blocks_max: int, rows_max: int) -> Graph:
    """Convolutions with and without overlap, residual blocks, sometimes what cannot be tiled."""
    rows = draw(st.integers(2, rows_max))
    stack = Stack(rows, [], {})
    count = draw(st.integers(1, blocks_max))
    for _ in range(count):
        kind = draw(st.sampled_from(("same", "same", "valid", "strided", "point", "residual")))
        if kind == "residual":
            stack.residual()
        elif kind == "valid" and stack.rows > 3:
            stack.conv(3, 1, 0)
        elif kind == "strided" and stack.rows > 3:
            stack.conv(draw(st.sampled_from((1, 3))), 2, 1)
        elif kind == "point":
            stack.conv(1, 1, 0)
        else:
            stack.conv(3, 1, 1)
        if draw(st.booleans()):
            stack.relu()
    if draw(st.integers(0, 2)) == 0:
        stack.flatten()
    return Graph("stack", 1, (fmap("x", rows),), (stack.last,), tuple(stack.ops), stack.weights)


RATES = st.sampled_from((1e5, 2e5, 5e5, 2e6))


@st.composite
def clusters(draw: st.DrawFn, workers_max: int = 2) -> Cluster:
    """A source, edge nodes of one tier, sometimes a cloud; links of any speed, some missing."""
    tiers = {"cam": DEVICE} | {
        f"edge-{at}": EDGE for at in range(draw(st.integers(2, workers_max)))
    }
    if draw(st.integers(0, 3)) == 0:
        tiers["cloud"] = CLOUD
    idle = draw(st.booleans())
    nodes = {}
    for name, tier in tiers.items():
        rates = Rates(
            draw(RATES), 1e5, draw(st.sampled_from((1e6, 1e7))), draw(st.sampled_from((0.0, 1e-4)))
        )
        nodes[name] = NodeCost(name, tier, None if name == "cam" and idle else rates)
    links = {}
    shape = draw(st.sampled_from(("even", "any", "holes")))
    even = LinkCost(draw(st.sampled_from((0.0, 1e-4))), draw(st.sampled_from((1e5, 1e6, 1e8))))
    for a in tiers:
        for b in tiers:
            link = LinkCost(
                draw(st.sampled_from((0.0, 1e-4, 1e-3))), draw(st.sampled_from((1e4, 1e5, 1e6)))
            )
            missing = shape == "holes" and "cam" not in (a, b) and draw(st.booleans())
            if a != b and not missing:
                links[a, b] = even if shape == "even" else link
    return Cluster(nodes, links, draw(st.sampled_from(("cam", "cam", "edge-0"))))


def many(count: int) -> settings:
    """So many questions, the same ones each time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=count <= 1000,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def ask(graph: Graph, cluster: Cluster) -> Problem:
    return Problem(CostModel(graph, cluster), {}, frozenset(cluster.nodes))


@given(graphs(blocks_max=BLOCKS, rows_max=3), clusters())
@many(GRAPHS)
def test_the_search_equals_every_layout_there_is(graph: Graph, cluster: Cluster) -> None:
    problem = ask(graph, cluster)
    stages = Stages(problem)
    goals, is_exact = sharings(stages, crews(problem, stages))
    assert is_exact
    seconds, _ = Programme(problem, stages, goals).solve(math.inf)
    layout, best_s = best_layout(problem)
    assert seconds == pytest.approx(best_s, rel=1e-9), format_placement(graph, layout)


@given(graphs(blocks_max=BLOCKS, rows_max=3), clusters())
@many(GRAPHS)
def test_no_layout_goes_below_the_bound(graph: Graph, cluster: Cluster) -> None:
    problem = ask(graph, cluster)
    bound_s = bound_of_tiles(problem)
    assert bound_s <= best_layout(problem)[1] * (1 + 1e-9)


@given(graphs(blocks_max=6, rows_max=24), clusters(workers_max=4))
@many(4 * GRAPHS)
def test_what_is_found_is_priced_as_any_layout_and_beats_what_it_should(
    graph: Graph, cluster: Cluster
) -> None:
    problem = ask(graph, cluster)
    if not may_tile(problem):
        return
    untiled = propose(graph, cluster, tiles=False)
    found = propose(graph, cluster)
    line = format_placement(graph, found.placement)
    assert dict(parse_placement(graph, line)) == dict(found.placement)
    assert CostModel(graph, cluster).evaluate(found.placement).total_s == found.predicted_s
    assert found.lower_bound_s <= found.predicted_s
    assert found.predicted_s <= untiled.predicted_s
    if found.terms.tiles:
        assert found.predicted_s <= 0.95 * untiled.predicted_s
        assert "untiled" in found.reason


@given(graphs(blocks_max=6, rows_max=24), clusters(workers_max=4))
@many(4 * GRAPHS)
def test_large_maps_are_searched_with_the_prices_of_the_cost_model(
    graph: Graph, cluster: Cluster
) -> None:
    problem = ask(graph, cluster)
    stages = Stages(problem)
    seconds, steps = Programme(problem, stages, sharings(stages, crews(problem, stages))[0]).solve(
        math.inf
    )
    found = best_tiled(problem, math.inf)
    if found is not None:
        assert found.seconds <= seconds * (1 + 1e-9)
    else:
        assert not any(step.is_tiled for step in steps)


def test_the_judge_knows_every_layout_of_a_small_question() -> None:
    stack = Stack(2, [], {})
    stack.conv(3, 1, 1)
    graph = Graph("one", 1, (fmap("x", 2),), (stack.last,), tuple(stack.ops), stack.weights)
    rates = Rates(1e6, 1e6, 1e6, 0.0)
    nodes = {name: NodeCost(name, EDGE, rates) for name in ("a", "b")}
    links = {pair: LinkCost(0.0, 1e6) for pair in (("a", "b"), ("b", "a"))}
    found = [
        format_placement(graph, each)
        for each in all_layouts(ask(graph, Cluster(nodes, links, "a")))
    ]
    assert sorted(found) == sorted(
        f"conv0 @{where}"
        for where in (
            "a",
            "b",
            "a[0:2]",
            "b[0:2]",
            "a[0:1] b[1:2]",
            "b[0:1] a[1:2]",
            "a[0:1] a[1:2]",
            "b[0:1] b[1:2]",
        )
    )
