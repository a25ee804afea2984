"""A Graph without its weights' bytes, as canonical JSON: what a model is, in one text.

    Graph ──encode──▶ bytes ──sha256──▶ the model's name          (`digest`)
    Graph ◀──decode── bytes         checked field by field, then as a whole (`edgeflow.model.check`)

Canonical: keys sorted, no spaces, every attribute written out; bytes that are not exactly what
`encode` makes of their meaning are refused, so that one model has one name.

Invariant: `decode(encode(graph)) == graph`, and decoding runs no code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from edgeflow.errors import ModelError
from edgeflow.model.check import check
from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight

FORMAT = "edgeflow-model-1"
MANIFEST_BYTES_MAX = 64 << 20
"""A graph of 1,000 ops is 0.5 MB; the format of the file around it ends at 100 MB."""
LABELS_MAX = 100_000
RECIPE_MAX = 64


class _Tensor(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    dtype: str
    shape: tuple[int | str, ...]


class _Weight(Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    sha256: str


class _Op(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: dict[str, str]
    attrs: dict[str, Any]
    dtype: str
    shape: tuple[int | str, ...]


class _Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    opset: int
    name: str
    inputs: tuple[_Tensor, ...]
    outputs: tuple[str, ...]
    ops: tuple[_Op, ...]
    weights: dict[str, _Weight]
    recipe: dict[str, Any]
    labels: tuple[str, ...]


class _Version(Struct, frozen=True):
    """Read first, so that a newer file is called newer and not malformed."""

    format: str
    opset: int


def encode(graph: Graph) -> bytes:
    """The manifest of a checked graph; ModelError where the graph does not pass."""
    check(graph)
    manifest = _Manifest(
        format=FORMAT,
        opset=graph.opset,
        name=graph.name,
        inputs=tuple(_Tensor(c.name, c.dtype, c.shape) for c in graph.inputs),
        outputs=graph.outputs,
        ops=tuple(_encode_op(op) for op in graph.ops),
        weights={w.name: _Weight(w.dtype, w.shape, w.sha256) for w in graph.weights.values()},
        recipe=dict(graph.recipe),
        labels=graph.labels,
    )
    _attributes(manifest.recipe, "recipe")
    return msgspec.json.encode(manifest, order="sorted")


def decode(data: bytes | memoryview) -> Graph:
    """The Graph of a manifest, without arrays; ModelError, by name, where anything is wrong."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise ModelError(f"a manifest of {len(data)} bytes is more than {MANIFEST_BYTES_MAX}")
    try:
        version = msgspec.json.decode(data, type=_Version)
        if version.format != FORMAT:
            raise ModelError(f"format {version.format[:40]!r} is unknown; this reads {FORMAT!r}")
        manifest = msgspec.json.decode(data, type=_Manifest)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"malformed manifest: {error}") from None
    graph = _graph(manifest)
    if encode(graph) != bytes(data):
        raise ModelError("the manifest is not canonical; export the model again")
    return graph


def digest(manifest: bytes) -> str:
    """The sha256 that names a model."""
    return hashlib.sha256(manifest).hexdigest()


def model_digest(graph: Graph) -> str:
    """The sha256 that names this graph's model."""
    return digest(encode(graph))


def _encode_op(op: Op) -> _Op:
    return _Op(
        name=op.name,
        kind=op.kind,
        inputs=op.inputs,
        weights=dict(op.weights),
        attrs=dict(op.attrs),
        dtype=op.output.dtype,
        shape=op.output.shape,
    )


def _graph(manifest: _Manifest) -> Graph:
    if len(manifest.labels) > LABELS_MAX or len(manifest.recipe) > RECIPE_MAX:
        raise ModelError(f"more than {LABELS_MAX} labels or {RECIPE_MAX} fields of a recipe")
    return Graph(
        name=manifest.name,
        opset=manifest.opset,
        inputs=tuple(Contract(t.name, t.dtype, t.shape) for t in manifest.inputs),
        outputs=manifest.outputs,
        ops=tuple(_op(op) for op in manifest.ops),
        weights={
            name: Weight(name, w.dtype, w.shape, w.sha256) for name, w in manifest.weights.items()
        },
        recipe=_attributes(manifest.recipe, "recipe"),
        labels=manifest.labels,
    )


def _op(op: _Op) -> Op:
    return Op(
        name=op.name,
        kind=op.kind,
        inputs=op.inputs,
        weights=op.weights,
        attrs=_attributes(op.attrs, f"op {op.name}"),
        output=Contract(op.name, op.dtype, op.shape),
    )


def _attributes(found: Mapping[str, Any], where: str) -> dict[str, Attribute]:
    """Scalars, and lists of scalars as tuples; nothing deeper."""
    out: dict[str, Attribute] = {}
    for name, value in found.items():
        items = value if isinstance(value, list | tuple) else (value,)
        if not all(_is_scalar(item) for item in items):
            raise ModelError(f"{where}: {name} is neither a scalar nor a list of scalars")
        out[name] = tuple(value) if isinstance(value, list) else value
    return out


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return value - value == 0.0  # neither infinite nor NaN
    return isinstance(value, int | str | bool)
