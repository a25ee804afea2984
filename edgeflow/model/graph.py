"""A model as data: a DAG of named ops with tensor contracts, and weights by name.

    inputs ──▶ op ──▶ op ──┬──▶ op ──▶ outputs        every op makes one tensor, named after the op
                           └──▶ op ──▲                ops stand in a topological order

A *layer* is an op and the elementwise ops that follow it alone; between these is no place to cut.

Invariant: a Graph runs no code. Its ops are names out of `edgeflow.model.ops`; a manifest that
names anything else does not load (`edgeflow.model.check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.errors import ModelError

Attribute = int | float | str | bool | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
Array = NDArray[Any]

ELEMENTWISE = frozenset(
    ["abs", "add", "batch_norm", "cast", "clamp", "div", "elu", "exp", "gelu", "hardsigmoid",
     "hardswish", "identity", "leaky_relu", "maximum", "minimum", "mul", "neg", "prelu",
     "reciprocal", "relu", "sigmoid", "silu", "sqrt", "sub", "tanh"]
)  # fmt: skip
"""Kinds that map one tensor to another of its shape, element by element, at the price of memory."""
OPEN_MAX = 32 << 20
"""The most an open dimension may be, and so bytes of an encoded picture: a PNG of 12 megapixels, a
JPEG of 60. More would let one frame fill the queues of a small node."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Name, dtype and shape of a tensor; a dimension is an integer, or open: a named symbol that
    each frame fills with a number of its own."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    expected: int = 1
    """What an open dimension counts as where costs are reckoned; `Graph.tensors` knows it."""

    @property
    def is_open(self) -> bool:
        """Has it an open dimension?"""
        return any(isinstance(dim, str) for dim in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor; of one with an open dimension, as expected."""
        count = 1
        for dim in self.shape:
            count *= dim if isinstance(dim, int) else self.expected
        return count * np.dtype(self.dtype).itemsize

    def admits(self, dtype: str, shape: Sequence[int]) -> bool:
        """Is a tensor of this dtype and shape one of the contract?"""
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(
                size == dim or (isinstance(dim, str) and 0 < size <= OPEN_MAX)
                for dim, size in zip(self.shape, shape, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant: its contract and the sha256 of its bytes (C order, little endian)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Op:
    """One step. `inputs` are tensors (of ops or graph inputs), `weights` are weights by role."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: Mapping[str, str]
    attrs: Mapping[str, Attribute]
    output: Contract
    """Its name is the op's name."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a placement speaks of: an op and the cheap elementwise ops joined behind it.

    Named after its first op; its one output is the tensor of its last op.
    """

    name: str
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    """Tensors it reads from outside, each once, in order of first use."""
    output: str


@dataclass(frozen=True)
class Graph:
    """The whole model. `arrays` are the weights at hand; a node with the manifest only has none."""

    name: str
    opset: int
    inputs: tuple[Contract, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    weights: Mapping[str, Weight]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How a picture becomes the input, see `edgeflow.picture`."""
    labels: tuple[str, ...] = ()
    arrays: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def tensors(self) -> dict[str, Contract]:
        """The contract of every input and of every op's output, by name."""
        found = {contract.name: contract for contract in self.inputs}
        found.update((op.name, op.output) for op in self.ops)
        for op in self.ops:
            if op.kind == "decode":
                (name,), size = op.inputs, op.attrs["bytes_expected"]
                assert isinstance(size, int)
                found[name] = replace(found[name], expected=max(size, found[name].expected))
        return found

    @cached_property
    def _pictures(self) -> frozenset[str]:
        return frozenset(op.name for op in self.ops if op.kind == "decode")

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """The ops that read each tensor, by tensor; empty for a tensor nobody reads."""
        found: dict[str, list[str]] = {name: [] for name in self.tensors}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                found[name].append(op.name)
        return {name: tuple(ops) for name, ops in found.items()}

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What a placement speaks of, in a topological order."""
        groups: dict[str, list[Op]] = {}
        last: dict[str, str] = {}
        for op in self.ops:
            first = last.get(op.inputs[0]) if self._joins(op) else None
            if first is None:
                groups[op.name] = [op]
            else:
                groups[first].append(op)
            last[op.name] = first or op.name
        return tuple(
            Layer(name, tuple(ops), tuple(dict.fromkeys(ops[0].inputs)), ops[-1].name)
            for name, ops in groups.items()
        )

    def _joins(self, op: Op) -> bool:
        """Is it an elementwise op and the only reader of a tensor that is no output?

        None joins `decode`: its small picture, before it becomes floats, stays a place to cut.
        """
        if op.kind not in ELEMENTWISE or len(op.inputs) != 1:
            return False
        (source,) = op.inputs
        if source in self._pictures:
            return False
        alone = len(self.consumers[source]) == 1 and source not in self.outputs
        return alone and self.tensors[source].shape == op.output.shape

    @cached_property
    def _layer_by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def layer(self, name: str) -> Layer:
        """The layer of that name; ModelError where there is none."""
        try:
            return self._layer_by_name[name]
        except KeyError:
            raise ModelError(f"{self.name} has no layer {name!r}; see `edgeflow show`") from None

    @cached_property
    def producer(self) -> dict[str, str]:
        """The layer that makes each tensor which some layer or user sees; inputs are not in it."""
        return {layer.output: layer.name for layer in self.layers}

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """The layers that read each tensor which crosses between layers, or enters the graph."""
        found: dict[str, list[str]] = {contract.name: [] for contract in self.inputs}
        for layer in self.layers:
            found[layer.output] = []
            for name in layer.inputs:
                found[name].append(layer.name)
        return {name: tuple(layers) for name, layers in found.items()}

    def boundary(self, layers: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Tensors that enter these layers, and those that leave them (graph outputs included)."""
        inside = [self.layer(name) for name in dict.fromkeys(layers)]
        names = {layer.name for layer in inside}
        made = {layer.output for layer in inside}
        entering = dict.fromkeys(
            name for layer in inside for name in layer.inputs if name not in made
        )
        leaving = tuple(
            layer.output
            for layer in inside
            if layer.output in self.outputs
            or any(reader not in names for reader in self.readers[layer.output])
        )
        return tuple(entering), leaving

    def weights_of(self, layers: Iterable[str]) -> tuple[str, ...]:
        """Names of the weights that these layers need, each once."""
        ops = (op for name in layers for op in self.layer(name).ops)
        return tuple(dict.fromkeys(weight for op in ops for weight in op.weights.values()))

    def crossing(self, position: int) -> tuple[str, ...]:
        """Tensors that `layers[position:]` read and `layers[:position]`, or the user, made."""
        made = {layer.output for layer in self.layers[position:]}
        return tuple(
            dict.fromkeys(
                name
                for layer in self.layers[position:]
                for name in layer.inputs
                if name not in made
            )
        )

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """Positions 0..len(layers)-1 where exactly one tensor crosses: the single-tensor cuts."""
        place = {layer.name: index for index, layer in enumerate(self.layers)}
        crossing = [0] * (len(self.layers) + 1)
        for name, readers in self.readers.items():
            if not readers:
                continue
            born = place[self.producer[name]] + 1 if name in self.producer else 0
            crossing[born] += 1
            crossing[max(place[reader] for reader in readers) + 1] -= 1
        count, found = 0, []
        for position, change in enumerate(crossing[:-1]):
            count += change
            if count == 1:
                found.append(position)
        return tuple(found)
