"""What-if answers are the planner's own; a sweep changes plans where brute force has it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count, pairwise

import pytest

from edgeflow.costmodel.cost import CostModel, NodeCost
from edgeflow.layout.placement import format_placement
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates
from edgeflow.model.graph import Contract, Graph, Op
from edgeflow.planning import Goal, PlanningError, propose
from edgeflow.whatif.beside import neighbours
from edgeflow.whatif.findings import (
    BEST,
    LATENCY,
    POINTS,
    SHARPNESS,
    Findings,
    Question,
    backbone_bytes,
    compare,
    find,
)
from edgeflow.whatif.scene import Scene, Wire


def chain(*kilobytes: int) -> Graph:
    """Layers a, b, … that make so many kB each, out of 300 kB."""
    ops: list[Op] = []
    read = "image"
    for at, size in enumerate(kilobytes):
        name = "abcdefgh"[at]
        made = Contract(name, "uint8", (size * 1000,))
        ops.append(Op(name, "concat", (read,), {}, {"axis": 0}, made))
        read = name
    given = Contract("image", "uint8", (300_000,))
    return Graph("chain", 1, (given,), (read,), tuple(ops), {})


GRAPH = chain(300, 100, 100, 20, 5, 1)


def node(name: str, tier: object, layer_s: float) -> NodeCost:
    """Every layer takes so long."""
    rates, timed = Rates(1e9, 1e9, 1e12, 0.0), (layer_s,) * len(GRAPH.layers)
    return NodeCost(name, tier, rates, layers_s=timed)  # type: ignore[arg-type]


def scene(*nodes: NodeCost, mbps: float = 10.0) -> Scene:
    """Every node linked with every other by one wire called `net`."""
    names = [each.name for each in nodes]
    ways = {(a, b): ((0, True),) for a in names for b in names if a != b}
    ends = (tuple(names), tuple(names))
    known = {each.name: each for each in nodes}
    return Scene("paper", "", "", known, (Wire("net", ends, mbps, mbps, 1.0),), ways, names[0])


CAM, EDGE_1 = node("cam", DEVICE, 0.05), node("edge", EDGE, 0.02)
SCENE = scene(CAM, EDGE_1, node("cloud", CLOUD, 0.002))


def clock() -> float:
    return next(TICKS) * 0.25


TICKS = count()


def question(*algorithms: str, goal: Goal = LATENCY) -> Question:
    """About GRAPH."""
    return Question(GRAPH, algorithms, clock, goal)


def found(name: str = "net.mbps", ends: tuple[float, float] = (0.5, 500.0)) -> Findings:
    return find(question(BEST, "cloud-only"), SCENE, (name, ends))


def test_answers_are_those_of_the_planner_and_timed_by_the_clock() -> None:
    answers = compare(question(BEST, "edge-only"), SCENE)
    for answer in answers:
        asked = propose(GRAPH, SCENE.cluster(), answer.algorithm)
        assert answer.proposal == asked
        assert answer.planning_s == 0.25


def test_an_algorithm_that_refuses_leaves_the_others_alone() -> None:
    there = scene(CAM, EDGE_1)
    best, cloud = compare(question(BEST, "cloud-only"), there)
    assert best.proposal is not None
    assert (cloud.proposal, cloud.latency_s) == (None, math.inf)
    assert "no cloud node" in cloud.refusal


def test_where_all_refuse_the_first_says_why() -> None:
    with pytest.raises(PlanningError, match="no cloud node"):
        compare(question("cloud-only"), scene(CAM))


def test_backbone_bytes_are_those_to_and_from_the_cloud_tier() -> None:
    sent = {("cam", "edge"): 7, ("edge", "cloud"): 20, ("cloud", "cam"): 1}
    assert backbone_bytes(SCENE.cluster(), sent) == 21


def test_neighbours_of_a_split_move_one_layer_each_way_and_are_priced_alike() -> None:
    placement = dict(zip("abcdef", ["cam", "cam", "edge", "edge", "cloud", "cloud"], strict=True))
    told = {each.what: each for each in neighbours(GRAPH, SCENE.cluster(), placement, LATENCY)}
    assert list(told)[:4] == [
        "one layer earlier: b @edge",
        "one layer later: c @cam",
        "one layer earlier: d @cloud",
        "one layer later: e @edge",
    ]
    assert "undivided, all on cloud" in told
    costs = CostModel(GRAPH, SCENE.cluster())
    for each in told.values():
        assert each.latency_s == costs.evaluate(each.placement).total_s


def test_beside_an_undivided_plan_stand_the_best_cuts_with_each_other_tier() -> None:
    whole = dict.fromkeys("abcdef", "edge")
    cuts = [
        each
        for each in neighbours(GRAPH, SCENE.cluster(), whole, LATENCY)
        if each.what.startswith("best cut")
    ]
    assert [set(each.placement.values()) for each in cuts] == [{"cam", "edge"}, {"edge", "cloud"}]
    costs = CostModel(GRAPH, SCENE.cluster())
    for each, (low, high) in zip(cuts, [("cam", "edge"), ("edge", "cloud")], strict=True):
        prices = [
            costs.evaluate(
                {name: low if at < cut else high for at, name in enumerate("abcdef")}
            ).total_s
            for cut in range(1, 6)
        ]
        assert each.latency_s == min(prices)


def test_nodes_that_are_alike_stand_in_one_line() -> None:
    twins = scene(CAM, EDGE_1, replace(EDGE_1, name="edge-2"))
    told = neighbours(GRAPH, twins.cluster(), dict.fromkeys("abcdef", "cam"), LATENCY)
    assert "undivided, all on edge or edge-2" in {each.what for each in told}


def test_a_sweep_goes_from_end_to_end_by_even_factors() -> None:
    swept = found().sweep
    assert swept is not None
    values = [point.value for point in swept.points]
    assert (values[0], values[-1], len(values)) == (0.5, 500.0, POINTS)
    steps = [behind / before for before, behind in pairwise(values)]
    assert max(steps) == pytest.approx(min(steps))


def test_changes_of_plan_are_where_brute_force_has_them() -> None:
    swept = found().sweep
    assert swept is not None
    assert len(swept.stretches) >= 3
    for before, behind in pairwise(swept.stretches):
        assert before.high == behind.low
        assert before.line != behind.line
        for value, line in (
            (behind.low / (1 + SHARPNESS), before.line),
            (behind.low * (1 + SHARPNESS), behind.line),
        ):
            asked = propose(GRAPH, SCENE.changed("net.mbps", value).cluster(), "brute")
            assert format_placement(GRAPH, asked.placement) == line


def test_within_a_stretch_brute_force_has_no_other_plan() -> None:
    swept = found().sweep
    assert swept is not None
    for each in swept.stretches:
        middle = math.sqrt(each.low * each.high)
        asked = propose(GRAPH, SCENE.changed("net.mbps", middle).cluster(), "brute")
        assert format_placement(GRAPH, asked.placement) == each.line


def test_a_node_can_be_swept_as_well_as_a_link() -> None:
    swept = found("edge.ratio", (0.05, 10.0)).sweep
    assert swept is not None
    prices = [point.worth(BEST) for point in swept.points]
    assert prices == sorted(prices)
    assert prices[0] < prices[-1]
    fast = propose(GRAPH, SCENE.changed("edge.ratio", 0.05).cluster())
    assert prices[0] == fast.predicted_s


def test_a_goal_is_kept_and_what_breaks_it_is_no_neighbour() -> None:
    goal = Goal(latency_s_max=0.31, private="b@edge")
    best = find(question(BEST, goal=goal), SCENE, None).best.proposal
    assert best is not None
    assert best == propose(GRAPH, SCENE.cluster(), goal=goal)
    assert {best.placement["a"], best.placement["b"]} <= {"cam", "edge"}
    told = neighbours(GRAPH, SCENE.cluster(), best.placement, goal)
    assert told
    assert all(each.latency_s <= 0.31 for each in told)
    assert all(each.placement["b"] != "cloud" for each in told)
    free = neighbours(GRAPH, SCENE.cluster(), best.placement, LATENCY)
    assert len(free) > len(told)


def test_for_another_objective_its_own_value_is_swept() -> None:
    goal = Goal("throughput")
    swept = find(question(BEST, "cloud-only", goal=goal), SCENE, ("net.mbps", (1, 100))).sweep
    assert swept is not None
    for point in swept.points[::20]:
        there = SCENE.changed("net.mbps", point.value).cluster()
        assert point.worth(BEST) == propose(GRAPH, there, goal=goal).value
        assert point.worth(BEST) <= point.worth("cloud-only")
