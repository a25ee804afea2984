"""A model's twin that reckons with whole numbers only, so that no sum is ever rounded.

    layers of a Graph ──▶ the same layers, weights of -1, 0, 1 ──▶ small integers in, integers out

The order in which a float sum is taken decides its last bits, and an engine picks the order by the
size of the map. A sum of small integers has one result: here a tile must have every bit of the
whole map, and where it does not, its geometry is wrong. What would make fractions has a stand-in
that reads the same elements: a curve a clamp, a division a product; a mean over a window is cut to
its integer part. A convolution sums as many taps as keep every sum below 2^24, where float32 ends
being exact, or else below 2^53 in float64.

Invariant: the twin has the layers of the graph, by name and in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight

LARGEST_INPUT = 3
"""Entering tensors hold integers of at most this magnitude."""
EXACT_BELOW = {"float32": 2**24, "float64": 2**53}
_EVERY = 1 << 30
_LADDER = (
    *(("float32", taps) for taps in (_EVERY, 32, 8, 4)),
    *(("float64", taps) for taps in (_EVERY, 32, 8, 4, 3, 2, 1)),
)
"""What is tried in turn: a dtype, and how many weights of each sum are not 0. Fewer test less."""

STAND_INS: Mapping[str, tuple[str, Mapping[str, Attribute]]] = {
    "silu": ("relu", {}),
    "gelu": ("relu", {}),
    "elu": ("relu", {}),
    "hardswish": ("relu", {}),
    "sigmoid": ("clamp", {"low": 0.0, "high": 1.0}),
    "hardsigmoid": ("clamp", {"low": 0.0, "high": 1.0}),
    "tanh": ("clamp", {"low": -1.0, "high": 1.0}),
    "exp": ("abs", {}),
    "sqrt": ("abs", {}),
    "reciprocal": ("neg", {}),
    "leaky_relu": ("leaky_relu", {"slope": -1.0}),
}
"""Elementwise kinds that would make fractions, and what the twin has in their place."""
_RENAMED = {"div": "mul", "mean": "amax"}
_ACROSS = frozenset(["local_response_norm", "softmax", "log_softmax"])
"""Kinds that mix elements of one place: the twin passes the tensor on as it is."""
_CUT_OFF = frozenset(["avg_pool2d", "upsample_bilinear"])
"""Kinds whose result is cut to its integer part: an exact sum, and one rounding always the same."""
_CONVOLUTIONS = frozenset(["conv2d", "conv_transpose2d"])


@dataclass(frozen=True, slots=True)
class Twin:
    """Some layers as whole numbers: what to run, on what, and how large anything can get."""

    graph: Graph
    """Its `arrays` are those of these layers only."""
    inputs: Mapping[str, Array]
    dtype: str
    taps: int
    """The most weights of one sum that are not 0."""
    bound: float
    """No sum, nor any part of one, is of a larger magnitude."""


def twin(graph: Graph, layers: Sequence[str], seed: int) -> Twin:
    """These layers with seeded small integers for weights and entering tensors.

    ModelError where no choice keeps all sums exact.
    """
    for dtype, taps in _LADDER:
        changed = whole_numbers(graph, dtype)
        ops = [op for name in layers for op in changed.layer(name).ops]
        bound = _bound(changed, ops, taps)
        if bound <= EXACT_BELOW[dtype]:
            random = np.random.default_rng(seed)
            arrays = dict(small_integers(changed, ops, taps, random))
            entering, _ = changed.boundary(layers)
            inputs = {name: _input(changed.tensors[name], random) for name in entering}
            return Twin(replace(changed, arrays=arrays), inputs, dtype, taps, bound)
    raise ModelError(
        f"{layers[0]}..{layers[-1]}: so many sums stand behind each other that float64 is not "
        "exact; check these layers without integers"
    )


def stood_in(graph: Graph, layers: Iterable[str]) -> dict[str, str]:
    """Which kinds of these layers have a stand-in, and which, in words."""
    found = {}
    for kind in {op.kind for name in layers for op in graph.layer(name).ops}:
        if kind in STAND_INS:
            other, attrs = STAND_INS[kind]
            told = ", ".join(f"{key} {value}" for key, value in attrs.items())
            found[kind] = f"{other} {told}".strip()
        elif kind in _RENAMED:
            found[kind] = _RENAMED[kind]
        elif kind in _ACROSS:
            found[kind] = "the tensor as it is"
        elif kind in _CUT_OFF:
            found[kind] = "its integer part"
    return dict(sorted(found.items()))


def whole_numbers(graph: Graph, dtype: str) -> Graph:
    """The graph with stand-ins and floats of `dtype`; its weights are contracts without arrays."""
    ops: list[Op] = []
    renamed: dict[str, str] = {}
    for op in graph.ops:
        sources = tuple(renamed.get(name, name) for name in op.inputs)
        changed = _stand_in(replace(op, inputs=sources, output=_as(op.output, dtype)), dtype)
        ops.append(changed)
        if op.kind in _CUT_OFF:
            ops += _integer_part(changed)
            renamed[op.name] = ops[-1].name
    return replace(
        graph,
        inputs=tuple(_as(contract, dtype) for contract in graph.inputs),
        outputs=tuple(renamed.get(name, name) for name in graph.outputs),
        ops=tuple(ops),
        weights={name: _weight_as(weight, dtype) for name, weight in graph.weights.items()},
        arrays={},
    )


def _as(contract: Contract, dtype: str) -> Contract:
    return replace(contract, dtype=dtype) if contract.dtype.startswith("float") else contract


def _weight_as(weight: Weight, dtype: str) -> Weight:
    return replace(weight, dtype=dtype) if weight.dtype.startswith("float") else weight


def _stand_in(op: Op, dtype: str) -> Op:
    if op.kind in STAND_INS:
        kind, attrs = STAND_INS[op.kind]
        return replace(op, kind=kind, attrs=attrs)
    if op.kind in _ACROSS:
        axis = min(1, len(op.output.shape) - 1)
        stop = op.output.shape[axis]
        assert isinstance(stop, int)
        return replace(op, kind="slice", attrs={"axis": axis, "start": 0, "stop": stop, "step": 1})
    kind = _RENAMED.get(op.kind, op.kind)
    attrs = {name: _attribute(op, name, value) for name, value in op.attrs.items()}
    if kind == "cast":
        attrs["dtype"] = op.output.dtype
    return replace(op, kind=kind, attrs=attrs)


def _attribute(op: Op, name: str, value: Attribute) -> Attribute:
    """Numbers that are reckoned with become small integers; those that say where stay."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    if name == "eps":
        return 0.0
    if op.kind in ("mul", "div"):
        return type(value)(math.copysign(1, value))
    if name in ("left", "right", "low", "high", "value"):
        return type(value)(max(-6, min(6, math.floor(value))))
    return value


