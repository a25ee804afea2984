"""ONNX nodes to steps, one converter for each kind of node.

A value is the name of a tensor that depends on the input, or a constant array. A node gives one
value, or a list of them, one for each output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edgeflow.draft.steps import Builder
from edgeflow.errors import ModelError
from edgeflow.importer.source import array_of
from edgeflow.model.graph import Array, Attribute

Value = str | Array
Converter = Callable[["Node"], Any]
CONVERTERS: dict[str, Converter] = {}


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Register a converter for these kinds of nodes."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, converter))
        return converter

    return register


@dataclass
class Node:
    """A node with its inputs in hand; one that is left out is None."""

    builder: Builder
    proto: NodeProto
    opset: int
    inputs: Sequence[Value | None]
    attrs: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.attrs = {each.name: _plain(each) for each in self.proto.attribute}

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, text as str."""
        return self.attrs.get(name, default)

    def value(self, index: int) -> Value | None:
        """An input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int = 0) -> str:
        """An input that depends on the user's; ModelError where it is constant."""
        value = self.value(index)
        if not isinstance(value, str):
            raise ModelError(
                f"its input {index} is constant, where edgeflow needs a tensor that depends on "
                "the model's input; compute it before the export"
            )
        return value

    def constant(self, index: int, what: str) -> Array:
        """An input that does not depend on the user's; ModelError where it does."""
        value = self.value(index)
        if value is None or isinstance(value, str):
            why = "is missing" if value is None else "depends on the model's input"
            raise ModelError(f"its {what} {why}; the op set has constant ones only")
        return value

    def optional(self, index: int, what: str) -> Array | None:
        """`constant`, or None where it is left out."""
        return None if self.value(index) is None else self.constant(index, what)

    def ints(self, name: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that newer files give as an input and older ones as an attribute."""
        found = self.optional(index, name)
        if found is None:
            listed = self.attr(name)
            return None if listed is None else tuple(int(item) for item in listed)
        return tuple(int(item) for item in np.ravel(found))

    def shape(self, value: Value | None = None) -> tuple[int, ...]:
        """Of a value, by default the first input."""
        value = self.tensor() if value is None else value
        sizes = self.builder.contracts[value].shape if isinstance(value, str) else value.shape
        return tuple(int(dim) for dim in sizes)

    def dtype(self, value: Value | None = None) -> str:
        """Of a value, by default the first input."""
        value = self.tensor() if value is None else value
        return self.builder.contracts[value].dtype if isinstance(value, str) else value.dtype.name

    def axis(self, default: int, name: str = "axis") -> int:
        """The attribute as an axis of the first input, from 0; ModelError outside it."""
        return within(int(self.attr(name, default)), len(self.shape()))

    def maps(self) -> tuple[int, int]:
        """Rows and columns of the first input; ModelError where it is not (N, C, H, W)."""
        shape = self.shape()
        if len(shape) != 4:
            raise ModelError(f"it works on {len(shape)} dimensions; the op set has (N, C, H, W)")
        return shape[2], shape[3]

    def alone(self) -> None:
        """ModelError where more than the first output is read."""
        if any(self.proto.output[1:]):
            raise ModelError("its further outputs are outside the op set; take them off the file")

    def emit(
        self,
        kind: str,
        inputs: Sequence[str] | None = None,
        weights: Mapping[str, Array | None] | None = None,
        **attrs: Attribute,
    ) -> str:
        """A step over these tensors, by default the first input."""
        return self.builder.emit(kind, inputs or [self.tensor()], attrs, weights)

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """The same elements in another shape; no step where it has it."""
        wanted = tuple(int(dim) for dim in shape)
        same = self.shape(value) == wanted
        return value if same else self.emit("reshape", [value], shape=wanted)

    def number(self, value: float) -> int | float:
        """As the attribute of an op on the first tensor among the inputs must be."""
        tensor = next(each for each in self.inputs if isinstance(each, str))
        return float(value) if self.dtype(tensor).startswith("float") else int(value)


def within(axis: int, rank: int) -> int:
    """An axis counted from 0; ModelError where a tensor of so many dimensions has it not."""
    if not -rank <= axis < rank:
        raise ModelError(f"it names axis {axis} of {rank} dimensions")
    return axis % rank


def scalar(value: Value | None) -> int | float | None:
    """The number of a constant that holds just one finite one; None of all else."""
    if value is None or isinstance(value, str) or value.size != 1 or value.dtype == bool:
        return None
    number: int | float = value.item()
    return number if math.isfinite(number) else None


def _plain(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, TensorProto):
        return array_of(value)
    return value
