"""The engine beside torch: every kind of op, every cut, every tile, and what it refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its common name

from edgeflow import audit, modelfile
from edgeflow.audit import tilecheck
from edgeflow.audit.engines import compare
from edgeflow.cli.main import main
from edgeflow.errors import EdgeflowError, ModelError, UsageError
from edgeflow.executors import build, chosen, engines
from edgeflow.executors.onnx import OnnxSegment
from edgeflow.executors.onnx.model import write_model
from edgeflow.executors.onnx.table import TABLE
from edgeflow.executors.torch import TorchSegment
from edgeflow.exporter import export, zoo
from edgeflow.model.graph import Array, Graph
from edgeflow.model.ops import KINDS
from tests.engines.test_kernels import CASES, one_op


def names_of(graph: Graph) -> list[str]:
    return [layer.name for layer in graph.layers]


def on_onnx(graph: Graph, threads: int = 1) -> OnnxSegment:
    wanted = graph.outputs
    return OnnxSegment(graph, names_of(graph), graph.arrays, threads=threads, outputs=wanted)


def on_torch(graph: Graph) -> TorchSegment:
    return TorchSegment(graph, names_of(graph), graph.arrays, threads=1, outputs=graph.outputs)


class Residual(nn.Module):
    """Convolutions added to as they are, scaled, gated and concatenated: what melts together."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 1)
        self.c = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.head = nn.Linear(channels * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Of (1, 3, 24, 20): ten numbers."""
        x = F.relu(self.stem(x))
        x = x + self.a(x)
        x = F.relu(self.b(x) * 0.5 + x)
        x = self.c(x) + self.b(x)
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = torch.cat([F.avg_pool2d(x, 3, 2, 1), F.max_pool2d(x, 3, 2, 1)], 1)
        return torch.softmax(self.head(x.mean((2, 3))), 1)


@pytest.fixture(scope="module")
def residual() -> Graph:
    return export(Residual().eval(), [torch.zeros(1, 3, 24, 20)], name="residual")


def test_every_kind_has_a_row_in_the_table() -> None:
    assert set(TABLE) == set(KINDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_onnxruntime_makes_what_torch_makes(case: Any) -> None:
    kind, attrs, shapes, weights = case
    graph, feed = one_op(kind, attrs, shapes, weights, view=False)
    before = {name: array.copy() for name, array in feed.items()}
    ours, theirs = on_onnx(graph).run(feed)["out"], on_torch(graph).run(feed)["out"]
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
    for name, array in feed.items():
        np.testing.assert_array_equal(array, before[name])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pools_of_all_sizes_are_laid_as_torch_lays_them(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel = data.draw(pair)
    padding = tuple(data.draw(st.integers(0, size // 2)) for size in kernel)
    ceil = data.draw(st.booleans())
    attrs: dict[str, Any] = {"kernel": kernel, "stride": data.draw(pair), "padding": padding}
    attrs["ceil_mode"] = ceil
    if kind == "max_pool2d":
        attrs["dilation"] = (1, data.draw(st.integers(1, 2)))
    else:
        attrs["count_include_pad"] = data.draw(st.booleans())
        if data.draw(st.booleans()):
            attrs["divisor_override"] = data.draw(st.integers(1, 5))
    sizes = (1, 3, data.draw(st.integers(7, 12)), data.draw(st.integers(7, 12)))
    graph, feed = one_op(kind, attrs, [sizes], {}, view=False)
    ours, theirs = on_onnx(graph).run(feed)["out"], on_torch(graph).run(feed)["out"]
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_even_windows_of_a_local_response_norm_lean_as_torchs_do() -> None:
    attrs = {"size": 4, "alpha": 0.5, "beta": 0.75, "k": 1.0}
    graph, feed = one_op("local_response_norm", attrs, [(2, 6, 3, 3)], {}, view=False)
    ours, theirs = on_onnx(graph).run(feed)["out"], on_torch(graph).run(feed)["out"]
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_every_cut_gives_the_bits_of_the_whole(residual: Graph) -> None:
    report = audit.verify(residual, engine="onnx")
    assert (report.mismatches, report.differing) == (0, ())
    assert report.cuts >= 5


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv2_w1", "shufflenetv2_wd2"])
def test_cuts_of_networks_are_bit_equal_and_close_to_torch(architecture: str) -> None:
    module = zoo.pytorchcv(architecture)
    graph = export(module, name=architecture)
    assert audit.verify(graph, 8, engine="onnx").mismatches == 0
    for name, found in compare(graph, "onnx", "torch").items():
        assert found.is_close, (name, found)


def test_placements_with_branches_apart_are_bit_equal(residual: Graph) -> None:
    feed = audit.example_inputs(residual, 3)
    whole = audit.run(residual, feed, engine="onnx")
    names = names_of(residual)
    for nodes in (2, 3, len(names)):
        apart = {name: f"n{at * nodes // len(names)}" for at, name in enumerate(names)}
        parts = audit.run(residual, feed, apart, engine="onnx")
        for name in residual.outputs:
            assert parts[name].tobytes() == whole[name].tobytes(), (nodes, name)


def test_tiles_on_integers_have_every_bit(residual: Graph) -> None:
    report = tilecheck.check(residual, "2x1,2x2,uneven", exact=True, engine="onnx")
    assert report.failed == 0, report.failures[:3]
    assert sum(grid.elements for grid in report.grids) > 10_000
    assert not report.skipped


def test_weights_lie_outside_of_a_model_that_onnx_finds_sound(residual: Graph) -> None:
    ops = [op for layer in residual.layers for op in layer.ops]
    given_names = [contract.name for contract in residual.inputs]
    model = write_model(residual, ops, residual.arrays, given_names, residual.outputs)
    assert sum(array.nbytes for array in model.weights.values()) > 10 * len(model.body)
    proto = onnx.load_from_string(model.body)
    for tensor in proto.graph.initializer:
        if tensor.name in model.weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(model.weights[tensor.name], tensor.name))
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}


def test_layers_share_the_seconds_of_a_run(residual: Graph) -> None:
    names = names_of(residual)
    segment = OnnxSegment(residual, names, residual.arrays, threads=1, timed=True)
    feed = audit.example_inputs(residual, 0)
    segment.run(feed)
    for _ in range(3):
        _, seconds = segment.timed(feed)
    assert len(seconds) == len(residual.layers)
    heavy = max(range(len(seconds)), key=seconds.__getitem__)
    assert residual.layers[heavy].ops[0].kind == "conv2d"
    assert 0 < sum(seconds) < 1
    assert on_onnx(residual).timed(feed)[1] == (), "it was not to be timed"


def test_a_picture_is_decoded_before_the_session() -> None:
    photo = zoo.pytorchcv("squeezenet_v1_1")
    graph = export(photo, name="photo", encoded=True)
    feed = audit.example_inputs(graph, 1)
    ours, theirs = on_onnx(graph).run(feed), on_torch(graph).run(feed)
    for name in graph.outputs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    first = graph.layers[0].name
    alone = OnnxSegment(graph, [first], graph.arrays, threads=1)
    (picture,) = alone.run(feed).values()
    assert picture.dtype == np.uint8


def test_a_weight_that_is_not_at_hand_is_named(residual: Graph) -> None:
    with pytest.raises(ModelError, match=r"weight stem\.\w+ is not at hand"):
        OnnxSegment(residual, names_of(residual), {}, threads=1)


def test_inputs_of_another_contract_are_named(residual: Graph) -> None:
    segment = on_onnx(residual)
    (name,) = segment.inputs
    with pytest.raises(ModelError, match=f"input {name} is missing"):
        segment.run({})
    with pytest.raises(ModelError, match="float64"):
        segment.run({name: np.zeros((1, 3, 24, 20))})


def test_what_onnxruntime_has_no_kernel_for_is_refused_by_name() -> None:
    (case,) = [case for case in CASES if case[0] == "conv_transpose2d"]
    graph, _ = one_op(*case, view=True)
    doubles = {name: array.astype(np.float64) for name, array in graph.arrays.items()}
    wide = replace(
        graph,
        inputs=tuple(replace(each, dtype="float64") for each in graph.inputs),
        ops=tuple(replace(op, output=replace(op.output, dtype="float64")) for op in graph.ops),
        weights={name: replace(each, dtype="float64") for name, each in graph.weights.items()},
        arrays=doubles,
    )
    with pytest.raises(ModelError, match=r"(?s)onnxruntime refuses the layers: .*ConvTranspose"):
        on_onnx(wide)


def test_an_engine_is_chosen_by_name_or_is_the_first_there_is() -> None:
    assert engines() == ("torch", "onnx")
    assert chosen("auto") == "torch"
    assert chosen("onnx") == "onnx"
    with pytest.raises(UsageError, match="none of auto, torch, onnx"):
        chosen("caffe")


def test_an_engine_that_is_not_installed_is_named_with_its_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeflow.executors.engines", lambda: ("torch",))
    with pytest.raises(
        UsageError, match=r"onnx is not installed: pip install 'edgeflow-dnn\[onnx\]'"
    ):
        chosen("onnx")
    monkeypatch.setattr("edgeflow.executors.engines", lambda: ())
    with pytest.raises(UsageError, match=r"no engine is installed: .*\[torch\].*\[onnx\]"):
        chosen("auto")


@pytest.fixture
def model(residual: Graph, tmp_path: Path) -> Path:
    modelfile.save(residual, tmp_path / "residual.safetensors")
    return tmp_path / "residual.safetensors"


def verify(monkeypatch: pytest.MonkeyPatch, model: Path, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgeflow", "verify", str(model), *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_verify_on_onnx_tells_how_far_it_is_from_torch(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(monkeypatch, model, "--engine", "onnx", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    (found,) = told["beside"]["torch"].values()
    assert (told["mismatches"], told["engine"]) == (0, "onnx")
    assert 0 < found["max_rel_diff"] < 5e-5
    assert found["max_ulp"] > 0


def test_verify_fails_where_engines_differ_by_more_than_rounding(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = OnnxSegment.run

    def off(self: OnnxSegment, inputs: Any) -> dict[str, Array]:
        return {name: array * np.float32(1.001) for name, array in honest(self, inputs).items()}

    monkeypatch.setattr(OnnxSegment, "run", off)
    assert verify(monkeypatch, model, "--engine", "onnx", "--cuts", "1") == 3
    assert "answers otherwise than by rounding" in capsys.readouterr().err


def test_threads_are_the_sessions_own(residual: Graph) -> None:
    segment = build(residual, names_of(residual), residual.arrays, threads=2, engine="onnx")
    assert segment.engine.endswith("2 threads")
    feed = audit.example_inputs(residual, 0)
    first, second = segment.run(feed), segment.run(feed)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_errors_of_both_engines_are_edgeflows_own(residual: Graph) -> None:
    for engine in engines():
        segment = build(residual, names_of(residual), residual.arrays, threads=1, engine=engine)
        with pytest.raises(EdgeflowError):
            segment.run({segment.inputs[0]: np.zeros(3, np.float32)})
