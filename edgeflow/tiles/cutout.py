"""A tile of some layers as a graph of its own: any engine runs it, and knows nothing of tiles.

    hull of x ──▶ conv (padded only where ──▶ relu ──▶ add ──▶ the wanted rectangle
          │             the map ends)                   ▲
          └──▶ slice ──▶ slice ─────────────────────────┘  a reader that needs less than was made

Its inputs are the tensors that enter the layers, cut to their hulls, under their own names; its ops
keep their names and weights. What an op makes beyond the wanted is cut off by `slice`.

Invariant: every output is, bit for bit in the same arithmetic, its rectangle of the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from edgeflow.messages import Rect
from edgeflow.model.graph import Attribute, Contract, Graph, Op
from edgeflow.model.ops import infer, opset_of
from edgeflow.tiles.region import in_order, regions
from edgeflow.tiles.rules import rules_of


@dataclass(frozen=True)
class Cutout:
    """Some layers of a graph, for some rectangles of what they make."""

    graph: Graph
    """Its inputs and outputs bear the names of the tensors of which they are parts."""
    inputs: Mapping[str, Rect]
    """Which part of each entering tensor it takes; one that is not needed is not in it."""
    outputs: Mapping[str, Rect]
    """The wanted rectangles."""
    layer_of: Mapping[str, str]
    """By layer of `graph`, the layer of the whole graph that its first op belongs to."""


def cut_out(graph: Graph, layers: Sequence[str], outputs: Mapping[str, Rect]) -> Cutout:
    """The graph that makes these rectangles of tensors of these layers, out of what enters them.

    Arrays are shared, not copied; there may be none. TileError as by `regions`.
    """
    needed = regions(graph, layers, outputs)
    inside = in_order(graph, layers)
    made = {op.name for layer in inside for op in layer.ops}
    inputs = {name: rect for name, rect in needed.items() if name not in made}
    shears = _Shears(graph, inputs, {**needed, **outputs})
    for layer in inside:
        for op in layer.ops:
            if op.name in needed:
                shears.make(op, needed[op.name], layer.name)
    for name, rect in outputs.items():
        shears.take(name, rect, shears.home[name])
    ops = tuple(shears.ops)
    weights = dict.fromkeys(weight for op in ops for weight in op.weights.values())
    part = Graph(
        name=graph.name,
        opset=opset_of(ops),
        inputs=tuple(shears.contracts[name] for name in inputs),
        outputs=tuple(outputs),
        ops=ops,
        weights={name: graph.weights[name] for name in weights},
        arrays={name: graph.arrays[name] for name in weights if name in graph.arrays},
    )
    layer_of = {layer.name: shears.home[layer.name] for layer in part.layers}
    return Cutout(part, inputs, dict(outputs), layer_of)


class _Shears:
    """Makes ops one after the other, and cuts what they make to what their readers need."""

    def __init__(self, graph: Graph, inputs: Mapping[str, Rect], named: Mapping[str, Rect]) -> None:
        self.graph = graph
        self.rules = rules_of(graph).rules
        self.named = named
        """Which rectangle of a tensor bears its name; all others get names of their own."""
        self.ops: list[Op] = []
        self.contracts: dict[str, Contract] = {}
        """Of every tensor of the new graph."""
        self.home: dict[str, str] = {}
        """The layer of the whole graph, by op of either graph."""
        self.made = dict(inputs)
        """Which rectangle is there of a tensor of the whole graph, readers' cuts aside."""
        self.cuts: dict[tuple[str, Rect], str] = {}
        """What a rectangle of a tensor is called in the new graph."""
        for name, rect in inputs.items():
            contract = graph.tensors[name]
            sides = (rect.bottom - rect.top, rect.right - rect.left)
            self.contracts[name] = replace(contract, shape=(*contract.shape[:2], *sides))
            self.cuts[name, rect] = name

    def make(self, op: Op, rect: Rect, layer: str) -> None:
        """The op that makes at least `rect`, behind cuts of its inputs where it needs less."""
        rule = self.rules[op.name]
        pairs = zip(op.inputs, rule.needs(rect), strict=True)
        sources = tuple(self.take(name, need, layer) for name, need in pairs)
        attrs, above, beside = rule.look(rect)
        dtype, shape = self._inferred(op, sources, attrs)
        top, left = rect.top - above, rect.left - beside
        made = Rect(top, top + shape[2], left, left + shape[3])
        name = self._name(op.name, made)
        output = Contract(name, dtype, shape)
        self._add(Op(name, op.kind, sources, op.weights, attrs, output), layer)
        self.home[op.name] = layer
        self.made[op.name] = made
        self.cuts[op.name, made] = name

    def take(self, name: str, rect: Rect, layer: str) -> str:
        """What `rect` of a tensor is called in the new graph; cut off now where it is not there.

        Rows are cut first, then columns, of which an op can cut only one.
        """
        known = self.cuts.get((name, rect))
        if known is not None:
            return known
        made = self.made[name]
        rows = Rect(rect.top, rect.bottom, made.left, made.right)
        if rect == rows:
            source, axis = self.cuts[name, made], 2
            start, stop = rect.top - made.top, rect.bottom - made.top
        else:
            source, axis = self.take(name, rows, layer), 3
            start, stop = rect.left - made.left, rect.right - made.left
        given = self.contracts[source]
        shape = (*given.shape[:axis], stop - start, *given.shape[axis + 1 :])
        attrs = {"axis": axis, "start": start, "stop": stop, "step": 1}
        cut = self._name(name, rect)
        self._add(Op(cut, "slice", (source,), {}, attrs, Contract(cut, given.dtype, shape)), layer)
        self.cuts[name, rect] = cut
        return cut

    def _inferred(
        self, op: Op, sources: tuple[str, ...], attrs: Mapping[str, Attribute]
    ) -> tuple[str, tuple[int, ...]]:
        constants = {}
        for role, name in op.weights.items():
            weight = self.graph.weights[name]
            constants[role] = Contract(name, weight.dtype, weight.shape)
        inputs = tuple(self.contracts[source] for source in sources)
        return infer(op.kind, attrs, inputs, constants)

    def _name(self, name: str, rect: Rect) -> str:
        """The tensor's own name for the rectangle that bears it, else one that nobody has."""
        if rect == self.named[name]:
            return name
        fresh = (f"{name}.{number}" for number in count(1))
        return next(
            each for each in fresh if each not in self.contracts and each not in self.graph.tensors
        )

    def _add(self, op: Op, layer: str) -> None:
        self.ops.append(op)
        self.contracts[op.name] = op.output
        self.home[op.name] = layer
