"""A torch module becomes a Graph.

    module ──torch.export──▶ ATen nodes ──converters──▶ steps ──passes──▶ Graph, checked

Invariant: what the Graph computes is what the module computes in evaluation mode, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from edgeflow.draft.passes import Program, clean_up
from edgeflow.draft.steps import Builder, clean, finish
from edgeflow.encoded import with_decode
from edgeflow.errors import ModelError
from edgeflow.exporter import elements, layers, moves
from edgeflow.exporter.convert import CONVERTERS, call_of, dtype_name
from edgeflow.exporter.source import Card, card_of, load_source, parse_input
from edgeflow.exporter.trace import parameter_names, trace
from edgeflow.model.check import check
from edgeflow.model.graph import Contract, Graph
from edgeflow.model.ops import DTYPES, OPSET

__all__ = ["Card", "export", "load_source", "parse_input"]

_REGISTERED = (elements, layers, moves)
"""Imported for the converters that they register."""

_DROPPED = ("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range")


def export(
    module: torch.nn.Module,
    example_inputs: Sequence[torch.Tensor] | Mapping[str, torch.Tensor] | None = None,
    *,
    name: str,
    recipe: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    encoded: bool | int = False,
) -> Graph:
    """The module as a Graph for inputs of exactly these shapes and dtypes.

    A mapping names the inputs, in the order of `forward`; else they are called as `forward` calls
    them. What is not given comes from the module's `Card`, where it has one. ModelError where an op
    is outside the set: with its name and place in the module tree. `encoded`: the recipe's picture
    comes as the bytes of a JPEG or PNG; a number says how many to expect.
    """
    card = card_of(module) or Card({})
    example_inputs = card.inputs if example_inputs is None else example_inputs
    recipe = card.recipe if recipe is None else recipe
    labels = card.labels if labels is None else labels
    if not example_inputs:
        raise ModelError(f"{name}: which inputs does it take? Give example inputs (--input)")
    if not isinstance(example_inputs, Mapping):
        names = parameter_names(module, len(example_inputs))
        example_inputs = dict(zip(names, example_inputs, strict=True))
    examples = list(example_inputs.values())
    program = trace(module, examples, CONVERTERS)
    _refuse_unknown(program)
    conversion = _Conversion(program, list(example_inputs))
    outputs = conversion.run()
    done = clean_up(Program(conversion.builder.steps, outputs))
    graph = finish(name, conversion.builder.inputs, done.steps, done.outputs, recipe, labels)
    check(graph)
    if encoded is False:
        return graph
    return with_decode(graph, None if encoded is True else encoded)


def _target_name(node: torch.fx.Node) -> str:
    return str(node.target).removesuffix(".default")


def _place(node: torch.fx.Node) -> tuple[str, str]:
    """Path and class of the innermost module that made the node; ("", "") where unknown."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return str(path).split("@", 1)[0], kind


def _is_dropped(node: torch.fx.Node) -> bool:
    return any(f"aten.{name}" in str(node.target) for name in _DROPPED)


def _is_known(node: torch.fx.Node) -> bool:
    builtin = not isinstance(node.target, torch._ops.OpOverload)
    return builtin or node.target in CONVERTERS or _is_dropped(node) or not _varies(node)


def _varies(node: torch.fx.Node) -> bool:
    """Does it depend on a user's input? Decided by `_mark` below."""
    return bool(node.meta.get("edgeflow_varies", False))


def _mark(program: ExportedProgram) -> None:
    users = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        sources = any(_varies(source) for source in node.all_input_nodes)
        node.meta["edgeflow_varies"] = node.name in users or sources


def _refuse_unknown(program: ExportedProgram) -> None:
    _mark(program)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    unknown = [node for node in nodes if not _is_known(node)]
    if not unknown:
        return
    path, kind = _place(unknown[0])
    others = sorted({_target_name(node) for node in unknown} - {_target_name(unknown[0])})
    more = f" Outside it too: {', '.join(others)}." if others else ""
    raise ModelError(
        f"op {_target_name(unknown[0])} at {path or '(the module itself)'}"
        f"{f' ({kind})' if kind else ''} is outside edgeflow's op set {OPSET}: replace it by "
        f"ops of the set, or leave this part out of the exported module and run it yourself.{more}"
    )


