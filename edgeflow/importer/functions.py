"""Functions that an ONNX file brings along: each call becomes the nodes inside.

    node ──calls──▶ function ──calls──▶ function …        counted first, then inlined by onnx

Invariant: nothing is inlined before it is known how much will come of it, and that it ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto, ModelProto, NodeProto, inliner

from edgeflow.errors import ModelError

_Key = tuple[str, str, str]


def inlined(model: ModelProto, nodes_max: int) -> ModelProto:
    """The model without functions; ModelError where they call themselves or become too much."""
    if not model.functions:
        return model
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    sizes: dict[_Key, int] = {}
    total = sum(_size(node, functions, sizes, ()) for node in model.graph.node)
    if total > nodes_max:
        raise ModelError(
            f"the model's functions become {total} nodes, at most {nodes_max} are read"
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        text = str(error).strip().splitlines() or ["they do not fit"]
        raise ModelError(
            f"the model's functions cannot be inlined ({text[0]}): export it without functions"
        ) from None


def _size(
    node: NodeProto,
    functions: dict[_Key, FunctionProto],
    sizes: dict[_Key, int],
    trail: tuple[_Key, ...],
) -> int:
    """How many nodes come of a node; each function is counted once."""
    key = (node.domain, node.op_type, getattr(node, "overload", ""))
    if key not in functions:
        return 1
    if key in trail or len(trail) > 100:
        raise ModelError(
            f"function {node.op_type} calls itself: export the model without functions"
        )
    if key not in sizes:
        inside: Iterable[NodeProto] = functions[key].node
        sizes[key] = sum(_size(each, functions, sizes, (*trail, key)) for each in inside)
    return sizes[key]
