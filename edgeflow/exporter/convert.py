"""ATen nodes to steps, one converter for each kind of node.

A value is the name of a tensor, a constant torch.Tensor, a list of values, or a plain number.
A node whose tensors are all constant is computed here and now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgeflow.draft.steps import Builder
from edgeflow.errors import ModelError
from edgeflow.model.graph import Array, Attribute

aten: Any = torch.ops.aten
Converter = Callable[["Call"], Any]
CONVERTERS: dict[Any, Converter] = {}


@dataclass
class Call:
    """One node with its arguments by name, defaults filled in."""

    builder: Builder
    args: dict[str, Any]
    values: Any
    """What torch says the node makes: fake tensors with shape and dtype."""

    def __getitem__(self, name: str) -> Any:
        return self.args[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the node's one output."""
        return tuple(int(dim) for dim in self.values.shape)

    @property
    def dtype(self) -> str:
        """Of the node's one output."""
        return dtype_name(self.values.dtype)

    def rank(self, name: str) -> int:
        """Dimensions of an argument that is a tensor."""
        return len(self.builder.contracts[self[name]].shape)

    def axis(self, name: str, of: str = "self") -> int:
        """A dimension argument, counted from 0."""
        return int(self[name]) % max(self.rank(of), 1)

    def axes(self, name: str, of: str = "self") -> tuple[int, ...]:
        """Dimension arguments counted from 0; none means all."""
        rank = self.rank(of)
        given = self[name]
        if given is None or given == []:
            return tuple(range(rank))
        return tuple(int(axis) % rank for axis in ([given] if isinstance(given, int) else given))

    def emit(
        self,
        kind: str,
        inputs: Sequence[Any],
        weights: dict[str, Any] | None = None,
        **attrs: Attribute,
    ) -> str:
        """A step with constant weights; ModelError where an input is constant."""
        for value in inputs:
            if not isinstance(value, str):
                raise ModelError(
                    f"{self.builder.place or kind}: a constant stands where {kind} needs a tensor "
                    "that depends on the input; compute it in the module before the export"
                )
        arrays = {role: array(weight) for role, weight in (weights or {}).items()}
        return self.builder.emit(kind, inputs, attrs, arrays)

    def cast(self, value: Any, dtype: str) -> Any:
        """The value as this dtype: a cast where it is another."""
        if isinstance(value, torch.Tensor):
            return value.to(getattr(torch, dtype))
        if self.builder.contracts[value].dtype == dtype:
            return value
        place = self.builder.place
        self.builder.place = f"{place}.cast"
        try:
            return self.emit("cast", [value], dtype=dtype)
        finally:
            self.builder.place = place


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` of torch.float32."""
    return str(dtype).removeprefix("torch.")


def array(value: torch.Tensor | None) -> Array | None:
    """A constant as a numpy array of its own."""
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        raise ModelError("a weight depends on the input; the op set has constant weights only")
    return np.array(value.detach().cpu().contiguous().numpy())


def pair(value: Any) -> tuple[int, int]:
    """(rows, columns) of a number or a list of one or two."""
    items = [int(item) for item in (value if isinstance(value, list | tuple) else [value])]
    return items[0], items[-1]


def converts(*targets: Any) -> Callable[[Converter], Converter]:
    """Register a converter for these ATen overloads."""

    def register(converter: Converter) -> Converter:
        for target in targets:
            CONVERTERS[target] = converter
        return converter

    return register


def call_of(builder: Builder, node: torch.fx.Node, args: Sequence[Any], kwargs: Any) -> Call:
    """Bind positional and keyword arguments to the names in the overload's schema."""
    found: dict[str, Any] = {}
    schema = node.target._schema  # type: ignore[union-attr]
    for index, argument in enumerate(schema.arguments):
        if index < len(args):
            found[argument.name] = args[index]
        elif argument.name in kwargs:
            found[argument.name] = kwargs[argument.name]
        else:
            found[argument.name] = argument.default_value
    return Call(builder, found, node.meta.get("val"))
