"""What a placement costs, in numbers one can check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost, Workload
from edgeflow.costmodel.workload import HANDLED, PACKINGS
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates
from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight

RATES = Rates(
    conv_flops_per_s=1e9,
    matmul_flops_per_s=1e8,
    memory_bytes_per_s=1e6,
    op_overhead_s=0.001,
    depthwise_flops_per_s=1e7,
)


def contract(name: str, *shape: int) -> Contract:
    return Contract(name, "float32", shape)


def net() -> Graph:
    """x → conv+relu → fc, and a second reader of the conv's tensor."""
    weights = {
        "w": Weight("w", "float32", (1000, 1, 1, 1), "0" * 64),
        "v": Weight("v", "float32", (10, 1), "1" * 64),
    }
    conv: dict[str, Attribute] = {
        "stride": (1, 1),
        "padding": (0, 0, 0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    ops = (
        Op("conv", "conv2d", ("x",), {"weight": "w"}, conv, contract("conv", 1, 1000, 1, 1)),
        Op("act", "relu", ("conv",), {}, {}, contract("act", 1, 1000, 1, 1)),
        Op("flat", "reshape", ("act",), {}, {"shape": (1000, 1)}, contract("flat", 1000, 1)),
        Op("fc", "linear", ("flat",), {"weight": "v"}, {}, contract("fc", 1000, 10)),
        Op("soft", "softmax", ("fc",), {}, {"axis": 1}, contract("soft", 1000, 10)),
        Op("join", "concat", ("act", "act"), {}, {"axis": 1}, contract("join", 1, 2000, 1, 1)),
    )
    return Graph("net", 1, (contract("x", 1, 1, 1, 1),), ("soft", "join"), ops, weights)


def home(**nodes: NodeCost) -> Cluster:
    found = {
        "cam": NodeCost("cam", DEVICE, RATES),
        "edge": NodeCost("edge", EDGE, RATES, ratio=0.5),
        "cloud": NodeCost("cloud", CLOUD, None),
    } | nodes
    links = {
        ("cam", "edge"): LinkCost(0.01, 1000.0),
        ("edge", "cam"): LinkCost(0.02, 2000.0),
    }
    return Cluster(found, links, "cam")


def test_a_layer_costs_overhead_and_roofline_of_each_of_its_ops() -> None:
    costs = CostModel(net(), home())
    conv_s = 0.008 + (4 + 4000 + 4000) / 1e6 + PACKINGS * 4000 / 1e6
    act_s = 0.001 + 8000 / 1e6
    assert costs.layer_s("conv", "cam") == pytest.approx(conv_s + act_s)
    assert costs.layer_s("fc", "cam") == pytest.approx(0.003 + (4000 + 40 + 40000) / 1e6)
    fast_memory = NodeCost("cam", DEVICE, Rates(1e9, 1e5, 1e12, 0.0))
    assert CostModel(net(), home(cam=fast_memory)).layer_s("fc", "cam") == pytest.approx(0.2)


def test_a_pooling_is_slower_than_its_bytes_and_counts_by_its_window() -> None:
    attrs: dict[str, Attribute] = {
        "kernel": (2, 2),
        "stride": (2, 2),
        "padding": (0, 0),
        "ceil_mode": False,
        "dilation": (1, 1),
    }
    op = Op("pool", "max_pool2d", ("x",), {}, attrs, contract("pool", 1, 8, 4, 4))
    graph = Graph("pool", 1, (contract("x", 1, 8, 8, 8),), ("pool",), (op,), {})
    fast_memory = Rates(8e6, 1e8, 1e12, 0.0)
    costs = CostModel(graph, Cluster({"a": NodeCost("a", DEVICE, fast_memory)}, {}, "a"))
    assert costs.layer_s("pool", "a") == pytest.approx(8 * 16 * 4 * 4 / (8e6 / 80))


def test_the_learned_ratio_scales_and_idle_nodes_are_infinite() -> None:
    costs = CostModel(net(), home())
    assert costs.layer_s("fc", "edge") == pytest.approx(costs.layer_s("fc", "cam") / 2)
    assert math.isinf(costs.layer_s("fc", "cloud"))


def test_a_depthwise_rate_that_was_not_measured_is_the_convolutions() -> None:
    work = Workload.of(net())
    plain = Rates(1e9, 1e8, 1e6, 0.001)
    assert np.array_equal(
        work.seconds(NodeCost("a", DEVICE, plain)), work.seconds(NodeCost("b", DEVICE, RATES))
    )


def test_no_link_is_infinite_and_the_same_node_is_free() -> None:
    costs = CostModel(net(), home())
    assert costs.transfer_s(1000, "cam", "edge") == pytest.approx(1.01 + HANDLED * 0.001)
    assert costs.transfer_s(1000, "cam", "cam") == 0.0
    assert math.isinf(costs.transfer_s(0, "cam", "cloud"))


def test_a_tensor_with_two_readers_is_paid_once_and_a_message_has_one_delay() -> None:
    costs = CostModel(net(), home())
    plan = {"conv": "cam", "flat": "edge", "fc": "edge", "soft": "edge", "join": "edge"}
    terms = costs.evaluate(plan)
    assert terms.transfer_s == {("cam", "edge"): pytest.approx(0.01 + 4.0 + HANDLED * 0.001)}
    assert terms.way_back_s == pytest.approx(0.02 + 48000 / 2000 + HANDLED * 0.001)
    assert terms.bytes == {("cam", "edge"): 4000, ("edge", "cam"): 48000}
    sums = sum(costs.layer_s(name, node) for name, node in plan.items())
    assert terms.total_s == pytest.approx(sums + 4.01 + 24.02 + 2 * HANDLED * 0.001)
    assert sum(terms.compute_s.values()) == pytest.approx(sums)


def test_results_of_the_source_itself_cost_no_way_back() -> None:
    terms = CostModel(net(), home()).evaluate(
        dict.fromkeys(("conv", "flat", "fc", "soft", "join"), "cam")
    )
    assert (terms.way_back_s, dict(terms.transfer_s), dict(terms.bytes)) == (0.0, {}, {})


def test_weights_that_do_not_fit_together_are_infinite() -> None:
    plan = dict.fromkeys(("conv", "flat", "fc", "soft", "join"), "cam")
    roomy = home(cam=NodeCost("cam", DEVICE, RATES, memory_bytes=4040))
    tight = home(cam=NodeCost("cam", DEVICE, RATES, memory_bytes=4039))
    assert math.isfinite(CostModel(net(), roomy).evaluate(plan).total_s)
    assert math.isfinite(CostModel(net(), tight).layer_s("conv", "cam"))
    assert math.isinf(CostModel(net(), tight).evaluate(plan).total_s)
    smaller = home(cam=NodeCost("cam", DEVICE, RATES, memory_bytes=3999))
    assert math.isinf(CostModel(net(), smaller).layer_s("conv", "cam"))
