"""A residual network as data: shapes, weights and work of a resnet18, values symbolic.

    image ─▶ cast ─▶ conv1 ─▶ pool ─▶ 8 × ( a ─▶ b ─▶ sum ) ─▶ mean ─▶ fc ─▶ scores
                                          '── down ──▲ where the map shrinks

After He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, table 1.

Invariant: 32 layers, 1.8 G multiply-adds, 47 MB of weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight
from edgeflow.sim.toy import Toy, digest

Shape = tuple[int, ...]
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels, and the stride of the first of two blocks."""


POOL: Mapping[str, Attribute] = {
    "kernel": (3, 3),
    "stride": (2, 2),
    "padding": (1, 1),
    "dilation": (1, 1),
    "ceil_mode": False,
}


class _Maker:
    """Ops one after the other."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.weights: dict[str, Weight] = {}
        self.shapes: dict[str, Shape] = {"image": (1, 3, 224, 224)}

    def op(
        self,
        name: str,
        kind: str,
        reads: tuple[str, ...],
        shape: Shape,
        **attrs: Attribute,
    ) -> str:
        """One op without weights; its name."""
        return self._add(name, kind, reads, shape, {}, attrs)

    def conv(
        self, name: str, read: str, channels: int, kernel: int, stride: int, *, relu: bool
    ) -> str:
        """A convolution of that width, and what is joined to it; the last one's name."""
        given, side = self.shapes[read][1], self.shapes[read][2] // stride
        weight = self.weight(name, (channels, given, kernel, kernel))
        pad = (kernel - 1) // 2
        attrs: dict[str, Attribute] = {
            "stride": (stride, stride),
            "padding": (pad, pad, pad, pad),
            "dilation": (1, 1),
            "groups": 1,
        }
        shape = (1, channels, side, side)
        self._add(name, "conv2d", (read,), shape, {"weight": weight}, attrs)
        return self.op(f"{name}.relu", "relu", (name,), shape) if relu else name

    def linear(self, name: str, read: str, count: int) -> str:
        """A product."""
        weight = self.weight(name, (count, self.shapes[read][1]))
        return self._add(name, "linear", (read,), (1, count), {"weight": weight}, {})

    def weight(self, name: str, shape: Shape) -> str:
        """The weights of one op; their name."""
        full = f"{name}.w"
        self.weights[full] = Weight(full, "float32", shape, digest(f"resnet {name}"))
        return full

    def _add(
        self,
        name: str,
        kind: str,
        reads: tuple[str, ...],
        shape: Shape,
        weights: dict[str, str],
        attrs: dict[str, Attribute],
    ) -> str:
        self.shapes[name] = shape
        output = Contract(name, "float32", shape)
        self.ops.append(Op(name, kind, reads, weights, attrs, output))
        return name


def resnet_graph() -> Graph:
    """The whole network, for a picture of 224 by 224 bytes times three."""
    make = _Maker()
    last = make.op("cast", "cast", ("image",), make.shapes["image"], dtype="float32")
    last = make.conv("conv1", last, 64, 7, 2, relu=True)
    pool: dict[str, Attribute] = {
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": (1, 1),
        "dilation": (1, 1),
    }
    last = make.op("pool", "max_pool2d", (last,), (1, 64, 56, 56), ceil_mode=False, **pool)
    for stage, (channels, first) in enumerate(STAGES, 1):
        for block, stride in enumerate((first, 1), 1):
            last = _block(make, f"s{stage}b{block}", last, channels, stride)
    last = make.op("mean", "mean", (last,), (1, 512), axes=(2, 3), keepdim=False)
    last = make.linear("fc", last, 1000)
    image = Contract("image", "uint8", make.shapes["image"])
    return Graph("resnet18-like", 1, (image,), (last,), tuple(make.ops), make.weights)


def _block(make: _Maker, name: str, read: str, channels: int, stride: int) -> str:
    """Two convolutions, and what goes around them."""
    made = make.conv(f"{name}.a", read, channels, 3, stride, relu=True)
    made = make.conv(f"{name}.b", made, channels, 3, 1, relu=False)
    beside = (
        read if stride == 1 else make.conv(f"{name}.down", read, channels, 1, stride, relu=False)
    )
    shape = make.shapes[made]
    summed = make.op(f"{name}.sum", "add", (made, beside), shape)
    return make.op(f"{name}.out", "relu", (summed,), shape)


RESNET = Toy(resnet_graph(), digest("the manifest of the residual network"))
