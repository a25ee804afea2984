"""The op set: what it refuses, what follows from the inputs, what an op costs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgeflow.model.graph import ELEMENTWISE, Contract, Graph, Op, Weight
from edgeflow.model.ops import KINDS, check_schema, infer, op_bytes, op_class, op_flops

CONV = {"stride": (2, 2), "padding": (0, 1, 2, 1), "dilation": (1, 1), "groups": 1}
POOL = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False}


def shape_of(kind: str, attrs: dict[str, Any], *inputs: Any, **weights: Any) -> tuple[int, ...]:
    tensors = tuple(Contract("t", "float32", shape) for shape in inputs)
    constants = {role: Contract(role, "float32", shape) for role, shape in weights.items()}
    return infer(kind, attrs, tensors, constants)[1]


def an_op(kind: str, attrs: dict[str, Any], inputs: int = 1, **weights: str) -> Op:
    sources = tuple(f"t{index}" for index in range(inputs))
    return Op("o", kind, sources, weights, attrs, Contract("o", "float32", (1,)))


def test_a_convolution_pads_each_side_for_itself() -> None:
    shape = shape_of("conv2d", CONV, (1, 3, 8, 9), weight=(5, 3, 3, 3), bias=(5,))
    assert shape == (1, 5, 4, 5)


def test_pools_hang_over_only_with_ceil_mode() -> None:
    attrs = {**POOL, "dilation": (1, 1)}
    assert shape_of("max_pool2d", attrs, (1, 2, 6, 7)) == (1, 2, 3, 4)
    ceil = {**attrs, "ceil_mode": True}
    assert shape_of("max_pool2d", ceil, (1, 2, 6, 7)) == (1, 2, 4, 4)
    no_pad = {**ceil, "padding": (0, 0), "kernel": (1, 1)}
    assert shape_of("max_pool2d", no_pad, (1, 2, 6, 7)) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("kind", "attrs", "inputs", "weights", "said"),
    [
        ("conv2d", CONV, [(1, 4, 8, 8)], {"weight": (5, 3, 3, 3)}, "does not fit 4 channels"),
        ("conv2d", CONV, [(1, 3, 8, 8)], {"weight": (5, 3, 3, 3), "bias": (4,)}, "bias"),
        ("conv2d", CONV, [(1, 3, 1, 1)], {"weight": (5, 3, 9, 9)}, "window of 9"),
        ("conv2d", {**CONV, "groups": 0}, [(1, 3, 8, 8)], {"weight": (5, 3, 3, 3)}, "groups"),
        ("conv2d", {**CONV, "stride": (0, 1)}, [(1, 3, 8, 8)], {"weight": (5, 3, 3, 3)}, ">= 1"),
        ("linear", {}, [(1, 4)], {"weight": (2, 3)}, "does not fit"),
        ("reshape", {"shape": (2, 3)}, [(1, 4)], {}, "does not reshape"),
        ("reshape", {"shape": (-2, -2)}, [(1, 4)], {}, "negative"),
        ("permute", {"axes": (0, 0)}, [(1, 4)], {}, "do not permute"),
        ("slice", {"axis": 1, "start": 0, "stop": 5, "step": 1}, [(1, 4)], {}, "of"),
        ("concat", {"axis": 1}, [(1, 4), (2, 4)], {}, "do not fit along"),
        ("add", {}, [(1, 4), (1, 3)], {}, "do not fit together"),
        ("add", {"right": 1.0}, [(1, 4), (1, 4)], {}, "two operands"),
        ("add", {}, [(1, 4)], {}, "two operands"),
        ("matmul", {}, [(2, 3), (2, 3)], {}, "does not multiply"),
        ("channel_shuffle", {"groups": 3}, [(1, 4, 2, 2)], {}, "do not divide"),
        ("softmax", {"axis": -1}, [(1, 4)], {}, "axis -1"),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: str, attrs: dict[str, Any], inputs: list[Any], weights: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        shape_of(kind, attrs, *inputs, **weights)


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (an_op("exec", {}), "unknown op 'exec'"),
        (an_op("relu", {"slope": 1.0}), "unknown attribute 'slope'"),
        (an_op("softmax", {}), "attribute 'axis' is missing"),
        (an_op("softmax", {"axis": True}), "is not int"),
        (an_op("softmax", {"axis": 1.0}), "is not int"),
        (an_op("elu", {"alpha": math.inf}), "is not float"),
        (an_op("elu", {"alpha": math.nan}), "is not float"),
        (an_op("elu", {"alpha": 1}), "is not float"),
        (an_op("softmax", {"axis": 1 << 80}), "is not int"),
        (an_op("permute", {"axes": (0, 1.0)}), "is not ints"),
        (an_op("adaptive_avg_pool2d", {"size": (1, 1, 1)}), "is not ints2"),
        (an_op("cast", {"dtype": "complex64"}), "none of its choices"),
        (an_op("linear", {}), "weight 'weight' is missing"),
        (an_op("relu", {}, bias="b"), "unknown weight 'bias'"),
        (an_op("relu", {}, inputs=2), "2 inputs"),
        (an_op("concat", {"axis": 0}, inputs=0), "0 inputs"),
    ],
)
def test_what_is_not_of_the_set_is_refused(op: Op, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_schema(op)


def test_dtypes_change_by_cast_alone() -> None:
    inputs = (Contract("a", "uint8", (1,)), Contract("b", "float32", (1,)))
    with pytest.raises(ValueError, match="a cast is missing"):
        infer("add", {}, inputs, {})
    assert infer("cast", {"dtype": "float32"}, inputs[:1], {}) == ("float32", (1,))


def test_arithmetic_of_floats_does_not_take_integers() -> None:
    with pytest.raises(ValueError, match="takes floats, not uint8"):
        infer("softmax", {"axis": 0}, (Contract("a", "uint8", (3,)),), {})
    with pytest.raises(ValueError, match="does not take bool"):
        infer("add", {"right": 1}, (Contract("a", "bool", (3,)),), {})
    assert infer("add", {"right": 1}, (Contract("a", "int64", (3,)),), {}) == ("int64", (3,))


def test_pads_that_torch_lacks_are_refused() -> None:
    attrs: dict[str, Any] = {
        "before": (0, 0, 0, 4),
        "after": (0,) * 4,
        "mode": "reflect",
        "value": 0,
    }
    with pytest.raises(ValueError, match="too small to reflect"):
        shape_of("pad", attrs, (1, 1, 4, 4))
    with pytest.raises(ValueError, match="rows and columns"):
        shape_of("pad", {**attrs, "before": (1, 0, 0, 0)}, (1, 1, 4, 4))


def test_an_open_dimension_does_not_pass_an_op() -> None:
    with pytest.raises(ValueError, match="open dimension 'batch'"):
        infer("relu", {}, (Contract("a", "float32", ("batch", 3)),), {})


def test_every_joined_kind_is_a_kind() -> None:
    assert set(KINDS) >= ELEMENTWISE


def test_flops_bytes_and_class_of_a_convolution() -> None:
    def conv(groups: int, channels: int) -> tuple[Op, Graph]:
        attrs: dict[str, Any] = {**CONV, "stride": (1, 1), "padding": (1,) * 4, "groups": groups}
        out = Contract("o", "float32", (1, 8, 4, 4))
        op = Op("o", "conv2d", ("x",), {"weight": "w", "bias": "b"}, attrs, out)
        weights = {
            "w": Weight("w", "float32", (8, channels // groups, 3, 3), "0" * 64),
            "b": Weight("b", "float32", (8,), "0" * 64),
        }
        x = Contract("x", "float32", (1, channels, 4, 4))
        return op, Graph("g", 1, (x,), ("o",), (op,), weights)

    op, graph = conv(1, 4)
    assert op_flops(op, graph) == 8 * 16 * (2 * 4 * 9 + 1)
    assert op_bytes(op, graph) == 4 * (4 * 16 + 8 * 4 * 9 + 8 + 8 * 16)
    assert op_class(op, graph) == "conv"
    assert op_class(*conv(8, 8)) == "depthwise"
    assert op_class(*conv(2, 8)) == "conv"