def _integer_part(op: Op) -> tuple[Op, Op]:
    """Two casts behind an op: to integers and back."""
    there, back = f"{op.name}#integer", f"{op.name}#float"
    whole = replace(op.output, name=there, dtype="int64")
    return (
        Op(there, "cast", (op.name,), {}, {"dtype": "int64"}, whole),
        Op(back, "cast", (there,), {}, {"dtype": op.output.dtype}, replace(op.output, name=back)),
    )


def _bound(graph: Graph, ops: Sequence[Op], taps: int) -> float:
    """The largest magnitude that any sum in these ops can have on its way."""
    held: dict[str, float] = {}
    largest = 0.0
    for op in ops:
        given = [held.get(name, float(LARGEST_INPUT)) for name in op.inputs]
        on_the_way = _magnitude(op, graph, given, taps)
        largest = max(largest, on_the_way)
        is_mean = op.kind in _CUT_OFF and "divisor_override" not in op.attrs
        held[op.name] = max(given) if is_mean else on_the_way
    return largest


def _magnitude(op: Op, graph: Graph, given: Sequence[float], taps: int) -> float:
    match op.kind:
        case "conv2d" | "conv_transpose2d":
            return given[0] * min(taps, _fan_in(op, graph)) + ("bias" in op.weights)
        case "add" | "sub":
            return sum(given) + (6 if len(given) == 1 else 0)
        case "mul":
            return math.prod(given)
        case "batch_norm":
            return given[0] + 2
        case "sum" | "avg_pool2d":
            return given[0] * _elements(op, graph)
        case "clamp" if {"low", "high"} <= op.attrs.keys():
            return max(abs(_number(op, "low")), abs(_number(op, "high")))
        case "clamp" | "maximum" | "minimum" | "pad":
            return max(6.0, *given)
    return max(given)