class _Conversion:
    """Walks the nodes of a program and feeds the converters."""

    def __init__(self, program: ExportedProgram, names: Sequence[str]) -> None:
        self.program = program
        self.builder = Builder()
        self.values: dict[str, Any] = {}
        self._leaves = self._leaf_places()
        signature = program.graph_signature
        self._constants = {
            spec.arg.name: self._constant(spec.target)
            for spec in signature.input_specs
            if spec.target is not None and hasattr(spec.arg, "name")
        }
        self._names = dict(zip(signature.user_inputs, names, strict=True))

    def _constant(self, target: str) -> torch.Tensor:
        program = self.program
        found = program.state_dict.get(target, program.constants.get(target))
        if not isinstance(found, torch.Tensor):
            raise ModelError(f"{target} is no tensor; such modules cannot be exported")
        return found.detach()

    def _leaf_places(self) -> set[str]:
        """Places below which no node lies: their name is enough."""
        places = {_place(node)[0] for node in self.program.graph.nodes}
        return {p for p in places if p and not any(q.startswith(p + ".") for q in places)}

    def run(self) -> tuple[str, ...]:
        """Convert every node; returns the names of the outputs."""
        outputs: list[str] = []
        with torch.no_grad():
            for node in self.program.graph.nodes:
                if node.op == "placeholder":
                    self.values[node.name] = self._placeholder(node)
                elif node.op == "call_function" and not _is_dropped(node):
                    self.values[node.name] = self._function(node)
                elif node.op == "output":
                    outputs = self._outputs(node)
        return tuple(dict.fromkeys(outputs))

    def _placeholder(self, node: torch.fx.Node) -> Any:
        if node.name in self._constants:
            return self._constants[node.name]
        value = node.meta["val"]
        name = self._names[node.name]
        if not isinstance(value, torch.Tensor) or dtype_name(value.dtype) not in DTYPES:
            raise ModelError(f"input {name} is no tensor of a dtype that edgeflow carries")
        shape = tuple(int(dim) for dim in value.shape)
        return self.builder.add_input(Contract(clean(name), dtype_name(value.dtype), shape))

    def _function(self, node: torch.fx.Node) -> Any:
        args = torch.fx.map_arg(node.args, lambda source: self.values[source.name])
        kwargs = torch.fx.map_arg(node.kwargs, lambda source: self.values[source.name])
        if not _varies(node) or not isinstance(node.target, torch._ops.OpOverload):
            return node.target(*args, **kwargs)  # type: ignore[operator]
        path, _ = _place(node)
        kind = str(node.target).split(".")[1].strip("_")
        self.builder.place = path if path in self._leaves else f"{path}.{kind}".lstrip(".")
        before = len(self.builder.steps)
        value = CONVERTERS[node.target](call_of(self.builder, node, args, kwargs))
        self._agree(node, value, before)
        return value

    def _agree(self, node: torch.fx.Node, value: Any, before: int) -> None:
        """Our shape rules and torch's must say the same."""
        expected = node.meta.get("val")
        if isinstance(value, str) and isinstance(expected, torch.Tensor):
            ours = self.builder.contracts[value]
            theirs = (dtype_name(expected.dtype), tuple(int(dim) for dim in expected.shape))
            if (ours.dtype, ours.shape) != theirs:
                raise ModelError(
                    f"{value} ({_target_name(node)}): torch makes {theirs}, "
                    f"edgeflow {(ours.dtype, ours.shape)}; please report this"
                )

    def _outputs(self, node: torch.fx.Node) -> list[str]:
        """Names of the user's outputs; an input handed through gets an op of its own."""
        names, outputs = set(self.program.graph_signature.user_outputs), []
        (listed,) = node.args
        assert isinstance(listed, tuple | list)
        for source in listed:
            if not isinstance(source, torch.fx.Node) or source.name not in names:
                continue
            value = self.values[source.name]
            if not isinstance(value, str):
                raise ModelError("an output of the module does not depend on its inputs")
            if value in {contract.name for contract in self.builder.inputs}:
                self.builder.place = f"{value}.identity"
                value = self.builder.emit("identity", [value])
            outputs.append(value)
        return outputs
