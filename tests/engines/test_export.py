"""Modules that become Graphs: the same numbers, whole ops, readable names; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its common name

from edgeflow import audit
from edgeflow.errors import ModelError
from edgeflow.exporter import Card, export
from edgeflow.model import manifest
from edgeflow.model.check import check
from edgeflow.model.graph import Graph


def exported(module: nn.Module, *inputs: Tensor) -> Graph:
    """The Graph, after its outputs were compared with the module's."""
    graph = export(module, inputs, name="net")
    check(graph)
    feed = {c.name: x.numpy() for c, x in zip(graph.inputs, inputs, strict=True)}
    made = audit.run(graph, feed)
    with torch.inference_mode():
        expected = module.eval()(*inputs)
    wanted = list(expected) if isinstance(expected, tuple | list) else [expected]
    assert len(wanted) == len(graph.outputs)
    for name, tensor in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_allclose(made[name], tensor.numpy(), rtol=1e-4, atol=1e-5)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def settled(*layers: nn.Module) -> nn.Sequential:
    """Layers whose batch norms have statistics and weights unlike any default."""
    torch.manual_seed(1)
    net = nn.Sequential(*layers)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    return net.eval()


IMAGE = torch.randn(1, 4, 9, 8, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A module out of a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)],
        [nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False), nn.ReLU()],
        [nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)],
        [nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)],
    ],
)
def test_a_batch_norm_behind_a_convolution_vanishes(layers: list[nn.Module]) -> None:
    graph = exported(settled(*layers), IMAGE)
    assert "batch_norm" not in kinds(graph)
    assert graph.layers[0].name == "0"


def test_a_batch_norm_behind_a_linear_vanishes() -> None:
    graph = exported(settled(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.randn(2, 4))
    assert kinds(graph) == ["linear"]


def test_a_batch_norm_that_cannot_be_folded_stays() -> None:
    assert kinds(exported(settled(nn.BatchNorm2d(4), nn.ReLU()), IMAGE)) == ["batch_norm", "relu"]


def test_a_batch_norm_whose_convolution_is_read_twice_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = settled(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

        def forward(self, x: Tensor) -> Tensor:
            y = self.net[0](x)
            out: Tensor = self.net[1](y) * y
            return out

    assert "batch_norm" in kinds(exported(Twice(), IMAGE))


def test_zero_padding_moves_into_the_convolution() -> None:
    net = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(4, 2, 3, stride=2, padding=1))
    graph = exported(net, IMAGE)
    assert kinds(graph) == ["conv2d"]
    assert graph.ops[0].attrs["padding"] == (3, 1, 4, 2)


@pytest.mark.parametrize(
    "pad",
    [
        nn.ConstantPad2d(1, 0.5),
        nn.ReflectionPad2d(1),
        nn.ReplicationPad2d((0, 1, 2, 0)),
        nn.ZeroPad2d((-1, 1, 0, 0)),
        Of(lambda x: F.pad(x[:, :3], (0, 0, 0, 0, 0, 1))),
    ],
)
def test_other_padding_stays(pad: nn.Module) -> None:
    graph = exported(nn.Sequential(pad, nn.Conv2d(4, 2, 3)), IMAGE)
    assert kinds(graph)[-2:] == ["pad", "conv2d"]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.SiLU(), "silu"),
        (nn.Hardswish(), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.GELU(), "gelu"),
        (nn.LocalResponseNorm(3), "local_response_norm"),
        (nn.ChannelShuffle(2), "channel_shuffle"),
        (nn.PixelShuffle(2), "pixel_shuffle"),
        (nn.ReLU6(), "clamp"),
        (nn.PReLU(4), "prelu"),
        (nn.LeakyReLU(0.2), "leaky_relu"),
        (nn.ELU(0.5), "elu"),
        (nn.Linear(8, 3), "linear"),
        (nn.LayerNorm([9, 8]), "layer_norm"),
        (nn.GroupNorm(2, 4), "group_norm"),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), "max_pool2d"),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), "avg_pool2d"),
        (nn.AdaptiveAvgPool2d((3, 2)), "adaptive_avg_pool2d"),
        (nn.AdaptiveMaxPool2d((3, 2)), "adaptive_max_pool2d"),
        (nn.Upsample(scale_factor=1.7), "upsample_nearest"),
        (nn.Upsample(size=(20, 31), mode="bilinear"), "upsample_bilinear"),
        (nn.UpsamplingBilinear2d(scale_factor=2), "upsample_bilinear"),
        (nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), "conv_transpose2d"),
        (nn.Softmax(dim=1), "softmax"),
        (Of(lambda x: x.mean((2, 3))), "mean"),
        (Of(lambda x: 1 - x), "sub"),
        (Of(lambda x: 2 / (x * x + 1)), "reciprocal"),
        (Of(lambda x: x / (x * x + 1)), "div"),
        (Of(lambda x: x**2), "mul"),
        (Of(lambda x: x.permute(0, 2, 3, 1)), "permute"),
        (Of(lambda x: x.transpose(1, -1)), "permute"),
        (Of(lambda x: x[:, 1:3, ::2]), "slice"),
        (Of(lambda x: x[:, 1]), "slice"),
        (Of(lambda x: torch.sub(x, x.relu(), alpha=2)), "sub"),
        (Of(lambda x: torch.stack([x, x * 2], 1)), "concat"),
        (Of(lambda x: F.interpolate(x, scale_factor=0.5)), "upsample_nearest"),
        (Of(lambda x: x.clamp(min=0.1)), "clamp"),
        (Of(lambda x: x @ x.transpose(2, 3)), "matmul"),
        (Of(lambda x: x.flatten(1).unsqueeze(0).squeeze()), "reshape"),
        (Of(lambda x: x[:, :1].expand(-1, 5, -1, -1)), "expand"),
        (
            Of(lambda x: x.view(1, 2, 2, 9, 8).transpose(1, 2).reshape(1, 4, 9, 8)),
            "channel_shuffle",
        ),
    ],
)
def test_each_keeps_its_numbers_and_its_kind(layer: nn.Module, kind: str) -> None:
    assert kind in kinds(exported(layer, IMAGE))


