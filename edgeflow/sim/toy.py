"""A small model for the simulator: real ops and costs, symbolic values.

    image ─▶ stem ─▶ left ──▶ join ─▶ squeeze ─▶ head ─▶ scores
                └──▶ right ──▲

A tensor's value is a number made from the op's name and its inputs' values, so that a result that
came by a wrong way, or from a wrong plan, is a wrong number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgeflow.layout.parcel import ParcelError, covered_area
from edgeflow.messages import Rect
from edgeflow.model.graph import Contract, Graph, Op, Weight
from edgeflow.tiles.rect import area, overlap
from edgeflow.tiles.rect import whole as whole_map
from edgeflow.tiles.region import regions

Value = int


class Part(NamedTuple):
    """A tensor's value, or a rectangle of it: every element of a map has the same."""

    value: Value
    rect: Rect | None = None


Values = Mapping[str, Part]


def digest(text: str) -> str:
    """A name for what has no bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def toy_graph() -> Graph:
    """Six layers of some 0.1 to 1 GFLOP; the tensors shrink towards the end."""
    convs = [
        ("stem", "image", 3, 32, 112, 1),
        ("left", "stem", 32, 32, 112, 1),
        ("right", "stem", 32, 32, 112, 1),
        ("squeeze", "join", 32, 16, 56, 2),
        ("head", "squeeze", 16, 8, 28, 2),
    ]
    ops: dict[str, Op] = {}
    weights: dict[str, Weight] = {}
    for name, read, channels, filters, side, stride in convs:
        shape = (filters, channels, 3, 3)
        weights[f"{name}.w"] = Weight(f"{name}.w", "float32", shape, digest(name))
        ops[name] = Op(
            name,
            "conv2d",
            (read,),
            {"weight": f"{name}.w"},
            {"stride": (stride, stride), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1},
            Contract(name, "float32", (1, filters, side, side)),
        )
    joined = Contract("join", "float32", (1, 32, 112, 112))
    ops["join"] = Op("join", "add", ("left", "right"), {}, {}, joined)
    order = ("stem", "left", "right", "join", "squeeze", "head")
    return Graph(
        name="toy",
        opset=1,
        inputs=(Contract("image", "float32", (1, 3, 112, 112)),),
        outputs=("head",),
        ops=tuple(ops[name] for name in order),
        weights=weights,
    )


@dataclass(frozen=True)
class Toy:
    """A graph whose tensors are numbers, under the digest that names it."""

    graph: Graph
    model: str

    @property
    def image(self) -> Contract:
        """Its one input."""
        (found,) = self.graph.inputs
        return found

    def taken(self, parcels: Sequence[Values], name: str, rect: Rect | None = None) -> Part:
        """A tensor, or a rectangle of it, out of what is at hand, as `edgeflow.layout.parcel.take`.

        ParcelError where some of it is not there; values that disagree give a wrong one.
        """
        found = [each[name] for each in parcels if name in each]
        if not found:
            raise ParcelError(f"{name} is not at hand")
        everything = whole_map(self.graph.tensors[name])
        values = {part.value for part in found}
        if everything is not None:
            wanted = rect or everything
            parts = [part.rect or wanted for part in found]
            shared = [both for each in parts if (both := overlap(each, wanted)) is not None]
            if covered_area(shared) < area(wanted):
                raise ParcelError(f"{name}[{wanted}] is not all at hand")
        return Part(values.pop() if len(values) == 1 else -1, rect)

    def compute(
        self, layers: Sequence[str], given: Sequence[Values], tile: Rect | None = None
    ) -> dict[str, Part]:
        """Every tensor that these layers make, or the tile of the one that leaves them."""
        graph = self.graph
        entering, leaving = graph.boundary(layers)
        needed = regions(graph, layers, {leaving[0]: tile}) if tile is not None else {}
        known = {name: self.taken(given, name, needed.get(name)).value for name in entering}
        made = self._values(layers, known)
        if tile is not None:
            return {leaving[0]: Part(made[leaving[0]], tile)}
        return {name: Part(value) for name, value in made.items()}

    def whole(self, image: Value) -> dict[str, Value]:
        """What the undivided model answers, by output."""
        made = self._values([layer.name for layer in self.graph.layers], {self.image.name: image})
        return {name: made[name] for name in self.graph.outputs}

    def _values(self, layers: Sequence[str], given: Mapping[str, Value]) -> dict[str, Value]:
        """Every tensor that these layers make, out of the given ones."""
        known = dict(given)
        wanted = set(layers)
        for layer in self.graph.layers:
            if layer.name in wanted:
                for op in layer.ops:
                    inputs = "|".join(str(known[name]) for name in op.inputs)
                    text = f"{op.name}({inputs})"
                    known[op.name] = int.from_bytes(digest(text)[:12].encode(), "big")
        return {name: value for name, value in known.items() if name not in given}


TOY = toy_graph()
MODEL = digest("the toy's manifest")
SMALL = Toy(TOY, MODEL)
