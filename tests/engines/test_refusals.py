"""What is outside the op set is refused: with its name, its place and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgeflow.errors import EdgeflowError, ModelError, UsageError
from edgeflow.exporter import export, load_source, parse_input

IMAGE = torch.randn(1, 4, 9, 8, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A module out of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


class Deep(nn.Module):
    """Something outside the set, two modules deep."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), inner)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (Of(lambda x: x.cumsum(1)), r"aten\.cumsum at body\.1 \(.*Of\)"),
        (Of(lambda x: torch.fft.rfft(x).abs()), r"fft.* at body\.1 "),
        (Of(lambda x: x**3), "power 3"),
        (nn.SELU(), "outside"),
        (nn.Conv3d(9, 2, 1), r"body\.1"),
        (Of(lambda x: x if x.sum() > 0 else -x), "cannot trace Deep"),
        (Of(lambda x: torch.cat([x, torch.zeros(1, 1, 9, 8)], 1)), "constant stands where concat"),
    ],
)
def test_what_is_outside_the_set_is_refused_with_name_and_place(
    inner: nn.Module, said: str
) -> None:
    image = torch.zeros(1, 9, 2, 2, 2) if isinstance(inner, nn.Conv3d) else IMAGE
    with pytest.raises(ModelError, match=said):
        export(Deep(inner), (image,), name="n")


def test_an_output_that_depends_on_no_input_is_refused() -> None:
    with pytest.raises(ModelError, match="does not depend on its inputs"):
        export(Of(lambda x: (x, torch.ones(3))), (IMAGE,), name="n")


def test_the_refusal_names_all_that_is_outside() -> None:
    with pytest.raises(ModelError, match=r"aten\.cumsum .*Outside it too: aten\.sort"):
        export(Of(lambda x: x.cumsum(1).sort()[0]), (IMAGE,), name="n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(
        "import torch\n"
        "def make(width=3): return torch.nn.Linear(4, width)\n"
        "def number(): return 7\n"
        "def broken(): return 1 / 0\n"
        "constant = 3\n"
    )
    return path


def test_a_source_is_a_file_or_a_module(file: Path) -> None:
    made = load_source(f"{file}:make", {"width": 5})
    assert isinstance(made, nn.Linear)
    assert made.out_features == 5
    assert isinstance(load_source("torch.nn:ReLU"), nn.ReLU)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("make", "is no source"),
        (":make", "is no source"),
        ("nowhere.at.all:make", "cannot import nowhere"),
        ("none.py:make", r"there is no file none\.py"),
        ("{file}:absent", "has no factory 'absent'"),
        ("{file}:constant", "has no factory 'constant'"),
        ("{file}:number", "made a int, not a torch"),
        ("{file}:broken", "failed: ZeroDivisionError"),
    ],
)
def test_a_source_that_makes_no_module_is_named(file: Path, source: str, said: str) -> None:
    with pytest.raises(EdgeflowError, match=said):
        load_source(source.format(file=file))


def test_arguments_that_a_factory_does_not_take_are_named(file: Path) -> None:
    with pytest.raises(UsageError, match=r"does not take these arguments.*'depth'"):
        load_source(f"{file}:make", {"depth": 5})


def test_a_file_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (")
    with pytest.raises(UsageError, match=r"bad\.py does not load: SyntaxError"):
        load_source(f"{tmp_path / 'bad.py'}:make")


def test_an_input_is_name_dtype_and_sizes() -> None:
    name, tensor = parse_input("image=uint8:1x3x224x224")
    assert (name, tensor.dtype, tuple(tensor.shape)) == ("image", torch.uint8, (1, 3, 224, 224))
    for text in ("image", "image=1x3", "image=uint9:1x3", "image=uint8:1x0", "image=uint8:1x-3"):
        with pytest.raises(UsageError, match="is no input"):
            parse_input(text)
