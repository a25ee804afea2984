"""Some layers of a Graph as an ONNX model.

    layers + arrays ──▶ bytes of a model without weights, and the weights by name

Weights stay outside of the bytes, where nobody copies them and protobuf's 2 GB do not count.

Invariant: the model is ONNX's own operators and nothing else, of one version of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from edgeflow.errors import ModelError
from edgeflow.executors.onnx.table import emit
from edgeflow.executors.onnx.writer import ONNX_DTYPES, Job, Writer
from edgeflow.model.graph import Array, Contract, Graph, Op

OPSET = 20
"""ONNX's: the first that has Gelu. IR is what came with it."""
IR_VERSION = 9
INLINE_BYTES = 128
"""Constants up to this size are part of the model: onnxruntime reads shapes and axes only there."""


_STRAIGHT = frozenset(["identity", "batch_norm", "mul", "div", "add", "sub"])
"""What onnxruntime may fold into the convolution before it."""


@dataclass(frozen=True)
class OnnxModel:
    """A model, and what belongs into it."""

    body: bytes
    weights: Mapping[str, Array]
    """Of those that are declared in `body` as lying outside."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def write_model(
    graph: Graph,
    ops: Sequence[Op],
    arrays: Mapping[str, Array],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> OnnxModel:
    """These ops, which stand in order, as a model; ModelError where a weight is not at hand."""
    writer = Writer(graph.tensors)
    used: dict[str, Array] = {}
    fenced = _fenced(ops)
    for op in ops:
        own = {role: _weight(arrays, name) for role, name in op.weights.items()}
        emit(writer, Job(op, op.inputs, op.weights, own, op.name in fenced))
        used.update((name, own[role]) for role, name in op.weights.items())
    read = {name for node in writer.nodes for name in node.input}
    constants = {**{name: used[name] for name in used if name in read}, **writer.constants}
    body = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "segment",
            [_value(graph.tensors[name]) for name in inputs],
            [_value(graph.tensors[name]) for name in outputs],
            [_initializer(name, array) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    outside = {name: array for name, array in constants.items() if array.nbytes > INLINE_BYTES}
    return OnnxModel(body.SerializeToString(), outside, tuple(inputs), tuple(outputs))


def _fenced(ops: Sequence[Op]) -> frozenset[str]:
    """Convolutions whose result is added to another tensor as it is, or only scaled and shifted.

    onnxruntime would begin their sums with the other tensor where it sees both, and not where a cut
    lies between them.
    """
    made = {op.name: op for op in ops}
    found = set()
    for op in ops:
        if op.kind == "add" and len(op.inputs) == 2:
            for name in op.inputs:
                while (source := made.get(name)) and source.kind in _STRAIGHT:
                    name = source.inputs[0]
                if source and source.kind == "conv2d":
                    found.add(name)
    return frozenset(found)


def _weight(arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise ModelError(f"weight {name} is not at hand")
    return arrays[name]


def _value(contract: Contract) -> ValueInfoProto:
    shape = [int(dim) for dim in contract.shape]
    return helper.make_tensor_value_info(contract.name, ONNX_DTYPES[contract.dtype], shape)


def _initializer(name: str, array: Array) -> TensorProto:
    if array.nbytes <= INLINE_BYTES:
        return numpy_helper.from_array(np.asarray(array), name)
    tensor = TensorProto(
        name=name, dims=array.shape, data_type=ONNX_DTYPES[array.dtype.name],
        data_location=TensorProto.EXTERNAL,
    )  # fmt: skip
    tensor.external_data.add(key="location", value="given")
    return tensor
