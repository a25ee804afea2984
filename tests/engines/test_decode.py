"""A JPEG goes in: `read_picture`'s pixels, wherever it is decoded, or an error of that frame."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgeflow import audit, encoded, modelfile, picture
from edgeflow.cli.main import main
from edgeflow.config import NodeConfig
from edgeflow.encoded import example, jpeg, with_decode
from edgeflow.errors import InputError, ModelError, UsageError
from edgeflow.events import (
    BuildSegment,
    Event,
    LoadManifest,
    RunSegment,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
)
from edgeflow.executors.eager import EagerModule
from edgeflow.exporter import export
from edgeflow.io.compute import thread
from edgeflow.io.compute.thread import ComputeThread
from edgeflow.io.engine import Engine
from edgeflow.io.store import Store
from edgeflow.layout.parcel import parcel
from edgeflow.messages import DEVICE
from edgeflow.model.graph import OPEN_MAX, Graph
from edgeflow.model.ops import PIXELS_A_BYTE

RECIPE = {"input": "image", "height": 40, "width": 56, "crop": 0.875}


class Net(nn.Module):
    """A branch, so that some places are no cuts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.side = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image.permute(0, 3, 1, 2).float() / 255).relu()
        scores: torch.Tensor = self.fc((x + self.side(x)).mean((2, 3)))
        return scores


@pytest.fixture(scope="module")
def plain() -> Graph:
    image = torch.zeros(1, 40, 56, 3, dtype=torch.uint8)
    return export(Net().eval(), {"image": image}, name="net", recipe=RECIPE)


@pytest.fixture(scope="module")
def net(plain: Graph) -> Graph:
    return with_decode(plain)


def photograph(height: int = 90, width: int = 70, seed: int = 0) -> NDArray[np.uint8]:
    few = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(few).resize((width, height)))


def upside_down() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def files(folder: Path) -> list[Path]:
    """JPEGs and PNGs of every kind that a camera or a browser makes."""
    image = Image.fromarray(photograph())
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "plain.jpg": ("RGB", {"quality": 90}),
        "turned.jpg": ("RGB", {"exif": upside_down()}),
        "progressive.jpg": ("RGB", {"progressive": True, "subsampling": 0}),
        "grey.jpg": ("L", {}),
        "cmyk.jpg": ("CMYK", {}),
        "plain.png": ("RGB", {}),
        "turned.png": ("RGB", {"exif": upside_down()}),
        "palette.png": ("P", {}),
        "alpha.png": ("RGBA", {}),
        "bits.png": ("1", {}),
        "deep.png": ("I;16", {}),
    }
    for name, (mode, options) in ways.items():
        source = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
        source.save(folder / name, **options)
    burst = [Image.fromarray(photograph(seed=at)) for at in range(2)]
    burst[0].save(folder / "burst.jpg", "MPO", save_all=True, append_images=burst[1:])
    return [folder / name for name in (*ways, "burst.jpg")]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("filter_name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_op_makes_the_pixels_of_read_picture(
    tmp_path: Path, layout: Any, filter_name: Any
) -> None:
    recipe = picture.Recipe("image", 40, 56, 0.875, filter_name, layout)
    for path in files(tmp_path):
        right = picture.read_picture(path, recipe)
        made = picture.decode(picture.read_encoded(path), recipe)
        assert made.tobytes() == right.tobytes(), path.name
        assert (made.shape, made.dtype.name) == (right.shape, "uint8")
        assert made.flags.writeable, "what follows may work in its place"


def test_a_file_is_answered_as_its_pixels_are(plain: Graph, net: Graph, tmp_path: Path) -> None:
    (output,) = net.outputs
    for path in files(tmp_path):
        pixels = audit.run(plain, picture.inputs_of(plain, path))[output]
        feed = picture.inputs_of(net, path)
        assert feed["image"].tobytes() == path.read_bytes()
        assert audit.run(net, feed)[output].tobytes() == pixels.tobytes()


def test_every_cut_of_a_model_that_decodes_gives_the_same_bits(net: Graph, plain: Graph) -> None:
    assert [net.crossing(at)[0] for at in net.cuts[:2]] == ["image", "decode"]
    for seed in range(3):
        report = audit.verify(net, "all", seed=seed)
        assert (report.cuts, report.mismatches, report.max_ulp) == (len(plain.cuts) + 1, 0, 0)
    lengths = {audit.example_inputs(net, seed)["image"].shape for seed in range(5)}
    assert len(lengths) > 1


def test_the_module_itself_answers_files_too(net: Graph) -> None:
    recipe = picture.recipe_of(net)
    eager = EagerModule(Net(), ["image"], net.outputs, threads=1, recipe=recipe)
    feed = audit.example_inputs(net)
    for name, array in audit.run(net, feed).items():
        np.testing.assert_allclose(eager.run(feed)[name], array, rtol=1e-4, atol=1e-5)


