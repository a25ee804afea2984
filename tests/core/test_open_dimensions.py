"""An input of which each frame has its own length: what it may be, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeflow.codec import CodecError, decode_tensors, encode_tensors, head_of
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.errors import ModelError
from edgeflow.layout.headers import mismatch
from edgeflow.messages import CLOUD, DEVICE, Claim, Frame, PlanId, Rates, TensorHead
from edgeflow.model import manifest
from edgeflow.model.check import check
from edgeflow.model.graph import OPEN_MAX, Attribute, Contract, Graph, Op
from edgeflow.model.ops import PIXELS_A_BYTE, op_bytes, op_class, op_flops
from edgeflow.planning import propose

ATTRS: dict[str, Attribute] = {
    "height": 8,
    "width": 6,
    "crop": 0.875,
    "filter": "bicubic",
    "layout": "NHWC",
    "bytes_expected": 500,
}
ENCODED = Contract("image", "uint8", ("bytes",))


def net(**attrs: Attribute) -> Graph:
    """bytes → decode → float → permute."""
    decode = Op("decode", "decode", ("image",), {}, ATTRS | attrs, Contract("decode", "uint8", ()))
    shape = (1, 3, 8, 6) if decode.attrs["layout"] == "NCHW" else (1, 8, 6, 3)
    decode = replace(decode, output=Contract("decode", "uint8", shape))
    turned = tuple(shape[axis] for axis in (0, 3, 1, 2))
    to_float = Contract("cast", "float32", shape)
    ops = (
        decode,
        Op("cast", "cast", ("decode",), {}, {"dtype": "float32"}, to_float),
        Op(
            "out",
            "permute",
            ("cast",),
            {},
            {"axes": (0, 3, 1, 2)},
            Contract("out", "float32", turned),
        ),
    )
    return Graph("net", 2, (ENCODED,), ("out",), ops, {})


def with_input(contract: Contract) -> Graph:
    return replace(net(), inputs=(contract,))


def test_a_model_that_decodes_survives_its_manifest_and_names_the_op_set_it_needs() -> None:
    for layout in ("NHWC", "NCHW"):
        graph = net(layout=layout)
        assert manifest.decode(manifest.encode(graph)) == graph
    with pytest.raises(ModelError, match="op set 1 is named, its ops need 2"):
        check(replace(net(), opset=1))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (lambda: net(height=0), "0 by 6 pixels"),
        (lambda: net(width=1 << 20), "pixels"),
        (lambda: net(crop=0.0), "crop 0.0"),
        (lambda: net(crop=1.5), "crop 1.5"),
        (lambda: net(crop=1), "is not float"),
        (lambda: net(filter="best"), "none of its choices"),
        (lambda: net(bytes_expected=0), "0 bytes expected"),
        (lambda: net(bytes_expected=OPEN_MAX + 1), "bytes expected"),
        (lambda: net(path="/etc/passwd"), "unknown attribute 'path'"),
        (lambda: with_input(Contract("image", "uint8", (500,))), "no uint8 of one open dimension"),
        (lambda: with_input(Contract("image", "int8", ("bytes",))), "no uint8 of one open"),
        (lambda: with_input(Contract("image", "uint8", ("bytes", 3))), "no uint8 of one open"),
        (lambda: with_input(Contract("image", "uint8", ("by|tes",))), "'by|tes' is no symbol"),
        (lambda: with_input(Contract("image", "uint8", ("",))), "is no symbol"),
        (
            lambda: replace(net(), inputs=(ENCODED, Contract("more", "uint8", ("bytes",)))),
            "input more has an open dimension, and nothing decodes it",
        ),
    ],
)
def test_what_cannot_be_decoded_is_refused(graph: Callable[[], Graph], said: str) -> None:
    with pytest.raises(ModelError, match=said.replace("|", r"\|")):
        check(graph())


def test_the_file_and_the_small_picture_are_both_places_to_cut() -> None:
    graph = net()
    assert [layer.name for layer in graph.layers] == ["decode", "cast", "out"]
    assert [graph.crossing(at) for at in graph.cuts] == [("image",), ("decode",), ("cast",)]


@pytest.mark.parametrize("shape", [(0,), (OPEN_MAX + 1,), (), (5, 1), (1, 5)])
def test_a_frame_is_held_against_the_contract_by_its_own_length(shape: tuple[int, ...]) -> None:
    for length in (1, 700, OPEN_MAX):
        assert not mismatch([TensorHead("image", "uint8", (length,))], [ENCODED])
    told = mismatch([TensorHead("image", "uint8", shape)], [ENCODED])
    assert f"wanted is uint8 bytes, bytes of 1 to {OPEN_MAX}" in told
    assert "wanted is uint8" in mismatch([TensorHead("image", "int8", (5,))], [ENCODED])


def test_each_frame_crosses_with_its_own_length() -> None:
    plan = PlanId(Claim(1, 1, "a", 1), 1)
    for length in (1, 700, 12345):
        given = np.arange(length, dtype=np.uint8)
        frame = Frame("d", plan, 0, "0" * 64, "a", 1, 1, 1, 1.0, (head_of("image", given),))
        parts = encode_tensors(frame, {"image": given})
        message, arrays = decode_tensors([bytes(part) for part in parts])
        assert isinstance(message, Frame)
        assert not mismatch(message.tensors, [ENCODED])
        assert np.array_equal(arrays["image"], given)
        with pytest.raises(CodecError, match="should have"):
            decode_tensors([bytes(parts[0]), bytes(parts[1]) + b"x"])
        with pytest.raises(CodecError, match="should have"):
            decode_tensors([bytes(parts[0]), bytes(parts[1])[1:]])


def cluster(bytes_per_s: float, device_slower: float = 1.0) -> Cluster:
    rates = Rates(1e9, 1e9, 1e9, 0.0)
    nodes = {
        "cam": NodeCost("cam", DEVICE, rates, ratio=device_slower),
        "cloud": NodeCost("cloud", CLOUD, rates),
    }
    link = LinkCost(0.001, bytes_per_s)
    return Cluster(nodes, {("cam", "cloud"): link, ("cloud", "cam"): link}, "cam")


def test_a_file_costs_its_expected_bytes_on_a_link() -> None:
    graph = net(bytes_expected=500)
    assert (graph.tensors["image"].nbytes, graph.inputs[0].nbytes) == (500, 1)
    terms = CostModel(graph, cluster(1000.0)).evaluate(
        dict.fromkeys(("decode", "cast", "out"), "cloud")
    )
    assert terms.bytes["cam", "cloud"] == 500
    assert terms.transfer_s["cam", "cloud"] == pytest.approx(0.001 + 0.5)


def test_decoding_costs_by_the_pixels_of_the_file_and_of_the_result() -> None:
    same, cropped, large = net(crop=1.0), net(), net(crop=1.0, bytes_expected=100_000)
    same, cropped = (replace(each, ops=_expecting(each, 1)) for each in (same, cropped))
    assert op_class(same.ops[0], same) == "decode"
    assert op_bytes(same.ops[0], same) == 1 + 8 * 6 * 3
    assert op_flops(same.ops[0], same) == pytest.approx(100 * 48)
    assert op_flops(cropped.ops[0], cropped) == pytest.approx((100 + 160 + 180) * 48)
    pixels = 100_000 * PIXELS_A_BYTE
    assert op_flops(large.ops[0], large) == pytest.approx(260 * pixels + 180 * 48)


def _expecting(graph: Graph, size: int) -> tuple[Op, ...]:
    first = graph.ops[0]
    return (replace(first, attrs={**first.attrs, "bytes_expected": size}), *graph.ops[1:])


def test_a_node_decodes_as_fast_as_it_does_single_ops() -> None:
    """Whatever its convolutions or its memory do: 80 thousand operations an overhead, and 22."""
    graph = net(crop=1.0, bytes_expected=100_000)
    flops = op_flops(graph.ops[0], graph)
    for overhead_s in (4e-6, 16e-6):
        rates = Rates(1e15, 1e15, 1e15, overhead_s)
        costs = CostModel(graph, Cluster({"a": NodeCost("a", DEVICE, rates)}, {}, "a"))
        assert costs.layer_s("decode", "a") == pytest.approx(overhead_s * (flops / 80_000 + 22))


def big(side: int, bytes_expected: int) -> Graph:
    """The same for a picture large enough that a link matters, down to one number a channel."""
    attrs: dict[str, Any] = ATTRS | {
        "height": side,
        "width": side,
        "bytes_expected": bytes_expected,
    }
    shape = (1, side, side, 3)
    ops = (
        Op("decode", "decode", ("image",), {}, attrs, Contract("decode", "uint8", shape)),
        Op(
            "cast",
            "cast",
            ("decode",),
            {},
            {"dtype": "float32"},
            Contract("cast", "float32", shape),
        ),
        Op(
            "out",
            "mean",
            ("cast",),
            {},
            {"axes": (1, 2), "keepdim": False},
            Contract("out", "float32", (1, 3)),
        ),
    )
    return Graph("big", 2, (ENCODED,), ("out",), ops, {})


def test_the_planner_ships_the_file_where_that_is_the_cheapest_cut() -> None:
    graph = big(512, 40_000)
    check(graph)
    slow_camera = propose(graph, cluster(1e6, device_slower=50.0), "mincut")
    assert set(slow_camera.placement.values()) == {"cloud"}
    assert slow_camera.terms.bytes["cam", "cloud"] == 40_000
    thin_link = propose(graph, cluster(1e4), "mincut")
    assert set(thin_link.placement.values()) == {"cam"}
