"""The small model that a fuzzed fleet runs: right answers are integers, so that any engine on any
node gives the very same ones.

    x ─▶ one ─▶ two ─▶ three          3x3 convolutions with weights of -1, 0 and 1
"""

from __future__ import annotations

import hashlib

import numpy as np

from edgeflow.io.ledgerfile import digest
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight

SIDE = 16
NAMES = ("one", "two", "three")
_ATTRS: dict[str, Attribute] = {
    "stride": (1, 1),
    "padding": (1, 1, 1, 1),
    "dilation": (1, 1),
    "groups": 1,
}


def model() -> Graph:
    """Three layers on (1, 4, 16, 16)."""
    rng = np.random.default_rng(7)
    shape = (1, 4, SIDE, SIDE)
    arrays: dict[str, Array] = {}
    ops, read = [], "x"
    for name in NAMES:
        arrays[f"{name}.w"] = rng.integers(-1, 2, (4, 4, 3, 3)).astype(np.float32)
        output = Contract(name, "float32", shape)
        ops.append(Op(name, "conv2d", (read,), {"weight": f"{name}.w"}, _ATTRS, output))
        read = name
    weights = {
        name: Weight(name, "float32", array.shape, hashlib.sha256(array.tobytes()).hexdigest())
        for name, array in arrays.items()
    }
    given = Contract("x", "float32", shape)
    return Graph("fuzzed", 1, (given,), (NAMES[-1],), tuple(ops), weights, {}, (), arrays)


def inputs(count: int) -> dict[str, dict[str, Array]]:
    """Frames by key, of small integers."""
    rng = np.random.default_rng(8)
    shape = (1, 4, SIDE, SIDE)
    return {str(at): {"x": rng.integers(-3, 4, shape).astype(np.float32)} for at in range(count)}


def answer(x: Array) -> dict[str, Array]:
    """What the undivided model gives, computed by hand."""
    graph = model()
    for name in NAMES:
        weight, made = graph.arrays[f"{name}.w"], np.zeros_like(x)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        for row in range(3):
            for column in range(3):
                part = padded[:, :, row : row + SIDE, column : column + SIDE]
                made += np.einsum("nchw,fc->nfhw", part, weight[:, :, row, column])
        x = made
    return {NAMES[-1]: x}


def expected(frames: dict[str, dict[str, Array]]) -> dict[str, str]:
    """Key -> sha256 of the right outputs."""
    return {key: digest(answer(each["x"])) for key, each in frames.items()}
