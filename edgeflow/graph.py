"""A model as data: a DAG of named ops with tensor contracts, and weights by name.

    inputs ──▶ op ──▶ op ──┬──▶ op ──▶ outputs        every op makes one tensor, named after the op
                           └──▶ op ──▲                ops stand in a topological order

Invariant: a Graph runs no code. Its ops are names out of `edgeflow.ops`; a manifest that names
anything else does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Attribute = int | float | str | bool | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Contract:
    """Name, dtype and shape of a tensor; a dimension is an integer or a named symbol."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor; a symbol counts as 1."""
        count = 1
        for dim in self.shape:
            count *= dim if isinstance(dim, int) else 1
        return count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant of the model: its contract and the sha256 of its bytes (C order, little endian)."""

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
        return found
