"""What collects the nodes of an ONNX model while it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edgeflow.model.graph import Array, Contract, Op


@dataclass
class Writer:
    """Nodes in order, and the constants that they read."""

    contracts: Mapping[str, Contract]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    place: str = ""
    """The op that is being written; nodes and tensors of its own are named after it."""

    def node(
        self, kind: str, inputs: Sequence[str], output: str | None = None, **attrs: Any
    ) -> str:
        """Append a node; returns the name of its one output."""
        name = f"{self.place}/{len(self.nodes)}"
        made = output or name
        self.nodes.append(helper.make_node(kind, list(inputs), [made], name=name, **attrs))
        return made

    def constant(self, array: Array) -> str:
        """A constant that nobody else reads; returns its name."""
        name = f"{self.place}/c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Sizes, axes, places: int64, as ONNX has them."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float, dtype: str) -> str:
        """One number, of rank 0."""
        return self.constant(np.array(value, dtype=dtype))

    def chain(self, source: str, *steps: tuple[str, Sequence[str]], output: str) -> None:
        """Nodes behind each other: each reads what the one before made, and then its own."""
        for at, (kind, more) in enumerate(steps):
            last = at == len(steps) - 1
            source = self.node(kind, [source, *more], output if last else None)

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a tensor of the graph, which are known."""
        return tuple(int(dim) for dim in self.contracts[name].shape)


@dataclass(frozen=True, slots=True)
class Job:
    """An op to be written: what it reads is there under these names."""

    op: Op
    inputs: tuple[str, ...]
    weights: Mapping[str, str]
    arrays: Mapping[str, Array]
    """The weights themselves, by role."""
    is_fenced: bool = False
    """Its result must not melt with the `add` that reads it."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """As the op set has them."""
        return self.op.attrs

    @property
    def x(self) -> str:
        """Its first input."""
        return self.inputs[0]

    @property
    def out(self) -> str:
        """The tensor that it makes."""
        return self.op.name

    @property
    def dtype(self) -> str:
        """Of its output, and of inputs and weights but for `cast`."""
        return self.op.output.dtype

    @property
    def made(self) -> tuple[int, ...]:
        """Sizes of its output."""
        return tuple(int(dim) for dim in self.op.output.shape)


Emit = Callable[[Writer, Job], object]
"""Writes an op; what it returns is nobody's business."""

ONNX_DTYPES: Mapping[str, int] = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}