def test_what_works_in_the_place_of_its_input_spoils_no_picture() -> None:
    class Raw(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.clamp(10, 20)

    image = torch.zeros(1, 40, 56, 3, dtype=torch.uint8)
    graph = export(Raw(), {"image": image}, name="raw", recipe=RECIPE, encoded=True)
    assert graph.layers[0].name == "decode"
    feed = audit.example_inputs(graph)
    right = picture.decode(feed["image"], picture.recipe_of(graph)).clip(10, 20)
    assert np.array_equal(audit.run(graph, feed)[graph.outputs[0]], right)


def test_a_model_without_decode_keeps_its_name(plain: Graph, net: Graph, tmp_path: Path) -> None:
    assert (plain.opset, net.opset) == (1, 2)
    modelfile.save(net, tmp_path / "net.safetensors")
    assert modelfile.load(tmp_path / "net.safetensors") == net


def test_the_expected_bytes_are_given_or_of_the_models_size(plain: Graph) -> None:
    assert with_decode(plain).tensors["image"].nbytes == round(40 * 56 / PIXELS_A_BYTE)
    assert with_decode(plain, 5000).tensors["image"].nbytes == 5000
    image = torch.zeros(1, 40, 56, 3, dtype=torch.uint8)
    made = export(Net().eval(), {"image": image}, name="net", recipe=RECIPE, encoded=1234)
    assert made.tensors["image"].nbytes == 1234
    with pytest.raises(ModelError, match="bytes expected"):
        with_decode(plain, OPEN_MAX + 1)


def test_an_example_is_about_as_long_as_expected(plain: Graph) -> None:
    for size in (2_000, 18_000, 200_000):
        lengths = [len(example(with_decode(plain, size), "image", seed)) for seed in range(3)]
        assert all(size / 1.6 < length < size * 1.6 for length in lengths), (size, lengths)


def test_a_graph_is_made_to_decode_once_and_only_what_its_recipe_makes(
    plain: Graph, net: Graph
) -> None:
    with pytest.raises(ModelError, match="its recipe makes"):
        with_decode(net)
    with pytest.raises(ModelError, match="its recipe makes"):
        with_decode(replace(plain, recipe={**RECIPE, "width": 57}))
    with pytest.raises(ModelError, match="takes no"):
        with_decode(replace(plain, recipe={**RECIPE, "input": "other"}))
    with pytest.raises(ModelError, match="no picture recipe"):
        with_decode(replace(plain, recipe={}))


# --- what is no picture ---------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A PNG that says this of its size, and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GIF = b"GIF89a" + bytes(40)
WHOLE = jpeg(photograph()).tobytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x", "neither a JPEG nor a PNG"),
        (GIF, "neither a JPEG nor a PNG"),
        (b"\xff\xd8\xff", "damaged or truncated"),
        (WHOLE[: len(WHOLE) // 2], "damaged or truncated"),
        (png_of(40, 40), "damaged or truncated"),
        (png_of(60_000, 60_000), "more than"),
        (png_of(9_000, 9_000), "has 81000000 pixels, more than 67108864"),
    ],
    ids=["byte", "gif", "start", "half", "empty", "endless", "large"],
)
def test_what_is_no_picture_is_an_error_of_the_input(net: Graph, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit.run(net, np.frombuffer(data, np.uint8))


def test_an_input_of_no_bytes_or_too_many_is_refused(net: Graph) -> None:
    for length in (0, OPEN_MAX + 1):
        with pytest.raises(ModelError, match="the model takes uint8"):
            audit.run(net, np.zeros(length, np.uint8))


@given(junk=st.binary(min_size=1, max_size=40), at=st.integers(0, 10_000), cut=st.booleans())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_give_a_picture_or_an_error_of_the_input(
    junk: bytes, at: int, cut: bool
) -> None:
    recipe = picture.Recipe("image", 8, 8)
    png = png_of(30, 20)
    for whole in (WHOLE, png):
        place = at % len(whole)
        data = whole[:place] + junk + (b"" if cut else whole[place + len(junk) :])
        try:
            made = picture.decode(np.frombuffer(data, np.uint8), recipe)
        except InputError:
            continue
        assert made.shape == (1, 8, 8, 3)


def test_a_file_that_no_node_would_decode_is_not_sent(net: Graph, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    Image.fromarray(photograph()).save(path)
    with pytest.raises(UsageError, match="neither JPEG nor PNG"):
        picture.inputs_of(net, path)
    with pytest.raises(UsageError, match="cannot read the picture"):
        picture.inputs_of(net, tmp_path / "none.jpg")
    with path.open("wb") as file:
        file.write(WHOLE)
        file.truncate(OPEN_MAX + 1)
    with pytest.raises(UsageError, match="longer than 32 MiB"):
        picture.inputs_of(net, path)


# --- on a node ------------------------------------------------------------------------------------


class Bench:
    """An engine and what it says."""

    def __init__(self, graph: Graph, folder: Path) -> None:
        path = folder / "net.safetensors"
        self.store = Store(folder / "store", 1 << 28)
        modelfile.save(graph, path)
        self.model = self.store.add_model(path)
        self.told: list[Event] = []
        config = NodeConfig(name="a", tier=DEVICE, worker="thread")
        self.engine = Engine(config, self.store, self.told.append, 1, "cpu")

    def build(self, *layers: str) -> SegmentKey:
        key = SegmentKey("0" * 64, 0, 0)
        self.engine.load(LoadManifest(self.model))
        self.engine.build(BuildSegment(key, self.model, layers))
        self.engine.errands.stop(timeout_s=20)
        assert isinstance(self.told[-1], SegmentBuilt), self.told
        return key

    def run(self, key: SegmentKey, data: bytes) -> Event:
        inputs = parcel({"image": np.frombuffer(data, np.uint8)})
        self.engine.run(RunSegment(1, key, ()), [inputs], len)
        self.engine.stop()
        return self.told[-1]


@pytest.fixture
def bench(net: Graph, tmp_path: Path) -> Bench:
    return Bench(net, tmp_path)


def test_a_segment_that_decodes_is_warmed_up_and_never_counts_as_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "SHORT_S", 100.0)
    key = bench.build("decode")
    assert isinstance(bench.engine.compute, ComputeThread)
    assert key not in bench.engine.compute.short
    assert isinstance(bench.run(key, WHOLE), SegmentDone)


def test_a_broken_picture_is_the_frames_fault_and_not_the_nodes(bench: Bench) -> None:
    key = bench.build("decode")
    failed = bench.run(key, WHOLE[:300])
    assert isinstance(failed, SegmentFailed)
    assert failed.code == "malformed"
    assert "the picture is damaged or truncated" in failed.text


# --- by command -----------------------------------------------------------------------------------

NET = """
import torch
from torch import nn
from edgeflow.exporter import Card

class Net(nn.Module):
    def forward(self, image): return image.permute(0, 3, 1, 2).float().mean((2, 3))

def make():
    net = Net()
    recipe = {"input": "image", "height": 24, "width": 32}
    net.card = Card({"image": torch.zeros(1, 24, 32, 3, dtype=torch.uint8)}, recipe)
    return net
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


def test_export_show_run_and_verify_of_a_model_that_decodes(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    model, photo = tmp_path / "net.safetensors", tmp_path / "a.jpg"
    photo.write_bytes(WHOLE)
    code, _, told = shell(
        "export", f"{tmp_path / 'net.py'}:make", "-o", model, "--encoded", "--photo", photo
    )
    assert code == 0, told
    code, text, _ = shell("show", model)
    assert code == 0
    assert "uint8 bytes" in text
    assert f"{len(WHOLE) / 1e3:.1f}" in text
    shown = json.loads(shell("show", model, "--json")[1].splitlines()[-1])
    decode = shown["layers"][0]
    assert (decode["name"], decode["ops"], decode["shape"]) == (
        "decode",
        ["decode"],
        [1, 24, 32, 3],
    )
    assert decode["flops"] > 0
    assert decode["bytes"] > 0
    assert [cut["tensor"] for cut in shown["cuts"]][:2] == ["image", "decode"]
    split = shell("run", model, photo, "--json", "--placement", "decode @a | permute..mean @b")
    assert split[0] == 0
    assert split[1] == shell("run", model, photo, "--json")[1]
    code, text, _ = shell("verify", model, "--json")
    assert (code, json.loads(text.splitlines()[-1])["mismatches"]) == (0, 0)
    photo.write_bytes(WHOLE[:500])
    code, _, told = shell("run", model, photo)
    assert (code, "damaged or truncated" in told) == (3, True)


def test_photographs_for_a_model_that_decodes_are_jpegs_of_its_size(net: Graph) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    from edgeflow.demo.pictures import read_all

    for each in read_all(net):
        data = each.inputs["image"]
        assert data.tobytes().startswith(b"\xff\xd8\xff")
        whole = picture.decode(data, picture.Recipe("image", 40, 56))
        recipe = picture.recipe_of(net)
        close = np.abs(whole.astype(int) - picture.read_picture(each.path, recipe).astype(int))
        assert close.mean() < 8, "another picture"
    assert encoded.QUALITY == 90
