"""Which inputs a model takes: as the file declares them, or as the user says.

    declared: batch x 3 x 224 x 224 ──▶ 1 x 3 x 224 x 224      a named first dimension becomes 1
    declared: 1 x 3 x height x width ──▶ --input image=float32:1x3x640x640, or ModelError

Invariant: every contract that leaves here has whole, positive dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import GraphProto, ValueInfoProto

from edgeflow.draft.steps import clean
from edgeflow.errors import ModelError, UsageError
from edgeflow.importer.source import dtype_of
from edgeflow.model.graph import Contract
from edgeflow.model.ops import DTYPES

Declared = tuple[str, Contract]
"""The name in the file, and what the graph takes for it."""


def inputs_of(graph: GraphProto, given: Iterable[Contract]) -> list[Declared]:
    """Of every input, weights left out; `given` goes before what the file says.

    UsageError where something given is no input; ModelError where sizes stay open.
    """
    weights = {tensor.name for tensor in graph.initializer}
    infos = [info for info in graph.input if info.name not in weights]
    wishes = _wishes(infos, given)
    return [(info.name, _contract(info, wishes.get(info.name))) for info in infos]


def _wishes(infos: Sequence[ValueInfoProto], given: Iterable[Contract]) -> dict[str, Contract]:
    wishes: dict[str, Contract] = {}
    for contract in given:
        found = [each for each in infos if contract.name in (each.name, clean(each.name))]
        if not found or found[0].name in wishes:
            names = ", ".join(clean(each.name) for each in infos) or "none at all"
            raise UsageError(f"--input {contract.name}: the model takes {names}, each given once")
        wishes[found[0].name] = contract
    return wishes


def shape_of(info: ValueInfoProto) -> tuple[int | str, ...] | None:
    """As declared: numbers where they are known, else a name or ''; None where nothing is."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim
    )


def _contract(info: ValueInfoProto, wish: Contract | None) -> Contract:
    if info.type.WhichOneof("value") != "tensor_type":
        kind = (info.type.WhichOneof("value") or "unknown_type").removesuffix("_type")
        raise ModelError(f"input {info.name} is a {kind}, no tensor; only tensors are taken")
    dtype = dtype_of(info.type.tensor_type.elem_type)
    if dtype not in DTYPES:
        raise ModelError(f"input {info.name} is of {dtype}; edgeflow takes numbers and bool")
    shape = shape_of(info)
    if wish is None:
        return Contract(clean(info.name), dtype, _closed(info.name, dtype, shape))
    if wish.dtype not in (dtype, "uint8") or (wish.dtype != dtype and "float" not in dtype):
        raise UsageError(
            f"--input {wish.name}: the model takes {dtype} (or uint8, which becomes float by a "
            f"cast), not {wish.dtype}"
        )
    if shape is not None and len(shape) != len(wish.shape):
        raise UsageError(
            f"--input {wish.name}: {len(wish.shape)} dimensions given, the model declares "
            f"{_text(shape)}"
        )
    return Contract(clean(info.name), wish.dtype, wish.shape)


def _closed(name: str, dtype: str, shape: tuple[int | str, ...] | None) -> tuple[int, ...]:
    if shape is None:
        raise ModelError(f"input {name} has no shape: say it, --input {_wish(name, dtype, ())}")
    sizes = []
    for axis, dim in enumerate(shape):
        size = 1 if axis == 0 and isinstance(dim, str) and dim else dim
        if not isinstance(size, int) or size < 1:
            raise ModelError(
                f"dimension {axis} of input {name} is {dim!r}, its shape {_text(shape)}: plans "
                f"need fixed sizes; say them, --input {_wish(name, dtype, shape)}"
            )
        sizes.append(size)
    return tuple(sizes)


def _wish(name: str, dtype: str, shape: Sequence[int | str]) -> str:
    """An example of what to say."""
    examples = (1, 3, 640, 640)
    sizes = [
        dim if isinstance(dim, int) and dim > 0 else (*examples, 1)[min(axis, len(examples))]
        for axis, dim in enumerate(shape or examples)
    ]
    return f"{clean(name)}={dtype}:{'x'.join(map(str, sizes))}"


def _text(shape: Sequence[int | str]) -> str:
    return "x".join(str(dim) if dim != "" else "?" for dim in shape) or "a single number"
