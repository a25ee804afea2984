"""From node to node of an ONNX graph, in its order, feeding the converters.

    value of a tensor:  constant ──fold──▶ constant
                        varies ──converter──▶ a step's name         Shape of either ──▶ constant

Invariant: an error tells of the node that made it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, checker

from edgeflow.draft.passes import Program, renamed
from edgeflow.draft.steps import Builder, clean
from edgeflow.errors import ModelError, UsageError
from edgeflow.importer import elements, layers, moves, resize, windows
from edgeflow.importer.convert import CONVERTERS, Node, Value
from edgeflow.importer.declared import Declared, shape_of
from edgeflow.importer.fold import SIZES, Folder
from edgeflow.importer.names import places
from edgeflow.importer.source import DOMAINS, array_of, dtype_of
from edgeflow.model.graph import Array, Contract
from edgeflow.model.ops import OPSET

_REGISTERED = (elements, layers, moves, resize, windows)
"""Imported for the converters that they register."""

_MEASURES = ("Shape", "Size")
"""Constant whatever they read."""
_CONSTANT = frozenset([*SIZES, *_MEASURES, "Constant"])
"""What may stand where nothing depends on the input."""
_WITHDRAWN = ("GroupNormalization",)
"""What the checker refuses in the sets 18 to 20, though files have it."""
_ODD = (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR)


class Walk:
    """One file on its way into steps."""

    def __init__(
        self, graph: GraphProto, opset: int, declared: Sequence[Declared], *, trust_shapes: bool
    ) -> None:
        self.graph = graph
        self.opset = opset
        self.builder = Builder()
        self._alive = _alive(graph)
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._folder = Folder(opset, graph.ByteSize())
        self._declared = _shapes(graph) if trust_shapes else {}
        self._context = checker.C.CheckerContext()
        self._context.ir_version, self._context.opset_imports = 10, {"": opset}
        self.values: dict[str, Value] = {}
        for name, contract in declared:
            self.values[name] = self._input(contract, graph, name)

    def _input(self, contract: Contract, graph: GraphProto, name: str) -> str:
        made = self.builder.add_input(contract)
        elem_type = next(e.type.tensor_type.elem_type for e in graph.input if e.name == name)
        wanted = dtype_of(elem_type)
        if wanted == contract.dtype:
            return made
        self.builder.place = f"{made}.cast"
        return self.builder.emit("cast", [made], {"dtype": wanted})

    def run(self) -> tuple[str, ...]:
        """Convert every node that an output needs; the names of the outputs."""
        self._refuse_unknown()
        for node, place in zip(self._alive, places(self._alive), strict=True):
            self.builder.place = place
            try:
                if node.op_type not in _WITHDRAWN:
                    checker.check_node(_bare(node), self._context)
                self._keep(node, self._convert(node))
            except (ModelError, UsageError) as error:
                raise ModelError(f"{_title(node)}: {error}") from None
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise ModelError(f"{_title(node)} does not fit together: {_first(error)}") from None
            except checker.ValidationError as error:
                raise ModelError(f"{_title(node)} is malformed: {_first(error)}") from None
        return tuple(dict.fromkeys(self._output(info.name) for info in self.graph.output))

    def _value(self, name: str) -> Value:
        if name not in self.values:
            if name not in self._stored:
                raise ModelError(f"nothing before it makes {name!r}; the file is damaged")
            self.values[name] = array_of(self._stored[name])
        return self.values[name]

    def _convert(self, node: NodeProto) -> Any:
        inputs = [self._value(name) if name else None for name in node.input]
        if node.op_type == "Constant":
            return _constant(node)
        if node.op_type in _MEASURES:
            return _measure(Node(self.builder, node, self.opset, inputs))
        if not any(isinstance(value, str) for value in inputs):
            return self._folder.run(node, [v for v in inputs if not isinstance(v, str)])
        return CONVERTERS[node.op_type](Node(self.builder, node, self.opset, inputs))

    def _keep(self, node: NodeProto, made: Any) -> None:
        values = made if isinstance(made, list) else [made]
        for name, value in zip(node.output, values, strict=False):
            if name in self.values or name in self._stored:
                raise ModelError(f"it makes {name!r} again; the file is damaged")
            if name:
                self.values[name] = value
                self._agree(name, value)

    def _agree(self, name: str, value: Value) -> None:
        """Sizes that the file declares and ours must say the same."""
        if name not in self._declared:
            return
        ours = self.builder.contracts[value].shape if isinstance(value, str) else value.shape
        theirs = self._declared[name]
        fits = len(ours) == len(theirs) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(theirs, ours, strict=True)
        )
        if not fits:
            raise ModelError(
                f"the file declares {name} as {theirs}, but what it reads makes {ours}; is it "
                "damaged? Where only its declarations are old, say the inputs: --input"
            )

    def _output(self, name: str) -> str:
        """An input handed through gets an op of its own."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise ModelError(f"output {name!r} does not depend on the model's inputs; take it off")
        if value in {contract.name for contract in self.builder.inputs}:
            self.builder.place = f"{value}.identity"
            value = self.builder.emit("identity", [value])
        return value

    def named(self, program: Program) -> Program:
        """Outputs called as in the file, but for names that are only numbers of torch's."""
        names, taken = {}, {step.name for step in program.steps}
        taken |= {contract.name for contract in self.builder.inputs}
        has_paths = any(node.name.startswith("/") for node in self._alive)
        wishes = [info.name for info in self.graph.output]
        if len(set(program.outputs)) != len(set(wishes)):
            return program
        for name, wish in zip(program.outputs, dict.fromkeys(wishes), strict=True):
            if clean(wish) not in taken and not (has_paths and wish.isdigit()):
                names[name] = clean(wish)
                taken.add(clean(wish))
        return renamed(program, names)

    def _refuse_unknown(self) -> None:
        varies = {name for name, value in self.values.items() if isinstance(value, str)}
        unknown: dict[str, NodeProto] = {}
        for node in self._alive:
            moves = node.op_type not in _MEASURES and any(name in varies for name in node.input)
            if moves:
                varies.update(node.output)
            known = CONVERTERS if moves else _CONSTANT
            odd = node.domain not in DOMAINS or any(each.type in _ODD for each in node.attribute)
            if odd or node.op_type not in known:
                unknown.setdefault(_kind(node), node)
        if unknown:
            first, *others = unknown
            more = f" Outside it too: {', '.join(sorted(others))}." if others else ""
            raise ModelError(
                f"{_title(unknown[first])} is outside edgeflow's op set {OPSET}: replace it by ops "
                "of the set, or cut the file before it (onnx.utils.extract_model) and run the "
                f"rest yourself.{more}"
            )


