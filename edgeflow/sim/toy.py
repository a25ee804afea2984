"""A small model for the simulator: real ops and costs, symbolic values.

    image ─▶ stem ─▶ left ──▶ join ─▶ squeeze ─▶ head ─▶ scores
                └──▶ right ──▲

A tensor's value is a number made from the op's name and its inputs' values, so that a result that
came by a wrong way, or from a wrong plan, is a wrong number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from edgeflow.graph import Contract, Graph, Op, Weight

Value = int


def _digest(text: str) -> str:
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
        weights[f"{name}.w"] = Weight(f"{name}.w", "float32", shape, _digest(name))
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


TOY = toy_graph()
MODEL = _digest("the toy's manifest")


def compute(layers: Iterable[str], given: Mapping[str, Value]) -> dict[str, Value]:
    """Every tensor that these layers make, out of the given ones."""
    known = dict(given)
    wanted = set(layers)
    for layer in TOY.layers:
        if layer.name in wanted:
            for op in layer.ops:
                inputs = "|".join(str(known[name]) for name in op.inputs)
                text = f"{op.name}({inputs})"
                known[op.name] = int.from_bytes(_digest(text)[:12].encode(), "big")
    return {name: value for name, value in known.items() if name not in given}


def whole(image: Value) -> Value:
    """What the undivided model answers."""
    return compute((layer.name for layer in TOY.layers), {"image": image})["head"]
