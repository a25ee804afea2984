"""Tiles that one can check by hand: what they cost, when they are planned, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replaced

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.costmodel.exchange import arrivals, finishes, same
from edgeflow.layout.placement import (
    TileMap,
    format_placement,
    nodes_of,
    parse_placement,
    tile_maps,
)
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Rect, Spec
from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight
from edgeflow.planning import Goal, PlanningError, Proposal, propose
from edgeflow.planning.candidates import Problem
from edgeflow.planning.standing import standing
from edgeflow.planning.tiling.bound import bound_of_tiles, needed
from edgeflow.planning.tiling.polish import polish
from edgeflow.planning.tiling.search import Programme, Step
from edgeflow.planning.tiling.sharings import crews, sharings
from edgeflow.planning.tiling.stages import Stages
from edgeflow.planning.tiling.strips import Strips
from edgeflow.policy.survey import ask, is_dear
from edgeflow.sim.toy import TOY
from edgeflow.tiles.region import regions
from edgeflow.whatif.beside import neighbours

ROWS = 12
RATES = Rates(1e6, 1e6, 1e12, 0.0)
"""Convolutions cost their FLOPs, memory nothing."""
ROW_BYTES = ROWS * 4
CONV_FLOPS = 2 * 9 * ROWS * ROWS


def fmap(name: str, rows: int = ROWS) -> Contract:
    return Contract(name, "float32", (1, 1, rows, rows))


def conv(name: str, reads: str, rows: int = ROWS, stride: int = 1, size: int = 3) -> Op:
    pad = size // 2
    attrs = {"stride": (stride, stride), "padding": (pad, pad, pad, pad), "dilation": (1, 1)}
    return Op(name, "conv2d", (reads,), {"weight": "w"}, attrs | {"groups": 1}, fmap(name, rows))


def chain(count: int = 2, flat: bool = False) -> Graph:
    """Convolutions of 3 x 3 on a map of 12 x 12, one channel; `flat` ends in a flat tensor."""
    ops = [conv(f"c{at}", f"c{at - 1}" if at else "x") for at in range(count)]
    if flat:
        size = (1, ROWS * ROWS)
        ops.append(
            Op(
                "flat",
                "reshape",
                (ops[-1].name,),
                {},
                {"shape": size},
                Contract("flat", "float32", size),
            )
        )
    weights = {"w": Weight("w", "float32", (1, 1, 3, 3), "0" * 64)}
    return Graph("chain", 1, (fmap("x"),), (ops[-1].name,), tuple(ops), weights)


def shelf(workers: int = 2, delay_s: float = 0.0, rate: float = 1e9, **speeds: float) -> Cluster:
    """A camera that computes nothing, and edge nodes; all linked to all."""
    nodes = {"cam": NodeCost("cam", DEVICE, None)}
    for at in range(1, workers + 1):
        ratio = 1 / speeds.get(f"e{at}", 1.0)
        nodes[f"e{at}"] = NodeCost(f"e{at}", EDGE, RATES, ratio)
    if "cloud" in speeds:
        nodes["cloud"] = NodeCost("cloud", CLOUD, RATES, 1 / speeds["cloud"])
    links = {(a, b): LinkCost(delay_s, rate) for a in nodes for b in nodes if a != b}
    return Cluster(nodes, links, "cam")


def price(graph: Graph, cluster: Cluster, line: str) -> float:
    return CostModel(graph, cluster).evaluate(parse_placement(graph, line)).total_s


def plan(graph: Graph, cluster: Cluster, **options: object) -> Proposal:
    return propose(graph, cluster, **options)  # type: ignore[arg-type]


# --- what it costs --------------------------------------------------------------------------------


def test_a_port_sends_one_message_after_the_other_and_the_delay_counts_once() -> None:
    busy, delay = np.array([[1.0, 2.0], [4.0, 0.0]]), np.array([[0.5, 0.5], [0.1, 0.0]])
    there = np.array([[True, True], [True, False]])
    # Reader 0: 1 of sender 0, then 4 of sender 1 through its own port. Reader 1: 2, behind 1.
    assert arrivals(busy, delay, there, None, None).tolist() == [5.1, 3.5]


def test_a_message_without_a_link_never_arrives_and_none_is_no_time() -> None:
    busy, there = np.array([[np.inf, 0.0]]), np.array([[True, False]])
    assert arrivals(busy, busy, there, None, None).tolist() == [math.inf, 0.0]


def test_strips_of_one_node_share_its_ports_and_run_one_after_the_other() -> None:
    nodes = same(np.array([3, 3]))
    there = np.ones((1, 2), dtype=bool)
    found = arrivals(np.array([[1.0, 1.0]]), np.zeros((1, 2)), there, None, nodes)
    assert found.tolist() == [1.0, 2.0]
    assert finishes(found, np.array([5.0, 1.0]), nodes).tolist() == [6.0, 7.0]
    assert same(np.array([3, 4])) is None


def test_workers_run_at_the_same_time_and_the_slowest_counts() -> None:
    graph, cluster = chain(1), shelf(rate=math.inf)
    one_s = CONV_FLOPS / 1e6
    assert price(graph, cluster, "c0 @e1") == pytest.approx(one_s)
    assert price(graph, cluster, "c0 @e1[0:6] e2[6:12]") == pytest.approx(one_s / 2)
    assert price(graph, cluster, "c0 @e1[0:9] e2[9:12]") == pytest.approx(one_s * 9 / 12)
    assert price(graph, cluster, "c0 @e1[0:6] e1[6:12]") == pytest.approx(one_s)


def test_fused_layers_pay_their_halo_and_single_ones_exchange_it() -> None:
    graph, cluster = chain(2), shelf(rate=math.inf)
    one_s = CONV_FLOPS / 1e6
    fused, single = "c0..c1 @e1[0:6] e2[6:12]", "c0 @e1[0:6] e2[6:12] | c1 @e1[0:6] e2[6:12]"
    assert price(graph, cluster, fused) == pytest.approx(one_s * (7 + 6) / 12)
    assert price(graph, cluster, single) == pytest.approx(one_s)
    slow = shelf(delay_s=one_s)
    assert price(graph, slow, fused) < price(graph, slow, single)


def test_transfers_are_those_of_the_ports_and_what_is_there_is_free() -> None:
    graph, cluster = chain(2), shelf(delay_s=0.25, rate=1000.0)
    layout = parse_placement(graph, "c0 @e1[0:6] e2[6:12] | c1 @e1")
    terms = CostModel(graph, cluster).evaluate(layout)
    half_s = CONV_FLOPS / 2e6
    # Seven rows each of x, one message behind the other; six rows of c0 from e2; c1 back.
    into_s = 0.25 + 14 * ROW_BYTES / 1000
    over_s = 0.25 + 6 * ROW_BYTES / 1000
    back_s = 0.25 + 12 * ROW_BYTES / 1000
    assert terms.total_s == pytest.approx(into_s + half_s + over_s + 2 * half_s + back_s)
    assert terms.bytes == {
        ("cam", "e1"): 7 * ROW_BYTES,
        ("cam", "e2"): 7 * ROW_BYTES,
        ("e2", "e1"): 6 * ROW_BYTES,
        ("e1", "cam"): 12 * ROW_BYTES,
    }
    assert terms.compute_s == pytest.approx({"e1": 3 * half_s, "e2": half_s})
    first, second = terms.tiles
    assert (first.node, first.rect, first.layers) == ("e1", Rect(0, 6, 0, 12), ("c0",))
    assert first.arrives_s == pytest.approx(0.25 + 7 * ROW_BYTES / 1000)
    assert second.done_s == pytest.approx(into_s + half_s)
    assert second.bytes_in == 7 * ROW_BYTES


def test_results_of_tiles_come_back_through_one_port() -> None:
    graph, cluster = chain(1), shelf(delay_s=0.25, rate=1000.0)
    terms = CostModel(graph, cluster).evaluate(parse_placement(graph, "c0 @e1[0:6] e2[6:12]"))
    assert terms.way_back_s == pytest.approx(0.25 + 12 * ROW_BYTES / 1000)


def test_a_halo_without_a_link_has_no_price() -> None:
    graph, cluster = chain(2), shelf()
    links = {pair: link for pair, link in cluster.links.items() if pair != ("e1", "e2")}
    cut = replace(cluster, links=links)
    assert price(graph, cut, "c0..c1 @e1[0:6] e2[6:12]") < math.inf
    assert price(graph, cut, "c0 @e1[0:6] e2[6:12] | c1 @e1[0:6] e2[6:12]") == math.inf


def test_weights_of_a_node_count_once_over_all_its_runs() -> None:
    graph = chain(2)
    weights = CostModel(graph, shelf()).workload.weights_bytes
    both = int(weights.sum())
    for limit, fits in ((both, True), (both - 1, False)):
        cluster = shelf()
        nodes = dict(cluster.nodes) | {"e1": replace(cluster.nodes["e1"], memory_bytes=limit)}
        line = "c0 @e1[0:6] e2[6:12] | c1 @e1[0:6] e2[6:12]"
        assert math.isfinite(price(graph, replace(cluster, nodes=nodes), line)) is fits


# --- what is planned ------------------------------------------------------------------------------


def test_a_shelf_of_four_answers_nearly_four_times_sooner() -> None:
    found = plan(chain(2), shelf(4))
    untiled = plan(chain(2), shelf(4), tiles=False)
    assert found.predicted_s == pytest.approx(untiled.predicted_s / 4, rel=0.02)
    assert nodes_of(found.placement) == {"e1", "e2", "e3", "e4"}
    assert found.algorithm == "mincut"
    assert found.reason.startswith("tiles c0..c1 over e1, e2, e3, e4 in 2 maps: ")
    assert f"against {untiled.predicted_s * 1e3:.3g} ms untiled" in found.reason
    assert "; no plan takes less than " in found.reason
    assert untiled.predicted_s / 5 < found.lower_bound_s <= found.predicted_s


def test_rows_follow_speed_and_a_node_that_only_costs_gets_none() -> None:
    found = plan(chain(1), shelf(3, e1=4.0, e2=2.0, e3=0.001))
    (tiles,) = tile_maps(found.placement)
    rows = {node: rect.bottom - rect.top for node, rect in tiles.tiles}
    assert rows == {"e1": 8, "e2": 4}


def test_rows_follow_links_too() -> None:
    cluster = shelf(2, rate=1e5)
    links = dict(cluster.links) | {
        ("cam", "e2"): LinkCost(0.0, 1.5e5),
        ("cam", "e1"): LinkCost(0.0, 5e5),
    }
    found = plan(chain(1), replace(cluster, links=links))
    rows = {
        node: rect.bottom - rect.top
        for each in tile_maps(found.placement)
        for node, rect in each.tiles
    }
    assert rows["e1"] > rows["e2"] > 0


def test_workers_that_the_source_does_not_reach_still_share_rows() -> None:
    """Links come up one after the other; frames may come by way of another node until then."""
    full = shelf(4, cloud=0.01)
    there = {("cam", f"e{at}") for at in range(1, 5)}
    links = {pair: link for pair, link in full.links.items() if pair not in there}
    costs = CostModel(TOY, Cluster(full.nodes, links, "cam"))
    problem = Problem(costs, {}, frozenset(full.nodes))
    stages = Stages(problem)
    goals, is_exact = sharings(stages, crews(problem, stages))
    assert not is_exact
    assert max(len(set(nodes) - {-1}) for goal in goals for nodes in goal.nodes.tolist()) == 4


def test_a_thin_link_keeps_one_node() -> None:
    graph = chain(2)
    assert tile_maps(plan(graph, shelf(2, rate=1e6)).placement)
    assert not tile_maps(plan(graph, shelf(2, rate=1e6, delay_s=1.0)).placement)
    assert not tile_maps(plan(graph, shelf(2), tiles=False).placement)
    assert not tile_maps(plan(graph, shelf(1)).placement)


def test_tiles_must_promise_five_percent() -> None:
    graph = chain(1)
    one_s = CONV_FLOPS / 1e6
    for way_s, is_tiled in ((0.275 * one_s, True), (0.29 * one_s, False)):
        # Frames enter at e1, which takes 8 of 12 rows; the others go to e2 and come back.
        cluster = replace(shelf(2), source="e1")
        links = {pair: LinkCost(way_s, math.inf) for pair in cluster.links}
        found = plan(graph, replace(cluster, links=links))
        assert bool(tile_maps(found.placement)) is is_tiled


def test_what_follows_the_tiles_goes_where_it_is_best() -> None:
    graph = chain(2, flat=True)
    found = plan(graph, shelf(2, cloud=0.5))
    assert nodes_of({"flat": found.placement["flat"]}) <= {"e1", "e2"}
    costs = CostModel(graph, shelf(2, cloud=0.5))
    costs.known_s["e1"] = costs.layers_s("e1").copy()
    costs.known_s["e2"] = costs.layers_s("e2").copy()
    costs.known_s["e1"][2] = costs.known_s["e2"][2] = 1.0
    found = propose(graph, costs)
    assert found.placement["flat"] == "cloud"
    assert nodes_of({"": found.placement["c1"]}) == {"e1", "e2"}


def test_whole_layers_have_one_node_of_a_tier_and_data_only_rises() -> None:
    graph = chain(1, flat=True)
    size = (1, ROWS * ROWS)
    again = Op(
        "again", "reshape", ("flat",), {}, {"shape": size}, Contract("again", "float32", size)
    )
    graph = replace(graph, ops=(*graph.ops, again), outputs=("again",))
    costs = CostModel(graph, shelf(2, cloud=1.0))
    costs.known_s.update(
        {
            "e1": np.array([1.0, 0.1, 1.0]),
            "e2": np.array([1.0, 1.0, 0.1]),
            "cloud": np.array([1e-6, 9.0, 9.0]),
        }
    )
    found = propose(graph, costs)
    # Best would be the cloud, then down to e1, then e2: none of that may be.
    assert found.placement["flat"] == found.placement["again"]
    assert "cloud" not in nodes_of(found.placement)


def test_data_does_not_go_down_to_workers() -> None:
    graph, cluster = chain(2), shelf(2, cloud=1.0)
    costs = CostModel(graph, cluster)
    slow, fast = np.array([9.0, 0.01]), np.array([1e-6, 1.0])
    costs.known_s.update({"e1": slow, "e2": slow, "cloud": fast})
    stages = Stages(Problem(costs, {}, frozenset(cluster.nodes)))
    goals, _ = sharings(stages, crews(stages.problem, stages))
    seconds, steps = Programme(stages.problem, stages, goals).solve(math.inf)
    # c0 on the cloud and c1 in strips below it would take 5 ms.
    assert seconds > 1.0
    assert {node for step in steps for node, _, _ in step.strips} == {stages.number["cloud"]}


def test_boundaries_move_until_no_worker_is_slower_than_it_must_be() -> None:
    graph, cluster = chain(1), shelf(3, e3=0.001)
    stages = Stages(Problem(CostModel(graph, cluster), {}, frozenset(cluster.nodes)))
    one, two, slow = (stages.number[name] for name in ("e1", "e2", "e3"))
    crooked = Step(0, 1, ((one, 0, 1), (slow, 1, 3), (two, 3, 12)), is_tiled=True)
    (straight,) = polish(stages, [crooked])
    assert straight.strips == ((one, 0, 6), (two, 6, 12))
    assert polish(stages, [straight]) == [straight]


def test_pins_shunned_nodes_and_other_goals_leave_tiles_alone() -> None:
    graph = chain(2)
    pinned = plan(graph, shelf(2), pinned={"c0": "e1"})
    assert nodes_of({"": pinned.placement["c0"]}) == {"e1"}
    assert not tile_maps(plan(graph, shelf(2), allowed=["e1"]).placement)
    for objective in ("throughput", "traffic"):
        assert not tile_maps(plan(graph, shelf(2), goal=Goal(objective)).placement)
    for algorithm in ("edge-only", "neurosurgeon", "dads", "hpa", "brute"):
        assert not tile_maps(propose(graph, shelf(2), algorithm).placement)


def test_a_limit_that_only_tiles_keep_is_kept_and_one_that_none_keeps_is_named() -> None:
    graph, cluster = chain(2), shelf(2)
    untiled_s = plan(graph, cluster, tiles=False).predicted_s
    found = plan(graph, cluster, goal=Goal(latency_s_max=0.6 * untiled_s))
    assert found.predicted_s <= 0.6 * untiled_s
    with pytest.raises(PlanningError, match="no plan"):
        plan(graph, cluster, goal=Goal(latency_s_max=0.3 * untiled_s))


def test_private_layers_are_tiled_on_their_tier_only() -> None:
    graph = chain(2)
    cluster = shelf(2, cloud=8.0)
    nodes = dict(cluster.nodes) | {"cloud-2": replace(cluster.nodes["cloud"], name="cloud-2")}
    links = {(a, b): LinkCost(0.0, 1e9) for a in nodes for b in nodes if a != b}
    cluster = Cluster(nodes, links, "cam")
    assert nodes_of(plan(graph, cluster).placement) == {"cloud", "cloud-2"}
    found = plan(graph, cluster, goal=Goal(private="c0@edge"))
    assert nodes_of({"": found.placement["c0"]}) == {"e1", "e2"}


def test_a_node_too_small_for_all_its_strips_is_left_out() -> None:
    graph = chain(2)
    weights = int(CostModel(graph, shelf()).workload.weights_bytes.sum())
    found = plan(graph, shelf(3), goal=Goal(memory_bytes={"e3": weights - 1}))
    assert nodes_of(found.placement) == {"e1", "e2"}


# --- tables and bounds ----------------------------------------------------------------------------


def strided() -> Graph:
    """Strides with and without overlap: of c0 every second row is read by nobody."""
    point = replace(conv("c1", "c0", 6, stride=2, size=1), weights={"weight": "p"})
    ops = (conv("c0", "x"), point, conv("c2", "c1", 6))
    weights = {
        name: Weight(name, "float32", (1, 1, size, size), "0" * 64)
        for name, size in (("w", 3), ("p", 1))
    }
    return Graph("strided", 1, (fmap("x"),), ("c2",), ops, weights)


def pointwise() -> Graph:
    """One convolution without halos, of a ninth of the FLOPs."""
    weights = {"w": Weight("w", "float32", (1, 1, 1, 1), "0" * 64)}
    return Graph("pointwise", 1, (fmap("x"),), ("c0",), (conv("c0", "x", size=1),), weights)


def pooled() -> Graph:
    """A pool that overhangs its map at both ends: the last window begins at an earlier row."""
    attrs: dict[str, Attribute] = {
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": (1, 1),
        "dilation": (1, 1),
    }
    attrs |= {"ceil_mode": False}
    ops = (conv("c0", "x", 11), Op("p", "max_pool2d", ("c0",), {}, attrs, fmap("p", 6)))
    weights = {"w": Weight("w", "float32", (1, 1, 3, 3), "0" * 64)}
    return Graph("pooled", 1, (fmap("x", 11),), ("p",), ops, weights)


@pytest.mark.parametrize("graph", [chain(3), strided(), pooled()])
def test_tables_say_what_the_geometry_says(graph: Graph) -> None:
    strips = Strips.of(graph)
    for stop in range(1, strips.last + 1):
        rows, right = int(strips.rows[stop]), int(strips.columns[stop])
        for start in range(stop):
            names = [layer.name for layer in graph.layers[start:stop]]
            for top in range(rows):
                for bottom in range(top + 1, rows + 1):
                    rect = Rect(top, bottom, 0, right)
                    known = regions(graph, names, {names[-1]: rect})
                    lo, hi, columns = np.array(top), np.array(bottom), (0, right)
                    for at in range(stop - 1, start - 1, -1):
                        block = strips.blocks[at]
                        assert block is not None
                        found = block.demand(lo, hi, columns)
                        lo, hi, columns = found.lo, found.hi, found.columns
                    entering = known[graph.boundary(names)[0][0]]
                    assert (int(lo), int(hi)) == (entering.top, entering.bottom)
                    assert columns == (entering.left, entering.right)


def test_rows_that_nobody_reads_are_not_in_the_bound() -> None:
    graph = strided()
    shares = needed(Strips.of(graph), 3)
    assert shares.tolist() == pytest.approx([0.5 * 11 / 12, 0.5 * 11 / 12, 1.0])
    assert needed(Strips.of(chain(2)), 2).tolist() == [1.0, 1.0]


def test_the_bound_of_equal_workers_is_their_harmonic_sum() -> None:
    graph, cluster = chain(2), shelf(4, rate=math.inf, delay_s=0.001)
    problem = Problem(CostModel(graph, cluster), {}, frozenset(cluster.nodes))
    assert bound_of_tiles(problem) == pytest.approx(2 * CONV_FLOPS / 1e6 / 4 + 0.002)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_the_bound_knows_that_strips_arrive_while_others_are_computed(share: float) -> None:
    rate = ROWS * ROW_BYTES / (share * CONV_FLOPS / 1e6)
    cluster = shelf(2, rate=9 * rate)
    problem = Problem(CostModel(pointwise(), cluster), {}, frozenset(cluster.nodes))
    assert bound_of_tiles(problem) <= plan(pointwise(), cluster).predicted_s


def test_the_bound_knows_that_the_nearest_worker_may_have_all() -> None:
    graph, cluster = chain(1), shelf(3)
    for far in ("e1", "e2", "e3"):
        links = {
            pair: LinkCost(1.0, 1e9) if far in pair else link
            for pair, link in cluster.links.items()
        }
        asked = replace(cluster, links=links)
        problem = Problem(CostModel(graph, asked), {}, frozenset(cluster.nodes))
        assert bound_of_tiles(problem) <= plan(graph, asked).predicted_s < 1.0


def test_the_bound_knows_that_strips_leave_rows_out() -> None:
    graph, cluster = strided(), shelf(2, rate=math.inf)
    problem = Problem(CostModel(graph, cluster), {}, frozenset(cluster.nodes))
    found = plan(graph, cluster)
    # Five of twelve rows of c0 on each worker, where a half would be six.
    assert found.predicted_s < plan(graph, cluster, tiles=False).predicted_s / 2
    assert bound_of_tiles(problem) <= found.predicted_s


# --- by hand --------------------------------------------------------------------------------------


def by_hand(graph: Graph, cluster: Cluster, line: str, **options: object) -> Proposal:
    return plan(graph, cluster, pinned=parse_placement(graph, line), **options)


def test_a_layout_by_hand_is_what_it_is() -> None:
    line = "c0..c1 @e1[0:3] e2[3:12]"
    found = by_hand(chain(2), shelf(2), line)
    assert format_placement(chain(2), found.placement) == line
    assert found.algorithm == "by hand"
    assert found.reason.startswith("placed by hand on e1, e2: ")
    assert found.lower_bound_s < found.predicted_s
    assert not found.optimal
    few = by_hand(chain(2), shelf(2), line, goal=Goal("throughput"))
    assert few.value_bound == 0.0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("c0..c1 @e1[0:6] e9[6:12]", "layer c0 is tiled over e9, which is not known"),
        ("c0..c1 @e1[0:6] cam[6:12]", "layer c0 is tiled over cam, which computes nothing"),
        ("c0 @cloud | c1 @e1[0:6] e2[6:12]", r"c0 goes from cloud \(cloud\) down to e1 \(edge\)"),
        ("c0 @e1[0:6] e2[6:12] | c1 @e1[0:6] e2[6:12]", "no link from e1 to e2, which needs c0"),
    ],
)
def test_a_layout_by_hand_that_cannot_be_run_names_who_is_in_the_way(line: str, told: str) -> None:
    cluster = shelf(2, cloud=1.0)
    links = {pair: link for pair, link in cluster.links.items() if pair != ("e1", "e2")}
    with pytest.raises(PlanningError, match=told):
        by_hand(chain(2), replace(cluster, links=links), line)


def test_tiles_among_pins_are_refused_unless_all_layers_are_placed() -> None:
    graph = chain(2)
    tiles = TileMap(("c0",), (("e1", Rect(0, 6, 0, 12)), ("e2", Rect(6, 12, 0, 12))))
    with pytest.raises(PlanningError, match="layer c1 has no node: tiles are placed by hand"):
        plan(graph, shelf(2), pinned={"c0": tiles})


def test_a_layout_by_hand_keeps_the_goal_or_is_refused() -> None:
    graph, cluster = chain(2), shelf(2, cloud=1.0)
    line = "c0..c1 @e1[0:6] e2[6:12]"
    with pytest.raises(PlanningError, match=r"more than 0\.001 ms allowed"):
        by_hand(graph, cluster, line, goal=Goal(latency_s_max=1e-6))
    with pytest.raises(PlanningError, match="layer c0 is pinned to e1, of tier edge"):
        by_hand(graph, cluster, line, goal=Goal(private="c0@device"))


# --- around the plan ------------------------------------------------------------------------------


def test_a_wish_without_tiles_gets_none() -> None:
    spec = Spec("job", 1, "0" * 64, "chain", "cam", "cam")
    graph, cluster = chain(2), shelf(2)
    assert tile_maps(ask(spec, graph, cluster, ()).placement)
    without = Spec("job", 1, "0" * 64, "chain", "cam", "cam", tiles=False)
    assert not tile_maps(ask(without, graph, cluster, ()).placement)
    line = "c0..c1 @e1[0:3] e2[3:12]"
    fixed = Spec("job", 1, "0" * 64, "chain", "cam", "cam", placement=line)
    assert format_placement(graph, ask(fixed, graph, cluster, ()).placement) == line


def test_a_search_is_dear_where_there_may_be_tiles() -> None:
    spec = Spec("job", 1, "0" * 64, "chain", "cam", "cam")
    assert is_dear(spec, shelf(2))
    assert not is_dear(spec, shelf(1))
    assert not is_dear(replaced(spec, tiles=False), shelf(2))
    assert not is_dear(replaced(spec, objective="traffic"), shelf(2))


def test_a_running_plan_with_tiles_has_a_price_until_a_worker_is_gone() -> None:
    spec = Spec("job", 1, "0" * 64, "chain", "cam", "cam")
    graph, cluster = chain(2), shelf(2)
    line = "c0..c1 @e1[0:6] e2[6:12]"
    now = standing(spec, graph, cluster, line)
    assert now.seconds == now.value == pytest.approx(price(graph, cluster, line))
    lost = replace(cluster, nodes={n: c for n, c in cluster.nodes.items() if n != "e2"})
    assert standing(spec, graph, lost, line).seconds == math.inf


def test_beside_a_tiled_plan_stand_even_strips_fewer_workers_and_none() -> None:
    graph, cluster = chain(1), shelf(3, e1=2.0)
    found = plan(graph, cluster)
    told = {each.what: each for each in neighbours(graph, cluster, found.placement, Goal())}
    assert {"the same workers, even strips", "without e2, even strips"} <= told.keys()
    assert any(what.startswith("undivided, all on") for what in told)
    assert all(each.latency_s > found.predicted_s for each in told.values())
    assert nodes_of(told["without e2, even strips"].placement) == {"e1", "e3"}
