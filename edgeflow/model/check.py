"""Whether a Graph may be trusted: every name, count, contract and attribute, before it is built.

Invariant: what passes follows from its inputs and weights. No shape, size or order is believed.
"""

from __future__ import annotations

import math
import re

from edgeflow.errors import ModelError
from edgeflow.model.graph import Contract, Graph, Op, Weight
from edgeflow.model.ops import DTYPES, OPSET, check_schema, infer, opset_of

OPS_MAX = 20_000
"""Ops of one graph. The papers' largest network has 700; a plan must stay quick to compute."""
WEIGHTS_MAX = 40_000
"""Weights of one graph."""
BYTES_MAX = 1 << 36
"""Of one tensor or weight: 64 GiB. Beyond it a manifest asks for memory nobody has."""
RANK_MAX = 8
"""Dimensions of one tensor."""

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.]{0,198}[A-Za-z0-9_])?")
_TITLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_SYMBOL = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(graph: Graph) -> None:
    """ModelError, with the op's name in it, where anything of the graph is not as it must be."""
    if not 1 <= graph.opset <= OPSET:
        raise ModelError(
            f"the model needs op set {graph.opset}, this edgeflow knows 1 to {OPSET}; "
            "update edgeflow, or export the model again"
        )
    if not _TITLE.fullmatch(graph.name):
        raise ModelError(f"{graph.name!r} is no model name: letters, digits, '_', '-' and '.'")
    if not (0 < len(graph.ops) <= OPS_MAX and len(graph.weights) <= WEIGHTS_MAX):
        raise ModelError(f"a model has 1 to {OPS_MAX} ops and at most {WEIGHTS_MAX} weights")
    known: dict[str, Contract] = {}
    for contract in graph.inputs:
        _check_input(contract, known)
        known[contract.name] = contract
    for name, weight in graph.weights.items():
        _check_weight(name, weight)
    for op in graph.ops:
        _check_op(op, graph, known)
        known[op.name] = op.output
    if graph.opset != opset_of(graph.ops):
        raise ModelError(f"op set {graph.opset} is named, its ops need {opset_of(graph.ops)}")
    _check_ends(graph)


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ModelError(f"{what} {name!r} is no name: letters, digits, '_' and single '.' inside")


def _check_size(what: str, dtype: str, shape: tuple[int | str, ...], nbytes: int) -> None:
    if len(shape) > RANK_MAX or any(isinstance(dim, int) and dim < 1 for dim in shape):
        raise ModelError(f"{what}: {shape} is no shape: up to {RANK_MAX} dimensions of at least 1")
    if nbytes > BYTES_MAX:
        raise ModelError(f"{what}: {shape} of {dtype} is more than {BYTES_MAX >> 30} GiB")


def _check_contract(contract: Contract, what: str) -> None:
    if contract.dtype not in DTYPES:
        raise ModelError(f"{what}: unknown dtype {contract.dtype!r}")
    _check_size(what, contract.dtype, contract.shape, contract.nbytes)


def _check_input(contract: Contract, known: dict[str, Contract]) -> None:
    _check_name(contract.name, "input")
    if contract.name in known:
        raise ModelError(f"two inputs are called {contract.name!r}")
    _check_contract(contract, f"input {contract.name}")
    for dim in contract.shape:
        if isinstance(dim, str) and not _SYMBOL.fullmatch(dim):
            raise ModelError(f"input {contract.name}: {dim!r} is no symbol: letters, digits, '_'")


def _check_weight(name: str, weight: Weight) -> None:
    _check_name(name, "weight")
    if weight.name != name or not _SHA256.fullmatch(weight.sha256):
        raise ModelError(f"weight {name}: its name or sha256 is malformed")
    if weight.dtype not in DTYPES:
        raise ModelError(f"weight {name}: unknown dtype {weight.dtype!r}")
    size = math.prod(weight.shape) * 8
    _check_size(f"weight {name}", weight.dtype, weight.shape, size)


def _check_op(op: Op, graph: Graph, known: dict[str, Contract]) -> None:
    _check_name(op.name, "op")
    where = f"op {op.name} ({op.kind})"
    if op.name in known:
        raise ModelError(f"{where}: another tensor has this name")
    _check_contract(op.output, where)
    try:
        _check_references(op, graph, known)
        check_schema(op)
        expected = infer(op.kind, op.attrs, *_operands(op, graph, known))
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from None
    if expected != (op.output.dtype, op.output.shape):
        raise ModelError(
            f"{where}: claims {op.output.dtype} {op.output.shape}, "
            f"but its inputs make {expected[0]} {expected[1]}"
        )


def _check_references(op: Op, graph: Graph, known: dict[str, Contract]) -> None:
    if op.output.name != op.name:
        raise ValueError(f"its output is called {op.output.name!r}")
    for name in op.inputs:
        if name not in known:
            raise ValueError(f"reads {name!r}, which no input or earlier op makes")
    for role, name in op.weights.items():
        if name not in graph.weights:
            raise ValueError(f"its {role} {name!r} is not among the weights")


def _operands(
    op: Op, graph: Graph, known: dict[str, Contract]
) -> tuple[tuple[Contract, ...], dict[str, Contract]]:
    weights = {}
    for role, name in op.weights.items():
        weight = graph.weights[name]
        weights[role] = Contract(name, weight.dtype, weight.shape)
    return tuple(known[name] for name in op.inputs), weights


def _check_ends(graph: Graph) -> None:
    made = {op.name for op in graph.ops}
    if not graph.outputs or len(set(graph.outputs)) != len(graph.outputs):
        raise ModelError("a model has at least one output, each named once")
    for name in graph.outputs:
        if name not in made:
            raise ModelError(f"output {name!r} is made by no op")
    read = {name for op in graph.ops for name in op.inputs}
    for contract in graph.inputs:
        if contract.is_open and contract.name not in read:
            raise ModelError(f"input {contract.name} has an open dimension, and nothing decodes it")
    used = {weight for op in graph.ops for weight in op.weights.values()}
    for name in sorted(set(graph.weights) - used):
        raise ModelError(f"weight {name!r} is used by no op")
    for name in sorted(made - read - set(graph.outputs)):
        raise ModelError(f"op {name}: nobody reads its output")
