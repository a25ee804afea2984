"""A model on disk: one safetensors file, weights and one metadata key that holds the manifest.

    8 bytes: length of header │ header: JSON, "__metadata__": {"edgeflow": manifest} │ weights

The file is read here by hand: safetensors does not notice a flipped byte, and the store serves each
weight out of the file by its offset.

Invariant: arrays that `load` returns have the sha256 that the manifest says; no code is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec import Struct
from safetensors.numpy import save_file

from edgeflow.errors import ModelError
from edgeflow.model import manifest
from edgeflow.model.graph import Array, Graph, Weight

METADATA_KEY = "edgeflow"
HEADER_BYTES_MAX = 100_000_000
"""As safetensors itself has it."""

DTYPE_NAMES: Mapping[str, str] = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "BOOL": "bool",
}


class _Slot(Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def array_sha256(array: Array) -> str:
    """sha256 of an array's bytes in C order, little endian."""
    little: Array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return hashlib.sha256(little.reshape(-1).data).hexdigest()


def save(graph: Graph, path: str | os.PathLike[str]) -> str:
    """Write the model, whole or not at all; returns the digest that names it.

    ModelError where a weight is not at hand or not what the graph says.
    """
    text = manifest.encode(graph)
    arrays = {name: _checked(graph, weight) for name, weight in graph.weights.items()}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        save_file(arrays, temporary, metadata={METADATA_KEY: text.decode()})
        Path(temporary).chmod(0o644)
        with Path(temporary).open("rb") as file:
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
    return manifest.digest(text)


def _checked(graph: Graph, weight: Weight) -> Array:
    array = graph.arrays.get(weight.name)
    if array is None:
        raise ModelError(
            f"weight {weight.name} of {graph.name} is not at hand; load the model whole"
        )
    if array_sha256(array) != weight.sha256:
        raise ModelError(f"weight {weight.name} changed since the export; export the model again")
    return np.asarray(array, order="C")


def load(path: str | os.PathLike[str]) -> Graph:
    """The model with all its weights, verified; they are read-only arrays in memory.

    ModelError where the file is missing, truncated, changed or no model of ours.
    """
    with _open(path) as file:
        text, slots, start = _read_header(file, path)
        graph = manifest.decode(text)
        arrays = {}
        for name, weight in graph.weights.items():
            begin, _ = _fit(slots, weight, path)
            file.seek(start + begin)
            arrays[name] = _array(file.read(weight.nbytes), weight, path)
    return replace(graph, arrays=arrays)


def index(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The manifest, and where each weight lies: {sha256: (offset, bytes)}. Weights are not read."""
    with _open(path) as file:
        text, slots, start = _read_header(file, path)
    graph = manifest.decode(text)
    found = {}
    for weight in graph.weights.values():
        begin, size = _fit(slots, weight, path)
        found[weight.sha256] = (start + begin, size)
    return text, found


def array_of(data: bytes | memoryview, weight: Weight) -> Array:
    """A weight out of its bytes, read-only, not verified; ModelError where the size is wrong."""
    if len(data) != weight.nbytes:
        raise ModelError(f"weight {weight.name}: {len(data)} bytes, not {weight.nbytes}")
    flat: Array = np.frombuffer(data, dtype=np.dtype(weight.dtype).newbyteorder("<"))
    array = flat.reshape(weight.shape)
    array.flags.writeable = False
    return array


def _array(data: bytes, weight: Weight, path: str | os.PathLike[str]) -> Array:
    if hashlib.sha256(data).hexdigest() != weight.sha256:
        raise ModelError(f"{path}: weight {weight.name} is damaged (sha256); fetch the file again")
    return array_of(data, weight)


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from None


def _read_header(
    file: BinaryIO, path: str | os.PathLike[str]
) -> tuple[bytes, dict[str, _Slot], int]:
    """Manifest, slots by weight name, and where the weights begin; the file's size fits them."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > HEADER_BYTES_MAX:
        raise ModelError(f"{path} is no model file; make one with `edgeflow export`")
    if length > size - 8:
        raise ModelError(f"{path} is truncated within its header, or no model file")
    try:
        header: dict[str, Any] = msgspec.json.decode(file.read(length), type=dict[str, Any])
        metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
        slots = msgspec.convert(header, dict[str, _Slot])
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} is no model file: {error}") from None
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path} holds tensors but no model; make one with `edgeflow export`")
    end = max((slot.data_offsets[1] for slot in slots.values()), default=0)
    if 8 + length + end != size:
        raise ModelError(f"{path} is truncated: {size} bytes, {8 + length + end} expected")
    return metadata[METADATA_KEY].encode(), slots, 8 + length


def _fit(
    slots: Mapping[str, _Slot], weight: Weight, path: str | os.PathLike[str]
) -> tuple[int, int]:
    """Offset and size of a weight; ModelError where its slot is not what the manifest says."""
    slot = slots.get(weight.name)
    if slot is None:
        raise ModelError(f"{path}: weight {weight.name} is missing")
    begin, end = slot.data_offsets
    same = (DTYPE_NAMES.get(slot.dtype), slot.shape) == (weight.dtype, weight.shape)
    if not same or begin < 0 or end - begin != weight.nbytes:
        raise ModelError(f"{path}: weight {weight.name} is not what the manifest says")
    return begin, end - begin
