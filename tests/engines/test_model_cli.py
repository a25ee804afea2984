"""`edgeflow export`, `show`, `run` and `verify`, as a shell would call them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeflow.cli.main import main

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, classes)
    def forward(self, image):
        x = image.permute(0, 3, 1, 2) / 255
        return self.fc(self.conv(x).relu().mean((2, 3)))

def make(classes=2): return Net(classes)
def outside(): return nn.Sequential(nn.ReLU(), Sums())

class Sums(nn.Module):
    def forward(self, x): return x.cumsum(1)
"""

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeflow", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def model(nets: Path, shell: Shell) -> Path:
    (nets.parent / "labels.txt").write_text("cat\ndog\nowl\n")
    recipe = [
        word for pair in ("input=image", "height=8", "width=8") for word in ("--recipe", pair)
    ]
    target = nets.parent / "net.safetensors"
    code, _, told = shell(
        *("export", f"{nets}:make", "-o", target, "--arg", "classes=3"),
        *("--input", "image=uint8:1x8x8x3", "--labels", nets.parent / "labels.txt", *recipe),
    )
    assert code == 0, told
    return target


def last_object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_show_lists_layers_and_cuts(model: Path, shell: Shell) -> None:
    code, text, _ = shell("show", model)
    assert code == 0
    assert "conv2d relu" in text
    assert "4 places where" in text
    code, text, _ = shell("show", model, "--json")
    told = last_object(text)
    assert [layer["name"] for layer in told["layers"]] == ["permute", "conv", "mean", "fc"]
    assert told["inputs"] == [{"name": "image", "dtype": "uint8", "shape": [1, 8, 8, 3]}]
    assert [cut["tensor"] for cut in told["cuts"]] == ["image", "div", "relu", "mean"]
    assert told["labels"] == 3


def test_run_answers_a_picture_whole_and_split_alike(model: Path, shell: Shell) -> None:
    picture = model.parent / "a.png"
    Image.new("RGB", (20, 10), (10, 200, 30)).save(picture)
    code, whole, _ = shell("run", model, picture, "--json")
    assert code == 0
    split = shell("run", model, picture, "--json", "--placement", "permute..conv @a | mean fc @b")
    assert split[:2] == (0, whole)
    best = last_object(whole)["best"]["fc"]
    assert {line["label"] for line in best} == {"cat", "dog", "owl"}


def test_run_takes_arrays_but_nothing_pickled(model: Path, shell: Shell) -> None:
    array = model.parent / "a.npy"
    np.save(array, np.zeros((1, 8, 8, 3), dtype=np.uint8))
    assert shell("run", model, array)[0] == 0
    np.save(array, np.array([{"a": 1}]), allow_pickle=True)
    code, _, told = shell("run", model, array)
    assert code == 2
    assert "cannot read the arrays" in told


def test_run_says_what_does_not_fit(model: Path, shell: Shell) -> None:
    array, text = model.parent / "a.npy", model.parent / "a.jpg"
    np.save(array, np.zeros((1, 8, 9, 3), dtype=np.uint8))
    code, _, told = shell("run", model, array)
    assert (code, "the model takes uint8 (1, 8, 8, 3)" in told) == (3, True)
    text.write_text("no picture")
    code, _, told = shell("run", model, text)
    assert (code, "is no picture" in told) == (2, True)
    np.save(array, np.zeros((1, 8, 8, 3), dtype=np.uint8))
    code, _, told = shell("run", model, array, "--placement", "permute @a")
    assert (code, "place every layer" in told) == (2, True)


def test_verify_prints_its_report_as_the_last_line(model: Path, shell: Shell) -> None:
    code, text, _ = shell("verify", model, "--cuts", "all", "--json")
    assert code == 0
    report = last_object(text)
    assert (report["cuts"], report["mismatches"]) == (4, 0)
    assert (report["max_abs_diff"], report["max_ulp"]) == (0.0, 0)


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_damaged_model_is_refused(model: Path, shell: Shell, command: str) -> None:
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    code, _, told = shell(command, model)
    assert (code, "truncated" in told) == (3, True)
    if command == "verify":
        model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        code, _, told = shell(command, model)
        assert (code, "damaged" in told) == (3, True)


def test_an_op_outside_the_set_is_refused_with_its_place(nets: Path, shell: Shell) -> None:
    target = nets.parent / "never.safetensors"
    code, _, told = shell("export", f"{nets}:outside", "-o", target, "--input", "x=float32:1x3")
    assert code == 3
    assert "op aten.cumsum at 1 (" in told
    assert not target.exists()


def test_an_export_without_inputs_says_how_to_give_them(nets: Path, shell: Shell) -> None:
    code, _, told = shell("export", f"{nets}:make", "-o", nets.parent / "a")
    assert (code, "--input" in told) == (3, True)


def test_the_package_is_imported_without_an_engine() -> None:
    script = (
        "import sys, edgeflow, edgeflow.audit, edgeflow.cli.model; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_without_torch_the_cure_is_named() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import edgeflow\n"
        "try: edgeflow.export\n"
        "except edgeflow.errors.UsageError as error: print(error)"
    )
    script = script.replace("import edgeflow\n", "import edgeflow, edgeflow.errors\n")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install 'edgeflow-dnn[torch]'" in done.stdout, done.stderr
