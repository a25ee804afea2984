"""How vague a price is, and how much sharper the comparison of two."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.costmodel.uncertainty import deviation_s, difference_deviation_s
from edgeflow.layout.placement import TileMap
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Rect
from edgeflow.model.graph import Attribute, Contract, Graph, Op

MEMORY = Rates(1e18, 1e9, 1e6, 0.0)
NODES = {
    "cam": NodeCost("cam", DEVICE, MEMORY, deviation=0.1),
    "edge": NodeCost("edge", EDGE, MEMORY, ratio=0.5, deviation=0.2),
    "box": NodeCost("box", EDGE, MEMORY, ratio=0.5, deviation=0.2),
    "cloud": NodeCost("cloud", CLOUD, MEMORY, ratio=0.1, deviation=0.3),
}
EXACT = LinkCost(0.001, 1e6)


def chain(count: int) -> Graph:
    """x → count pools of one value, 10 rows of 100 values; each takes 8 ms on `cam`."""
    names = ["x", *(f"r{at}" for at in range(count))]
    attrs: dict[str, Attribute] = {
        "kernel": (1, 1),
        "stride": (1, 1),
        "padding": (0, 0),
        "ceil_mode": False,
        "dilation": (1, 1),
    }
    ops = tuple(
        Op(name, "max_pool2d", (before,), {}, attrs, Contract(name, "float32", (1, 1, 10, 100)))
        for before, name in pairwise(names)
    )
    x = Contract("x", "float32", (1, 1, 10, 100))
    return Graph("chain", 1, (x,), (names[-1],), ops, {})


def model(count: int = 4, **links: LinkCost) -> CostModel:
    every = {(one, other): EXACT for one in NODES for other in NODES if one != other}
    every |= {(pair.split("_")[0], pair.split("_")[1]): link for pair, link in links.items()}
    return CostModel(chain(count), Cluster(NODES, every, "cam"))


def on(*nodes: str) -> dict[str, str]:
    return {f"r{at}": node for at, node in enumerate(nodes)}


def test_layers_of_one_node_are_off_together() -> None:
    assert deviation_s(model(1), on("cam")) == pytest.approx(0.1 * 0.008)
    assert deviation_s(model(4), on(*["cam"] * 4)) == pytest.approx(0.1 * 0.032)


def test_nodes_and_links_are_off_independently() -> None:
    costs = model(4, cam_edge=LinkCost(0.001, 1e6, 0.5), edge_cam=LinkCost(0.001, 1e6, 0.25))
    expected = math.hypot(0.1 * 0.016, 0.2 * 0.008, 0.5 * 0.005, 0.25 * 0.005)
    assert deviation_s(costs, on("cam", "cam", "edge", "edge")) == pytest.approx(expected)


def test_what_two_placements_share_is_not_in_their_difference() -> None:
    costs = model(4, cam_edge=LinkCost(0.001, 1e6, 0.5))
    one, other = on("cam", "edge", "edge", "edge"), on("cam", "cam", "edge", "edge")
    assert difference_deviation_s(costs, one, one) == 0.0
    expected = math.hypot(0.1 * 0.008, 0.2 * 0.004)
    assert difference_deviation_s(costs, one, other) == pytest.approx(expected)
    assert difference_deviation_s(costs, one, other) < deviation_s(costs, one)


def test_the_difference_of_two_drawn_fleets_deviates_as_said() -> None:
    """Against drawing: every estimate off by chance, both placements priced each time."""
    costs = model(4, cam_edge=LinkCost(0.0, 1e6, 0.2), cam_cloud=LinkCost(0.0, 1e6, 0.2))
    one, other = on("cam", "edge", "edge", "edge"), on("cam", "cam", "cloud", "cloud")
    chance, found = np.random.default_rng(1), []
    for _ in range(2000):
        nodes = {
            name: NodeCost(name, node.tier, node.rates, node.ratio * _drawn(chance, node.deviation))
            for name, node in NODES.items()
        }
        links = {
            pair: LinkCost(link.delay_s, link.bytes_per_s / _drawn(chance, link.deviation))
            for pair, link in costs.cluster.links.items()
        }
        drawn = CostModel(costs.graph, Cluster(nodes, links, "cam"))
        found.append(drawn.evaluate(one).total_s - drawn.evaluate(other).total_s)
    assert difference_deviation_s(costs, one, other) == pytest.approx(np.std(found), rel=0.05)


def _drawn(chance: np.random.Generator, deviation: float) -> float:
    return max(0.01, float(chance.normal(1.0, deviation)))


def test_tiles_that_run_at_the_same_time_do_not_add_up() -> None:
    rects = (("edge", Rect(0, 5, 0, 100)), ("box", Rect(5, 10, 0, 100)))
    tiled = dict.fromkeys(("r0", "r1"), TileMap(("r0", "r1"), rects))
    each_s = 0.2 * 0.004 / 2
    assert deviation_s(model(2), tiled) == pytest.approx(math.hypot(each_s, each_s))
    assert deviation_s(model(2), on("edge", "edge")) == pytest.approx(0.2 * 0.008)


def test_what_cannot_be_run_is_off_without_end() -> None:
    unlinked = CostModel(chain(2), Cluster(NODES, {("cam", "edge"): EXACT}, "cam"))
    assert math.isinf(deviation_s(unlinked, on("edge", "edge")))
    assert math.isinf(difference_deviation_s(unlinked, on("edge", "edge"), on("cam", "cam")))
