"""An ONNX file as a model in memory: read as data, the weights beside it too, and nothing run.

    file ──protobuf──▶ model ──functions inlined──▶ nodes of the standard ──▶ external weights

Invariant: no byte is read outside the folder of the file, and none that its size does not cover.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

from edgeflow.errors import ModelError, UsageError
from edgeflow.importer.functions import inlined
from edgeflow.model.graph import Array

FILE_BYTES_MAX = (1 << 31) - 1
"""Where protobuf ends; larger models keep their weights in files beside them."""
NODES_MAX = 100_000
"""Of a file, constants included. A network of 1,000 layers has 5,000."""
OPSETS = (9, 28)
"""Of the standard, whose meaning the converters know."""
DOMAINS = ("", "ai.onnx")
SHARING_MAX = 4
"""How often, on average, the bytes beside a model may be read: some weights stand twice in it."""

_DTYPES = frozenset(
    ["float16", "float32", "float64", "bool"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


def read_model(path: Path) -> ModelProto:
    """The model, without functions of its own, every weight in it.

    UsageError where there is no file; ModelError where it is no whole ONNX model, of an operator
    set that we do not know, or its weights are not where they should be.
    """
    model = _parse(path)
    _check_opset(path, model)
    model = inlined(model, NODES_MAX)
    if len(model.graph.node) > NODES_MAX:
        raise ModelError(f"{path} has {len(model.graph.node)} nodes, at most {NODES_MAX} are read")
    if model.graph.sparse_initializer:
        raise ModelError(f"{path} has sparse weights; save it with dense ones")
    _read_external(model, path.parent)
    return model


def opset_of(model: ModelProto) -> int:
    """The version of the standard operators, 0 where none is named."""
    versions = [each.version for each in model.opset_import if each.domain in DOMAINS]
    return max(versions, default=0)


def array_of(tensor: TensorProto) -> Array:
    """A constant of the file as an array of our own; ModelError where its bytes do not fit."""
    name = tensor.name or "a constant"
    dtype = dtype_of(tensor.data_type)
    if dtype not in _DTYPES:
        raise ModelError(f"{name} holds {dtype}, which no op of ours takes; convert it before")
    try:
        return np.array(numpy_helper.to_array(tensor))
    except Exception as error:
        raise ModelError(
            f"{name}: its bytes are no {dtype} of {tuple(tensor.dims)} ({error}); "
            "the file is damaged, fetch or export it again"
        ) from None


def dtype_of(number: int) -> str:
    """`float32` of the 1 that ONNX writes; `string`, `bfloat16`, … for what is not ours."""
    try:
        name: str = TensorProto.DataType.Name(number).lower()
    except ValueError:
        return f"type {number}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _parse(path: Path) -> ModelProto:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UsageError(f"{path} is no file")
        if size > FILE_BYTES_MAX:
            raise ModelError(
                f"{path} has {size} bytes, an ONNX file ends at {FILE_BYTES_MAX}: save it with its "
                "weights beside it (onnx.save_model(…, save_as_external_data=True))"
            )
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        model = ModelProto()
        model.ParseFromString(data)
    except Exception:  # each of protobuf's engines has an error of its own
        raise ModelError(f"{path} {_DAMAGED}") from None
    if not model.HasField("graph") or not model.ir_version or not model.graph.output:
        raise ModelError(f"{path} {_DAMAGED}")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise ModelError(f"{path} {_DAMAGED}")
    return model


def _texts(model: ModelProto) -> Iterator[str]:
    """Every name that is used later: protobuf hands over what is no UTF-8 as bytes."""
    graph = model.graph
    for node in [*graph.node, *(node for each in model.functions for node in each.node)]:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for info in [*graph.input, *graph.output, *graph.value_info]:
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for tensor in _tensors(model):
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for each in model.functions:
        yield from (each.name, each.domain)
    yield from (each.domain for each in model.opset_import)


_DAMAGED = "is no whole ONNX file; was it cut off, or is it of another kind? Fetch it again"


def _check_opset(path: Path, model: ModelProto) -> None:
    version = opset_of(model)
    low, high = OPSETS[0], min(OPSETS[1], onnx.defs.onnx_opset_version())
    if not low <= version <= high:
        raise ModelError(
            f"{path} uses operator set {version}, {low} to {high} are read: export it again with "
            "one of these, or convert it (onnx.version_converter)"
        )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t


def _read_external(model: ModelProto, folder: Path) -> None:
    left: dict[Path, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            fields = {entry.key: entry.value for entry in tensor.external_data}
            path = _inside(folder, fields.get("location", ""), tensor.name)
            data = _bytes_at(path, fields, tensor)
            left[path] = left.get(path, SHARING_MAX * path.stat().st_size) - len(data)
            if left[path] < 0:
                raise ModelError(f"the weights in {path} are used more than {SHARING_MAX} times")
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = data


def _inside(folder: Path, location: str, name: str) -> Path:
    """The file that `location` names; ModelError unless it lies in the folder, no link between."""
    parts = PurePosixPath(location).parts
    odd = not parts or "\0" in location or "\\" in location or ".." in parts
    if odd or PurePosixPath(location).is_absolute():
        raise ModelError(
            f"weight {name} is said to lie in {location[:200]!r}: only files in the folder of the "
            "model, or below it, are read"
        )
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise ModelError(f"weight {name}: {path} is a link, which is not followed; copy it")
    if not path.is_file():
        raise ModelError(f"weight {name} is missing: there is no file {path}; fetch it too")
    return path


def _bytes_at(path: Path, fields: dict[str, str], tensor: TensorProto) -> bytes:
    """Exactly the bytes that dtype and sizes ask for."""
    try:
        itemsize = np.dtype(dtype_of(tensor.data_type)).itemsize
        offset, length = int(fields.get("offset") or 0), int(fields.get("length") or -1)
    except (TypeError, ValueError):
        raise ModelError(f"weight {tensor.name}: its dtype or its place is none") from None
    if length < 0:
        length = path.stat().st_size - offset
    needed = math.prod(tensor.dims) * itemsize
    if offset < 0 or length != needed or offset + length > path.stat().st_size:
        raise ModelError(
            f"weight {tensor.name} of {tuple(tensor.dims)} needs {needed} bytes, {path} has no "
            f"{length} at {offset}; is it cut off, or of another model? Fetch both again"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