def _kind(node: NodeProto) -> str:
    return node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"


def _title(node: NodeProto) -> str:
    made = next(iter(node.output), "")
    where = f"node {node.name!r}" if node.name else f"the node that makes {made!r}"
    return f"{_kind(node)} at {where}"


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _alive(graph: GraphProto) -> list[NodeProto]:
    """The nodes that some output needs."""
    needed, kept = {info.name for info in graph.output}, []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output if name):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]


def _shapes(graph: GraphProto) -> dict[str, tuple[int | str, ...]]:
    """Of inner tensors and outputs, where the file declares them; 0 and less mean nothing."""
    found = {}
    for info in [*graph.value_info, *graph.output]:
        shape = shape_of(info)
        if shape is not None:
            found[info.name] = tuple(
                "" if isinstance(dim, int) and dim < 1 else dim for dim in shape
            )
    return found


def _bare(node: NodeProto) -> NodeProto:
    """A node as the checker takes it: in the domain that has no name."""
    if not node.domain:
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.domain = ""
    return copy


def _measure(node: Node) -> Array:
    """Of a tensor whose sizes are known, as all are."""
    shape = node.shape(node.inputs[0])
    if node.proto.op_type == "Size":
        return np.array(math.prod(shape), dtype=np.int64)
    return np.array(shape[node.attr("start", 0) : node.attr("end")], dtype=np.int64)


def _constant(node: NodeProto) -> Array:
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                return array_of(attribute.t)
            case "value_float":
                return np.array(attribute.f, dtype=np.float32)
            case "value_floats":
                return np.array(attribute.floats, dtype=np.float32)
            case "value_int":
                return np.array(attribute.i, dtype=np.int64)
            case "value_ints":
                return np.array(attribute.ints, dtype=np.int64)
    raise ModelError("it holds no numbers; only tensors of numbers are taken")