def _number(op: Op, name: str) -> float:
    value = op.attrs[name]
    assert isinstance(value, int | float)
    return value


def _elements(op: Op, graph: Graph) -> int:
    """How many one result of a sum or an average is made of."""
    if op.kind == "avg_pool2d":
        kernel = op.attrs["kernel"]
        assert isinstance(kernel, tuple)
        return math.prod(int(size) for size in kernel)
    size = math.prod(int(dim) for dim in graph.tensors[op.inputs[0]].shape)
    return size // math.prod(int(dim) for dim in op.output.shape)


def _rows(op: Op, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """A convolution's weight as (groups, inputs a group, outputs a group, places of the window)."""
    groups = op.attrs["groups"]
    assert isinstance(groups, int)
    window = shape[2] * shape[3]
    if op.kind == "conv2d":
        return groups, shape[1], shape[0] // groups, window
    return groups, shape[0] // groups, shape[1], window


def _fan_in(op: Op, graph: Graph) -> int:
    _, inputs, _, window = _rows(op, graph.weights[op.weights["weight"]].shape)
    return inputs * window


def small_integers(
    graph: Graph, ops: Sequence[Op], taps: int, random: np.random.Generator
) -> Iterator[tuple[str, Array]]:
    """-1, 0 and 1 for every weight of these ops, each weight once; sums of at most `taps`."""
    made: set[str] = set()
    for op in ops:
        for role, name in op.weights.items():
            if name not in made:
                made.add(name)
                weight = graph.weights[name]
                yield name, _array(op, role, weight.shape, taps, random).astype(weight.dtype)


def _array(
    op: Op, role: str, shape: Sequence[int], taps: int, random: np.random.Generator
) -> Array:
    if op.kind in _CONVOLUTIONS and role == "weight":
        return _kernel(op, shape, taps, random)
    if role == "var":
        return np.ones(shape)
    if role == "scale" or op.kind == "mul":
        return random.choice(np.array([-1, 1]), shape)
    return random.integers(-1, 1, shape, endpoint=True)


def _kernel(op: Op, shape: Sequence[int], taps: int, random: np.random.Generator) -> Array:
    """Weights of which each sum reads so many at random places; one is 1, the others 1 or -1.

    The one keeps deep networks alive: behind a relu two of three paths would else end in zeros.
    """
    groups, inputs, outputs, window = _rows(op, shape)
    fan_in = inputs * window
    if taps >= fan_in:
        return random.integers(-1, 1, tuple(shape), endpoint=True)
    rows = groups * outputs
    places = random.random((rows, fan_in), dtype=np.float32).argpartition(taps)[:, :taps]
    signs = random.choice(np.array([-1, 1], dtype=np.int8), places.shape)
    signs[:, 0] = 1
    flat = np.zeros((rows, fan_in), dtype=np.int8)
    np.put_along_axis(flat, places, signs, axis=1)
    if op.kind == "conv2d":
        return flat.reshape(shape)
    cube = flat.reshape(groups, outputs, inputs, *shape[2:])
    return cube.transpose(0, 2, 1, 3, 4).reshape(shape)


def _input(contract: Contract, random: np.random.Generator) -> Array:
    """Integers from -3 to 3, of the contract's dtype; from 0 where it has no sign."""
    low = 0 if contract.dtype in ("uint8", "bool") else -LARGEST_INPUT
    shape = tuple(int(dim) for dim in contract.shape)
    return random.integers(low, LARGEST_INPUT, shape, endpoint=True).astype(contract.dtype)
