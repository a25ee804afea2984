"""Tiles stitched together are the whole map, to the last bit: random stacks, random grids.

    a random stack of ops ──▶ a run of its layers ──▶ an uneven grid of what leaves it
                 │ whole                                   │ tile by tile, each a graph
                 └────────────── the same bits ────────────┘

Weights and inputs are small whole numbers, and every op is one that keeps sums exact, so that the
order in which an engine adds changes nothing. What would need more bits than the dtype has is
squeezed to small numbers first.
"""

from __future__ import annotations

from dataclasses import replace
from math import log2
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow import audit
from edgeflow.executors.torch import TorchSegment
from edgeflow.exporter import export, zoo
from edgeflow.messages import Rect
from edgeflow.model.check import check
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight
from edgeflow.model.ops import infer
from edgeflow.tiles import kinds
from edgeflow.tiles.cutout import Cutout, cut_out
from edgeflow.tiles.grid import scaled, uneven
from edgeflow.tiles.rect import uncovered, whole
from edgeflow.tiles.stretch import stretches

CASES = 1500
"""Of each of two dtypes."""
EXACT_BITS = {"float32": 23, "float64": 52}
SIDE_MAX = 40
"""Rows or columns: larger maps are not enlarged further."""


class Stack:
    """A graph that grows op by op. `bits` says what each tensor may need: (whole, fraction)."""

    def __init__(self, random: Random, dtype: str) -> None:
        self.random, self.dtype = random, dtype
        shape = (random.choice([1, 1, 2]), random.choice([2, 4, 8]), *self.sizes(3, 17))
        self.inputs = [Contract("x", dtype, shape), Contract("gate", dtype, (*shape[:2], 1, 1))]
        self.known = {contract.name: contract for contract in self.inputs}
        self.bits = {"x": (2.0, 0.0), "gate": (2.0, 0.0)}
        self.ops: list[Op] = []
        self.arrays: dict[str, Array] = {}
        self.maps = ["x"]

    def sizes(self, low: int, high: int) -> tuple[int, int]:
        return self.random.randint(low, high), self.random.randint(low, high)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(dim) for dim in self.known[name].shape)

    def constant(self, *shape: int, low: int = -2, high: int = 2) -> str:
        name = f"w{len(self.arrays)}"
        drawn = [self.random.randint(low, high) for _ in range(int(np.prod(shape)))]
        self.arrays[name] = np.array(drawn, dtype=self.dtype).reshape(shape)
        return name

    def add(
        self,
        kind: str,
        sources: list[str],
        attrs: dict[str, Any],
        grown: tuple[float, float] = (0.0, 0.0),
        **weights: str,
    ) -> str:
        """The op, squeezed before where `grown` bits are too many; ValueError where unfit."""
        whole_bits = max(self.bits[name][0] for name in sources) + grown[0]
        fraction = max(self.bits[name][1] for name in sources) + grown[1]
        if whole_bits + fraction > EXACT_BITS[self.dtype]:
            sources = [self.squeezed(name) for name in sources]
            whole_bits, fraction = 2 + grown[0], grown[1]
        assert whole_bits + fraction <= EXACT_BITS[self.dtype], f"{kind} is too much"
        name = f"t{len(self.ops)}"
        constants = {
            role: Contract(weight, self.dtype, self.arrays[weight].shape)
            for role, weight in weights.items()
        }
        dtype, shape = infer(kind, attrs, tuple(self.known[each] for each in sources), constants)
        if min(shape) < 1:
            raise ValueError("nothing left")
        self.known[name] = Contract(name, dtype, shape)
        self.bits[name] = (whole_bits, fraction)
        self.ops.append(Op(name, kind, tuple(sources), weights, attrs, self.known[name]))
        return name

    def squeezed(self, name: str) -> str:
        """Whole numbers from -3 to 3."""
        name = self.add("clamp", [name], {"low": -3.0, "high": 3.0}, (-1e9, 0))
        self.bits[name] = (2.0, 0.0)
        name = self.add("cast", [name], {"dtype": "int8"})
        return self.add("cast", [name], {"dtype": self.dtype})

    def graph(self) -> Graph:
        """All that was added; what nobody reads is an output."""
        read = {name for op in self.ops for name in op.inputs}
        outputs = [op.name for op in self.ops if op.name not in read]
        inner = [op.name for op in self.ops if op.name in read]
        if inner and self.random.random() < 0.3:
            outputs.append(self.random.choice(inner))
        used = {weight for op in self.ops for weight in op.weights.values()}
        weights = {
            name: Weight(name, self.dtype, self.arrays[name].shape, "0" * 64)
            for name in sorted(used)
        }
        return Graph(
            "stack", 1, tuple(self.inputs), tuple(outputs), tuple(self.ops), weights,
            arrays=self.arrays,
        )  # fmt: skip


