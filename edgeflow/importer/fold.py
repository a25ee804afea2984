"""What does not depend on a user's input is computed here and now: sizes, indices, joined weights.

    Shape ─▶ Gather ─▶ Mul ─▶ Concat ─▶ the numbers that a Reshape asks for

One node at a time, by onnx's own reference in numpy, and only ops named in `SIZES`.

Invariant: how large a result becomes is known before it is made, and all of them together stay
within a budget: a small file makes no large constant.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto
from onnx.reference import ReferenceEvaluator

from edgeflow.errors import ModelError
from edgeflow.model.graph import Array

BUDGET_BYTES = 64 << 20
"""Of all results, beside four times what the file itself holds."""

_Inputs = Sequence[Array | None]


def _given(inputs: _Inputs) -> list[Array]:
    return [each for each in inputs if each is not None]


def _no_more(inputs: _Inputs) -> int:
    """At most as many elements as all inputs together."""
    return sum(each.size for each in _given(inputs)) + 1


def _broadcast(inputs: _Inputs) -> int:
    shapes = [each.shape for each in _given(inputs)]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return math.prod(max(dims) for dims in zip(*padded, strict=True))


def _wanted(array: Array | None) -> list[int]:
    return [] if array is None else [int(dim) for dim in np.ravel(array)]


def _gather(inputs: _Inputs) -> int:
    data, indices = _given(inputs)[:2]
    return data.size * max(indices.size, 1)


def _range(inputs: _Inputs) -> int:
    start, limit, step = (float(each.item()) for each in _given(inputs)[:3])
    return max(0, math.ceil((limit - start) / step))


def _expand(inputs: _Inputs) -> int:
    data, shape = _given(inputs)[:2]
    return max(data.size, 1) * math.prod(max(dim, 1) for dim in _wanted(shape))


def _pad(inputs: _Inputs) -> int:
    data, more = _given(inputs)[0], sum(abs(each) for each in _wanted(inputs[1]))
    return math.prod(dim + more for dim in data.shape)


SIZES: dict[str, Callable[[_Inputs], int]] = {
    **dict.fromkeys(
        [
            "Identity",
            "Cast",
            "CastLike",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Transpose",
            "Slice",
            "Split",
            "Concat",
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "Not",
            "Abs",
            "Neg",
            "Sqrt",
            "Exp",
            "Log",
            "Reciprocal",
            "Floor",
            "Ceil",
            "Round",
            "Sign",
            "Relu",
            "Sigmoid",
            "Tanh",
            "Erf",
            "Clip",
            "Softmax",
            "Trilu",
        ],
        _no_more,
    ),
    **dict.fromkeys(
        [
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Mod",
            "Pow",
            "Min",
            "Max",
            "Sum",
            "Mean",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "And",
            "Or",
            "Xor",
            "Where",
        ],
        _broadcast,
    ),
    "Gather": _gather,
    "Range": _range,
    "ConstantOfShape": lambda inputs: math.prod(_wanted(inputs[0])),
    "Expand": _expand,
    "Tile": _expand,
    "Pad": _pad,
}
"""How many elements a result has, at most, for each op that may be computed."""


class Folder:
    """Computes constants; what they may take in bytes is given once, for all."""

    def __init__(self, opset: int, file_bytes: int) -> None:
        self.opset = opset
        self.left = BUDGET_BYTES + 4 * file_bytes

    def run(self, node: NodeProto, inputs: _Inputs) -> list[Array]:
        """The node's outputs; ModelError where they would be too large or it fails."""
        given = _given(inputs)
        itemsize = max([8, *(each.itemsize for each in given)])
        try:
            needed = SIZES[node.op_type](inputs) * itemsize if given else 0
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ModelError(f"its inputs do not fit: {error}") from None
        if needed > self.left:
            raise ModelError(f"its constant result may take {needed} bytes, too many for this file")
        made = self._evaluate(node, inputs)
        self.left -= sum(each.nbytes for each in made)
        return made

    def _evaluate(self, node: NodeProto, inputs: _Inputs) -> list[Array]:
        names = [f"i{index}" if each is not None else "" for index, each in enumerate(inputs)]
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(names)
        copy.output.extend(f"o{index}" for index in range(len(node.output)))
        copy.domain = ""
        feed: dict[str, Any] = dict(zip(names, inputs, strict=True))
        feed.pop("", None)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evaluator = ReferenceEvaluator(copy, opsets={"": self.opset})
                return [np.array(each) for each in evaluator.run(None, feed)]
        except Exception as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(f"its constant inputs do not fit: {text[0]}") from None
