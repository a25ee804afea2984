"""Every kind of op: torch makes what the shape rules say, and the inputs stay as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.errors import ModelError
from edgeflow.executors.kernels import MAKERS
from edgeflow.executors.torch import TorchSegment, strides_of
from edgeflow.model.check import check
from edgeflow.model.graph import Array, Contract, Graph, Op, Weight
from edgeflow.model.ops import KINDS, infer

MAP = (1, 4, 6, 7)
CONV = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
DECONV = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (1, 1)}
POOL = {"kernel": (3, 2), "stride": (2, 2), "padding": (1, 1), "ceil_mode": True}
NORM = {"scale": (4,), "shift": (4,)}
NO_ATTRS = [
    "relu",
    "silu",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "exp",
    "sqrt",
    "abs",
    "neg",
    "reciprocal",
    "identity",
]
ARITHMETIC = ["add", "sub", "mul", "div", "maximum"]

CASES: list[tuple[str, dict[str, Any], list[Any], dict[str, Any]]] = [
    *((kind, {}, [MAP], {}) for kind in [*NO_ATTRS, "neg", "reciprocal", "identity"]),
    ("conv2d", CONV, [MAP], {"weight": (5, 4, 3, 3), "bias": (5,)}),
    ("conv2d", {**CONV, "padding": (0, 1, 2, 3), "groups": 2}, [MAP], {"weight": (6, 2, 3, 2)}),
    ("conv2d", {**CONV, "groups": 4, "dilation": (2, 1)}, [MAP], {"weight": (4, 1, 3, 3)}),
    ("conv_transpose2d", {**DECONV, "groups": 2}, [MAP], {"weight": (4, 3, 3, 2), "bias": (6,)}),
    ("linear", {}, [(2, 3, 4)], {"weight": (5, 4), "bias": (5,)}),
    ("matmul", {}, [(2, 3, 4), (4, 5)], {}),
    ("matmul", {}, [(3, 4)], {"left": (5, 3)}),
    ("matmul", {}, [(3, 4)], {"right": (2, 4, 3)}),
    ("max_pool2d", {**POOL, "dilation": (1, 1)}, [MAP], {}),
    ("max_pool2d", {**POOL, "dilation": (2, 1), "ceil_mode": False}, [MAP], {}),
    ("avg_pool2d", {**POOL, "count_include_pad": True}, [MAP], {}),
    ("avg_pool2d", {**POOL, "count_include_pad": False}, [MAP], {}),
    ("avg_pool2d", {**POOL, "count_include_pad": True, "divisor_override": 3}, [MAP], {}),
    ("adaptive_avg_pool2d", {"size": (1, 1)}, [MAP], {}),
    ("adaptive_max_pool2d", {"size": (2, 3)}, [MAP], {}),
    ("upsample_nearest", {"size": (12, 14)}, [MAP], {}),
    ("upsample_nearest", {"size": (9, 10), "scale": (1.5, 1.5)}, [MAP], {}),
    ("upsample_bilinear", {"size": (12, 14), "align_corners": True}, [MAP], {}),
    ("upsample_bilinear", {"size": (9, 10), "align_corners": False}, [MAP], {}),
    *((kind, {}, [MAP, (7,)], {}) for kind in [*ARITHMETIC, "minimum"]),
    *((kind, {"left": 2.0}, [MAP], {}) for kind in ARITHMETIC),
    *((kind, {}, [MAP], {"left": (4, 1, 1)}) for kind in ("sub", "div", "minimum")),
    ("sub", {}, [MAP], {"right": (4, 1, 1)}),
    ("cast", {"dtype": "uint8"}, [MAP], {}),
    ("clamp", {"low": 0.0, "high": 6.0}, [MAP], {}),
    ("clamp", {"low": 0.5}, [MAP], {}),
    ("leaky_relu", {"slope": 0.1}, [MAP], {}),
    ("prelu", {}, [MAP], {"slope": (4,)}),
    ("prelu", {}, [MAP], {"slope": (1,)}),
    ("elu", {"alpha": 0.5}, [MAP], {}),
    ("gelu", {"approximate": "tanh"}, [MAP], {}),
    ("batch_norm", {"eps": 1e-5}, [MAP], {**NORM, "mean": (4,), "var": (4,)}),
    ("group_norm", {"groups": 2, "eps": 1e-5}, [MAP], NORM),
    ("layer_norm", {"dims": 2, "eps": 1e-5}, [MAP], {"scale": (6, 7), "shift": (6, 7)}),
    ("local_response_norm", {"size": 3, "alpha": 1e-4, "beta": 0.75, "k": 2.0}, [MAP], {}),
    ("softmax", {"axis": 1}, [MAP], {}),
    ("log_softmax", {"axis": 3}, [MAP], {}),
    *((kind, {"axes": (2, 3), "keepdim": True}, [MAP], {}) for kind in ("mean", "sum", "amax")),
    ("mean", {"axes": (1,), "keepdim": False}, [MAP], {}),
    ("concat", {"axis": 1}, [MAP, (1, 2, 6, 7), MAP], {}),
    ("reshape", {"shape": (4, 42)}, [MAP], {}),
    ("expand", {"shape": (3, 4, 6, 7)}, [MAP], {}),
    ("permute", {"axes": (0, 2, 3, 1)}, [MAP], {}),
    ("slice", {"axis": 2, "start": 1, "stop": 6, "step": 2}, [MAP], {}),
    ("pad", {"before": (0, 0, 1, 0), "after": (0, 0, 2, 3), "mode": "constant", "value": 1.5},
     [MAP], {}),
    ("pad", {"before": (0, 1, 0, -1), "after": (0, 0, 0, 0), "mode": "constant", "value": 0.0},
     [MAP], {}),
    ("pad", {"before": (0, 0, 1, 2), "after": (0, 0, 1, 0), "mode": "reflect", "value": 0.0},
     [MAP], {}),
    ("pad", {"before": (0, 0, 0, 2), "after": (0, 0, 0, 1), "mode": "replicate", "value": 0.0},
     [MAP], {}),
    ("channel_shuffle", {"groups": 2}, [MAP], {}),
    ("pixel_shuffle", {"factor": 2}, [MAP], {}),
]  # fmt: skip


def one_op(
    kind: str, attrs: dict[str, Any], shapes: list[Any], weights: dict[str, Any], view: bool
) -> tuple[Graph, dict[str, Array]]:
    """The op, behind one that gives it scratch memory (doubling), or a view of the input."""
    rng = np.random.default_rng(0)
    feed = {f"t{at}": rng.uniform(0.5, 2, shape).astype("f4") for at, shape in enumerate(shapes)}
    arrays = {role: rng.uniform(0.5, 2, shape).astype("f4") for role, shape in weights.items()}
    inputs = tuple(Contract(name, "float32", array.shape) for name, array in feed.items())
    known = {role: Contract(role, "float32", shape) for role, shape in weights.items()}
    first = Contract("first", "float32", shapes[0])
    extra = {"shape": tuple(shapes[0])} if view else {"right": 1.0}
    before = Op("first", "reshape" if view else "mul", ("t0",), {}, extra, first)
    sources = ("first", *(f"t{at}" for at in range(1, len(shapes))))
    dtype, shape = infer(kind, attrs, (first, *inputs[1:]), known)
    roles = {role: role for role in weights}
    op = Op("out", kind, sources, roles, attrs, Contract("out", dtype, shape))
    table = {role: Weight(role, "float32", array.shape, "0" * 64) for role, array in arrays.items()}
    graph = Graph("one", 1, inputs, ("out",), (before, op), table, arrays=arrays)
    check(graph)
    return graph, feed


def segment(graph: Graph) -> TorchSegment:
    return TorchSegment(graph, [layer.name for layer in graph.layers], graph.arrays, threads=1)


def test_every_kind_has_a_kernel_and_a_case() -> None:
    assert set(MAKERS) == set(KINDS)
    assert {case[0] for case in CASES} == set(KINDS) - {"decode"}, (
        "decode: tests/engines/test_decode"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_torch_makes_what_the_shape_rules_say(case: Any) -> None:
    bits = set()
    for view in (True, False):
        kind, attrs, shapes, weights = case
        graph, feed = one_op(kind, attrs, shapes, weights, view=view)
        before = {name: array.copy() for name, array in feed.items()}
        for array in feed.values():
            array.flags.writeable = False
        out = segment(graph).run(feed)["out"]
        assert (out.dtype.name, out.shape) == (
            graph.tensors["out"].dtype,
            graph.tensors["out"].shape,
        )
        assert out.flags.c_contiguous
        bits.add(out.tobytes())
        for name, array in feed.items():
            np.testing.assert_array_equal(array, before[name])
    assert len(bits) == 1, "in place and not in place differ"


@given(
    size=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_pools_and_convolutions_agree_with_torch_on_every_size(
    size: int, kernel: int, stride: int, pad: int, dilation: int, ceil_mode: bool
) -> None:
    x = torch.zeros(1, 1, size, 8)
    attrs: dict[str, Any] = {
        "kernel": (kernel, 1),
        "stride": (stride, 1),
        "padding": (pad, 0),
        "dilation": (dilation, 1),
        "ceil_mode": ceil_mode,
    }
    contract = Contract("x", "float32", tuple(x.shape))
    try:
        theirs = tuple(torch.max_pool2d(x, *list(attrs.values())).shape)
    except RuntimeError:
        theirs = None
    try:
        ours = infer("max_pool2d", attrs, (contract,), {})[1]
    except ValueError:
        ours = None
    assert ours == theirs


def test_layers_run_alone_are_the_layers_run_together() -> None:
    graph, feed = one_op(*CASES[0], view=False)
    whole = segment(graph).run(feed)["out"]
    assert [layer.name for layer in graph.layers] == ["first"]
    assert whole.tobytes() == segment(graph).run(feed)["out"].tobytes()


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        ({}, "input t0 is missing"),
        ({"t0": np.zeros((1, 4, 6, 8), dtype="f4")}, "the model takes"),
        ({"t0": np.zeros(MAP, dtype="f8")}, "the model takes"),
    ],
)
def test_an_input_that_does_not_fit_is_named(feed: dict[str, Array], said: str) -> None:
    graph, _ = one_op(*CASES[0], view=False)
    with pytest.raises(ModelError, match=said):
        segment(graph).run(feed)


def test_a_weight_that_is_not_at_hand_is_named() -> None:
    graph, _ = one_op("prelu", {}, [MAP], {"slope": (4,)}, view=False)
    with pytest.raises(ModelError, match="weight slope is not at hand"):
        TorchSegment(graph, [layer.name for layer in graph.layers], {}, threads=1)


def test_a_tensor_that_is_read_again_is_not_written_over() -> None:
    shape = (1, 4)
    ops = (
        Op("a", "softmax", ("x",), {}, {"axis": 1}, Contract("a", "float32", shape)),
        Op("v", "reshape", ("a",), {}, {"shape": shape}, Contract("v", "float32", shape)),
        Op("r", "neg", ("v",), {}, {}, Contract("r", "float32", shape)),
        Op("o", "add", ("a", "r"), {}, {}, Contract("o", "float32", shape)),
    )
    graph = Graph("g", 1, (Contract("x", "float32", shape),), ("o",), ops, {})
    out = segment(graph).run({"x": np.arange(4, dtype="f4").reshape(shape)})["o"]
    np.testing.assert_array_equal(out, np.zeros(shape))


def test_an_output_is_not_written_over() -> None:
    shape = (1, 4)
    ops = (
        Op("a", "softmax", ("x",), {}, {"axis": 1}, Contract("a", "float32", shape)),
        Op("v", "reshape", ("a",), {}, {"shape": shape}, Contract("v", "float32", shape)),
        Op("r", "neg", ("v",), {}, {}, Contract("r", "float32", shape)),
    )
    graph = Graph("g", 1, (Contract("x", "float32", shape),), ("a", "r"), ops, {})
    made = segment(graph).run({"x": np.zeros(shape, dtype="f4")})
    np.testing.assert_array_equal(made["a"], np.full(shape, 0.25))
    np.testing.assert_array_equal(made["r"], np.full(shape, -0.25))


def test_inputs_may_have_any_strides() -> None:
    graph, feed = one_op(*CASES[12], view=True)
    straight = segment(graph).run(feed)["out"]
    turned = np.asfortranarray(feed["t0"])
    assert turned.strides != feed["t0"].strides
    assert segment(graph).run({**feed, "t0": turned})["out"].tobytes() == straight.tobytes()


def test_strides_of_c_order() -> None:
    assert strides_of((2, 1, 3)) == (3, 3, 1)
    assert strides_of(()) == ()