def test_parts_of_a_split_become_slices_and_those_unread_vanish() -> None:
    graph = exported(Of(lambda x: x.chunk(3, 2)[1] + x.split([2, 3, 4], 2)[1]), IMAGE)
    assert kinds(graph) == ["slice", "slice", "add"]


def test_what_only_training_needs_vanishes() -> None:
    net = nn.Sequential(nn.Dropout(), nn.Identity(), nn.ReLU(), nn.Dropout2d())
    assert kinds(exported(net, IMAGE)) == ["relu"]


def test_writing_in_place_is_understood() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        z = F.relu(y, inplace=True)
        y += 1
        return y * z

    exported(Of(function), IMAGE)


def test_a_picture_of_bytes_goes_in_and_is_cast_where_torch_casts() -> None:
    image = torch.arange(60, dtype=torch.uint8).reshape(1, 4, 5, 3)
    graph = exported(Of(lambda x: x.permute(0, 3, 1, 2) / 255 - 0.5), image)
    assert graph.inputs[0].dtype == "uint8"
    assert kinds(graph) == ["permute", "cast", "div", "sub"]
    assert len(graph.layers) == 1


def test_several_inputs_and_outputs_keep_their_order_and_names() -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return left + right, left, (left * right).relu()

    graph = exported(Two(), torch.randn(2, 3), torch.randn(2, 3))
    assert [contract.name for contract in graph.inputs] == ["left", "right"]
    assert [graph.tensors[name].shape for name in graph.outputs] == [(2, 3)] * 3
    named = export(Two(), {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}, name="two")
    assert [contract.name for contract in named.inputs] == ["a", "b"]


def test_what_depends_on_no_input_is_computed_at_the_export() -> None:
    class Grid(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            grid: Tensor = torch.arange(8, dtype=torch.float32).cos() * 2
            out: Tensor = x + grid
            return out

    assert kinds(exported(Grid(), IMAGE)) == ["add"]


def test_names_come_from_the_module_tree() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._conv = nn.Conv2d(4, 4, 1)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.act(self._conv(x)) + x)  # type: ignore[no-any-return]

    net = nn.Sequential()
    net.add_module("stem", nn.Conv2d(4, 4, 1))
    net.add_module("block", Block())
    names = [op.name for op in exported(net, IMAGE).ops]
    assert names == ["stem", "block", "block.act", "block.add", "block.act_2"]


def test_the_same_module_makes_the_same_model_each_time() -> None:
    net = settled(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(168, 2))
    digests = {manifest.model_digest(export(net, (IMAGE,), name="n")) for _ in range(2)}
    assert len(digests) == 1


def test_an_export_leaves_the_module_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU().eval()).train()
    net[2].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export(net, (IMAGE,), name="n")
    assert net.training
    assert [part.training for part in net] == [True, True, False]
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_what_the_card_says_need_not_be_given() -> None:
    net = nn.ReLU()
    recipe = {"input": "x", "height": 9, "width": 8}
    net.card = Card({"x": IMAGE}, recipe, ("a", "b"))  # type: ignore[assignment]
    graph = export(net, name="n")
    assert (graph.recipe, graph.labels) == (recipe, ("a", "b"))
    with pytest.raises(ModelError, match="which inputs"):
        export(nn.ReLU(), name="n")


def test_a_small_recurrent_net_unrolls() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.lstm(x)[0]
            return out

    exported(Last(), IMAGE[0])