# --- the ops of a stack -------------------------------------------------------------------------


def conv(stack: Stack, name: str) -> str:
    random, channels = stack.random, stack.shape(name)[1]
    groups = random.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
    kernel = stack.sizes(1, 3) if random.random() < 0.9 else stack.sizes(1, 5)
    attrs = {
        "stride": stack.sizes(1, 3),
        "dilation": stack.sizes(1, 2),
        "padding": tuple(random.choice([0, 0, 1, 1, 2, 4]) for _ in range(4)),
        "groups": groups,
    }
    made = groups * random.choice([1, 2, 4 // groups or 1])
    weight = stack.constant(made, channels // groups, *kernel)
    extra = {"bias": stack.constant(made)} if random.random() < 0.5 else {}
    grown = 2 + log2(channels // groups * kernel[0] * kernel[1] + 1)
    return stack.add("conv2d", [name], attrs, (grown, 0), weight=weight, **extra)


def conv_transpose(stack: Stack, name: str) -> str:
    random, channels = stack.random, stack.shape(name)[1]
    groups = random.choice([g for g in (1, 2) if channels % g == 0])
    stride, dilation, kernel = stack.sizes(1, 3), stack.sizes(1, 2), stack.sizes(1, 4)
    attrs = {
        "stride": stride,
        "dilation": dilation,
        "padding": stack.sizes(0, 2),
        "output_padding": tuple(
            random.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True)
        ),
        "groups": groups,
    }
    if max(stack.shape(name)[2:]) > SIDE_MAX:
        raise ValueError("large enough")
    weight = stack.constant(channels, random.choice([1, 2]), *kernel)
    bias = stack.constant(stack.arrays[weight].shape[1] * groups, low=1)
    grown = 2 + log2(channels // groups * kernel[0] * kernel[1] + 1)
    return stack.add("conv_transpose2d", [name], attrs, (grown, 0), weight=weight, bias=bias)


def pool(stack: Stack, name: str) -> str:
    random = stack.random
    kernel = stack.sizes(1, 3)
    attrs: dict[str, Attribute] = {
        "kernel": kernel,
        "stride": stack.sizes(1, 3),
        "padding": tuple(random.randint(0, k // 2) for k in kernel),
        "ceil_mode": random.random() < 0.5,
    }
    if random.random() < 0.5:
        return stack.add("max_pool2d", [name], {**attrs, "dilation": stack.sizes(1, 2)})
    attrs["count_include_pad"] = random.random() < 0.5
    if random.random() < 0.2:
        attrs["divisor_override"] = 4
    made = stack.add("mul", [name], {"right": 36.0}, (6, 0))  # 1, 2, 3, 4, 6 and 9 divide it
    return stack.add("avg_pool2d", [made], attrs, (4, 0))


def upsample(stack: Stack, name: str) -> str:
    random, (rows, columns) = stack.random, stack.shape(name)[2:]
    if max(rows, columns) > SIDE_MAX // 2:
        raise ValueError("large enough")
    kind = random.choice(["upsample_nearest", "upsample_bilinear"])
    factors = [random.choice([1, 2, 3] if kind == "upsample_nearest" else [1, 2, 4]) for _ in "hw"]
    attrs: dict[str, Attribute] = {"size": (rows * factors[0], columns * factors[1])}
    if random.random() < 0.5:
        attrs["scale"] = (float(factors[0]), float(factors[1]))
    if kind == "upsample_nearest":
        return stack.add(kind, [name], attrs)
    bits = sum(1 + log2(factor) for factor in factors)
    return stack.add(kind, [name], {**attrs, "align_corners": False}, (0, bits))


def elementwise(stack: Stack, name: str) -> str:
    channels = stack.shape(name)[1]
    match stack.random.randrange(6):
        case 0:
            return stack.add("relu", [name], {})
        case 1:
            return stack.add("leaky_relu", [name], {"slope": 0.5}, (0, 1))
        case 2:
            return stack.add("sub", [name], {}, (1, 0), left=stack.constant(channels, 1, 1))
        case 3:
            return stack.add("prelu", [name], {}, (2, 0), slope=stack.constant(channels))
        case 4:
            mean, scale = stack.constant(channels), stack.constant(channels)
            var = stack.constant(channels, low=4, high=4)
            weights = {"mean": mean, "var": var, "scale": scale, "shift": mean}
            return stack.add("batch_norm", [name], {"eps": 0.0}, (4, 1), **weights)
    return stack.add("abs", [name], {})


def pad(stack: Stack, name: str) -> str:
    sides = [stack.random.choice([-2, -1, 0, 0, 1, 2, 5]) for _ in range(4)]
    channels = stack.random.choice([0, 0, 1, 2])
    attrs = {"before": (0, channels, *sides[:2]), "after": (0, 0, *sides[2:]), "mode": "constant"}
    if min(stack.shape(name)[2:]) <= 4:
        raise ValueError("torch cuts off no more than there is")
    return stack.add("pad", [name], {**attrs, "value": 1.0})


def cut(stack: Stack, name: str) -> str:
    axis = stack.random.choice([1, 1, 2, 3])
    size = stack.shape(name)[axis]
    start = stack.random.randrange(size)
    stop = stack.random.randint(start + 1, size)
    step = stack.random.choice([1, 1, 2, 3])
    return stack.add("slice", [name], {"axis": axis, "start": start, "stop": stop, "step": step})


def shuffle(stack: Stack, name: str) -> str:
    channels = stack.shape(name)[1]
    if channels % 4 == 0 and stack.random.random() < 0.5:
        return stack.add("pixel_shuffle", [name], {"factor": 2})
    groups = stack.random.choice([g for g in (1, 2, 4) if channels % g == 0])
    return stack.add("channel_shuffle", [name], {"groups": groups})


def across(stack: Stack, name: str) -> str:
    kind = stack.random.choice(["sum", "amax"])
    axes = stack.random.choice([(1,), (0,), (0, 1)])
    return stack.add(kind, [name], {"axes": axes, "keepdim": True}, (4, 0))


def gate(stack: Stack, name: str) -> str:
    if stack.shape(name)[:2] != stack.shape("gate")[:2]:
        raise ValueError("other channels")
    pair = stack.random.sample([name, "gate"], 2)
    return stack.add(stack.random.choice(["mul", "add"]), pair, {}, (3, 0))


def branches(stack: Stack, name: str) -> str:
    """Joined with any tensor that fits: residuals that span many ops, and of itself."""
    shape = stack.shape(name)
    if stack.random.random() < 0.5:
        kind = stack.random.choice(["add", "sub", "maximum"])
        fits = [each for each in stack.maps if stack.shape(each) == shape]
        return stack.add(kind, [name, stack.random.choice(fits)], {}, (1, 0))
    rest = (shape[0], *shape[2:])
    near = [n for n in stack.maps if (stack.shape(n)[0], *stack.shape(n)[2:]) == rest]
    return stack.add("concat", [name, *stack.random.choices(near, k=2)], {"axis": 1})


STEPS = [conv, conv, conv, conv_transpose, pool, pool, upsample, elementwise, pad, cut, shuffle,
         across, gate, branches, branches, branches]  # fmt: skip


def stacked(random: Random, dtype: str, length: int) -> Graph:
    """A graph of so many steps or fewer: some do not fit."""
    stack = Stack(random, dtype)
    for _ in range(4 * length):
        try:
            made = random.choice(STEPS)(stack, random.choice(stack.maps[-3:]))
        except ValueError:
            continue  # a window that does not fit, or the like
        stack.maps.append(made)
        if len(stack.maps) > length:
            break
    if not stack.ops:
        stack.add("relu", ["x"], {})
    return stack.graph()


# --- whole against tiles ------------------------------------------------------------------------


def names_of(graph: Graph) -> list[str]:
    return [layer.name for layer in graph.layers]


def run(cutout: Cutout, tensors: dict[str, Array]) -> dict[str, Array]:
    """What a tile makes of its parts of the tensors."""
    check(cutout.graph)
    assert set(cutout.layer_of) == set(names_of(cutout.graph))
    parts = {name: part(tensors[name], rect) for name, rect in cutout.inputs.items()}
    graph = cutout.graph
    return TorchSegment(graph, names_of(graph), graph.arrays, threads=1).run(parts)


def part(array: Array, rect: Rect) -> Array:
    return array[:, :, rect.top : rect.bottom, rect.left : rect.right]


def bits(array: Array) -> bytes:
    """Its bytes; zero has one sign, for the larger of 0 and -0 is the one that came first."""
    return (array + np.zeros(1, array.dtype)).tobytes()


def everything(graph: Graph, random: Random) -> dict[str, Array]:
    """Inputs of small whole numbers, and every tensor that the graph makes of them."""
    rng = np.random.default_rng(random.randrange(1 << 30))
    feed: dict[str, Array] = {}
    for contract in graph.inputs:
        shape = [int(dim) for dim in contract.shape]
        feed[contract.name] = rng.integers(-3, 4, shape).astype(contract.dtype)
    names = [op.name for op in graph.ops]
    segment = TorchSegment(graph, names_of(graph), graph.arrays, threads=1, outputs=names)
    return {**feed, **segment.run(feed)}


def grid(random: Random, rows: int, columns: int) -> tuple[Rect, ...]:
    shares = [[random.choice([1, 2, 5]) for _ in range(random.randint(1, 3))] for _ in "hw"]
    return uneven(rows, columns, *shares)


def check_tiles(graph: Graph, layers: list[str], random: Random) -> None:
    """Every output that leaves these layers, tile by tile, against the whole."""
    tensors = everything(graph, random)
    leaving = graph.boundary(layers)[1]
    sizes = {name: (all_of_it.bottom, all_of_it.right)
             for name in leaving if (all_of_it := whole(graph.tensors[name]))}  # fmt: skip
    first = random.choice(leaving)
    covered: dict[str, list[Rect]] = {name: [] for name in leaving}
    for tile in grid(random, *sizes[first]):
        shown = {name: scaled(tile, sizes[first], size) for name, size in sizes.items()}
        wanted = {name: rect for name, rect in shown.items() if rect is not None}
        made = run(cut_out(graph, layers, wanted), tensors)
        assert set(made) == set(wanted)
        for name, rect in wanted.items():
            covered[name].append(rect)
            assert bits(made[name]) == bits(part(tensors[name], rect)), (name, rect)
    for name, rects in covered.items():
        assert not uncovered(Rect(0, sizes[name][0], 0, sizes[name][1]), rects)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_random_stacks_are_the_whole_map_bit_for_bit(dtype: str) -> None:
    @given(seed=st.integers(0, 1 << 40), length=st.integers(1, 8))
    @settings(max_examples=CASES, deadline=None)
    def holds(seed: int, length: int) -> None:
        random = Random(seed)
        graph = stacked(random, dtype, length)
        layers = names_of(graph)
        start = random.randrange(len(layers)) if random.random() < 0.5 else 0
        stop = random.randint(start + 1, len(layers)) if random.random() < 0.5 else len(layers)
        check_tiles(graph, layers[start:stop], random)

    holds()


# --- by hand ------------------------------------------------------------------------------------

NO_ATTRS = ["sigmoid", "tanh", "silu", "exp", "hardswish", "hardsigmoid", "sqrt", "neg",
            "reciprocal", "identity"]  # fmt: skip
REAL: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in NO_ATTRS},
    "elu": {"alpha": 0.5},
    "gelu": {"approximate": "none"},
    "clamp": {"low": 0.5},
    "cast": {"dtype": "uint8"},
    "div": {"left": 2.0},
    "minimum": {"right": 1.0},
    "softmax": {"axis": 1},
    "log_softmax": {"axis": 1},
    "mean": {"axes": (1,), "keepdim": True},
    "local_response_norm": {"size": 3, "alpha": 1e-2, "beta": 0.75, "k": 2.0},
    "adaptive_avg_pool2d": {"size": (9, 7)},
    "adaptive_max_pool2d": {"size": (9, 7)},
}
"""Kinds that random stacks have not, as they round, with attributes."""


def test_every_kind_that_has_a_rule_is_tried() -> None:
    tried = {op.kind for seed in range(200) for op in stacked(Random(seed), "float32", 8).ops}
    assert tried | set(REAL) == set(kinds.MAKERS)


@pytest.mark.parametrize("kind", REAL)
def test_kinds_that_round_make_tiles_that_round_alike(kind: str) -> None:
    stack = Stack(Random(0), "float32")
    stack.known["x"] = stack.inputs[0] = Contract("x", "float32", (1, 4, 9, 7))
    stack.add(kind, ["x"], REAL[kind])
    graph, rng = stack.graph(), np.random.default_rng(0)
    feed = {"x": rng.uniform(0.5, 2, (1, 4, 9, 7)).astype("f4"), "gate": np.zeros(4, "f4")}
    whole_map = TorchSegment(graph, ["t0"], {}, threads=1).run(feed)["t0"]
    for rect in uneven(9, 7, (2, 1, 1), (1, 3)):
        made = run(cut_out(graph, ["t0"], {"t0": rect}), feed)["t0"]
        np.testing.assert_allclose(made, part(whole_map, rect), rtol=1e-6)


def conv_and_pool() -> Graph:
    stack = Stack(Random(0), "float32")
    stack.known["x"] = stack.inputs[0] = Contract("x", "float32", (1, 4, 12, 12))
    attrs = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    weight = stack.constant(4, 4, 3, 3)
    stack.add("conv2d", ["x"], attrs, (8, 0), weight=weight)
    stack.add("relu", ["t0"], {})
    stack.add("add", ["x", "t1"], {}, (1, 0))
    return stack.graph()


def test_an_inner_tile_is_padded_nowhere_and_its_ops_keep_their_names() -> None:
    cutout = cut_out(conv_and_pool(), ["t0", "t2"], {"t2": Rect(4, 8, 0, 6)})
    ops = {op.name: op for op in cutout.graph.ops}
    assert list(ops) == ["t0", "t1", "x.1", "x.2", "t2"]
    assert ops["t0"].attrs["padding"] == (0, 1, 0, 0)
    assert cutout.inputs == {"x": Rect(3, 9, 0, 7)}
    assert cutout.graph.tensors["x"].shape == (1, 4, 6, 7)
    assert cutout.layer_of == {"t0": "t0", "x.1": "t2", "x.2": "t2", "t2": "t2"}


def test_a_tile_shares_the_weights_and_needs_none_at_hand() -> None:
    graph = conv_and_pool()
    wanted = {"t2": Rect(0, 6, 0, 12)}
    assert cut_out(graph, ["t0", "t2"], wanted).graph.arrays["w0"] is graph.arrays["w0"]
    bare = cut_out(replace(graph, arrays={}), ["t0", "t2"], wanted).graph
    assert (bare.arrays, set(bare.weights)) == ({}, {"w0"})


def test_an_output_that_others_read_too_comes_out_as_just_what_was_wanted() -> None:
    graph = replace(conv_and_pool(), outputs=("t1", "t2"))
    tensors = everything(graph, Random(0))
    wanted = {"t1": Rect(5, 7, 5, 7), "t2": Rect(4, 8, 4, 8)}
    made = run(cut_out(graph, ["t2", "t0"], wanted), tensors)
    for name, rect in wanted.items():
        np.testing.assert_array_equal(made[name], part(tensors[name], rect))


def test_a_real_network_with_shuffles_and_branches_is_close_in_tiles() -> None:
    graph = export(zoo.pytorchcv("shufflenetv2_wd2", size=224), name="shufflenet")
    (stretch,) = stretches(graph)
    feed = audit.example_inputs(graph)
    names = [op.name for op in graph.ops]
    segment = TorchSegment(graph, names_of(graph), graph.arrays, threads=1, outputs=names)
    tensors = {**feed, **segment.run(feed)}
    (output,) = stretch.outputs
    for rect in uneven(7, 7, (2, 1), (1, 2)):
        made = run(cut_out(graph, stretch.layers, {output: rect}), tensors)[output]
        truth = part(tensors[output], rect)
        np.testing.assert_allclose(made, truth, rtol=1e-4, atol=1e-5 * float(np.abs(truth).max()))
