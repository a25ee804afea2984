"""Which engine a node takes for a segment: measured, remembered, and another where one refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow import modelfile
from edgeflow.config import NodeConfig
from edgeflow.errors import ModelError, UsageError
from edgeflow.events import (
    BuildSegment,
    Event,
    LoadManifest,
    RunSegment,
    SegmentBuilt,
    SegmentDone,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.executors.onnx import OnnxSegment
from edgeflow.executors.torch import TorchSegment
from edgeflow.exporter import export
from edgeflow.io import settings, trial
from edgeflow.io.compute.segments import Run
from edgeflow.io.compute.thread import ComputeThread
from edgeflow.io.engine import Engine
from edgeflow.io.store import Store
from edgeflow.io.trial import KEPT, Memory, choose
from edgeflow.layout.parcel import Parcel, parcel
from edgeflow.messages import DEVICE
from edgeflow.model.graph import Array, Graph

KEY = SegmentKey("0" * 64, 0, 0)


@pytest.fixture(scope="module")
def net() -> Graph:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3))
    return export(layers.eval(), [torch.zeros(1, 3, 16, 16)], name="net")


class Bench:
    """The engine of a node with both engines, without its node."""

    def __init__(self, graph: Graph, folder: Path, engine: str = "auto") -> None:
        self.graph, self.folder = graph, folder
        self.store = Store(folder / "state", 1 << 28)
        modelfile.save(graph, folder / "net.safetensors")
        self.model = self.store.add_model(folder / "net.safetensors")
        self.told: list[Event] = []
        config = NodeConfig(name="a", tier=DEVICE, engine=engine, worker="thread")
        order = sorted(("torch", "onnx"), key=lambda each: each != engine)
        self.engine = Engine(config, self.store, self.told.append, 1, "cpu", order)

    def build(self) -> SegmentBuilt:
        self.engine.load(LoadManifest(self.model))
        layers = tuple(layer.name for layer in self.graph.layers)
        self.engine.build(BuildSegment(KEY, self.model, layers))
        self.engine.errands.stop(timeout_s=30)
        built = self.told[-1]
        self.store.close()
        assert isinstance(built, SegmentBuilt), built
        return built


def slower(monkeypatch: pytest.MonkeyPatch, kind: type, seconds: float = 0.02) -> list[int]:
    """That engine takes so much longer; the list counts its runs."""
    honest, runs = kind.run, []  # type: ignore[attr-defined]

    def run(self: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        runs.append(1)
        time.sleep(seconds)
        made: dict[str, Array] = honest(self, inputs)
        return made

    monkeypatch.setattr(kind, "run", run)
    return runs


def refusing(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    def refuse(self: Any, *given: Any, **named: Any) -> None:
        raise ModelError("no kernel for conv2d")

    monkeypatch.setattr(kind, "__init__", refuse)


@pytest.mark.parametrize(("slow", "best"), [(TorchSegment, "onnx"), (OnnxSegment, "torch")])
def test_the_quicker_engine_runs_the_segment(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: type, best: str
) -> None:
    slower(monkeypatch, slow)
    built = Bench(net, tmp_path).build()
    assert (built.engine, built.note) == (best, "")
    assert len(built.layers_s) == len(net.layers)


def test_what_was_tried_once_is_remembered_over_a_restart(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = slower(monkeypatch, OnnxSegment)
    assert Bench(net, tmp_path).build().engine == "torch"
    tried = len(runs)
    assert Bench(net, tmp_path).build().engine == "torch"
    assert len(runs) == tried, "the slow engine ran again"


def test_other_versions_are_tried_anew(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = slower(monkeypatch, OnnxSegment)
    Bench(net, tmp_path).build()
    tried = len(runs)
    monkeypatch.setattr("edgeflow.io.compute.segments.version_of", lambda engine: f"{engine} 99")
    Bench(net, tmp_path).build()
    assert len(runs) == 2 * tried


@pytest.mark.parametrize("wish", ["auto", "onnx"])
def test_another_engine_takes_what_one_refuses_and_says_so(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    refusing(monkeypatch, OnnxSegment)
    built = Bench(net, tmp_path, wish).build()
    assert built.engine == "torch"
    assert built.note == "onnx refuses (no kernel for conv2d): torch runs it"


def test_a_wished_engine_is_taken_though_it_is_slower(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower(monkeypatch, OnnxSegment)
    assert Bench(net, tmp_path, "onnx").build().engine == "onnx"


def test_where_all_engines_refuse_the_segment_cannot_be_built(
    net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, OnnxSegment)
    refusing(monkeypatch, TorchSegment)
    bench = Bench(net, tmp_path)
    with pytest.raises(AssertionError):
        bench.build()
    assert isinstance(bench.told[-1], SegmentUnbuildable)
    assert "no kernel for conv2d" in bench.told[-1].text


def test_a_frame_on_either_engine_gives_that_engines_bits(net: Graph, tmp_path: Path) -> None:
    feed = {net.inputs[0].name: np.ones((1, 3, 16, 16), np.float32)}
    kept: list[Parcel] = []

    def keep(made: Parcel) -> int:
        kept.append(made)
        return len(kept)

    for engine, kind in (("torch", TorchSegment), ("onnx", OnnxSegment)):
        bench = Bench(net, tmp_path / engine, engine)
        bench.build()
        bench.engine.run(RunSegment(1, KEY, ()), [parcel(feed)], keep)
        bench.engine.stop()
        assert isinstance(bench.told[-1], SegmentDone)
        names = [layer.name for layer in net.layers]
        whole = kind(net, names, net.arrays, threads=1).run(feed)
        for name, array in whole.items():
            assert kept[-1][name].array.tobytes() == array.tobytes()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "\0\xff"])
def test_a_broken_memory_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "engines.json"
    path.write_text(text, encoding="latin-1")
    memory = Memory(path)
    assert memory.get("a") == ""
    memory.put("b", "onnx")
    assert json.loads(path.read_text()) == {"b": "onnx"}


def test_a_memory_is_bounded_and_forgets_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "KEPT", 3)
    memory = Memory(tmp_path / "engines.json")
    for number in range(5):
        memory.put(str(number), "torch")
    assert list(Memory(memory.path).found) == ["2", "3", "4"]
    assert KEPT > 3


def test_a_memory_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(tmp_path / "missing" / "engines.json")
    memory.put("a", "onnx")
    assert memory.get("a") == "onnx"
    assert "cannot remember engines" in caplog.text


def test_what_computes_the_same_is_built_once(tmp_path: Path, net: Graph) -> None:
    bench = Bench(net, tmp_path, "torch")
    layers = tuple(layer.name for layer in net.layers)
    twin, other = SegmentKey("1" * 64, 1, 0), SegmentKey("0" * 64, 0, 1)
    bench.engine.load(LoadManifest(bench.model))
    for key, wanted in ((KEY, layers), (twin, layers), (other, layers[:1])):
        bench.engine.build(BuildSegment(key, bench.model, wanted))
    bench.engine.errands.stop(timeout_s=30)
    assert [type(each) for each in bench.told[1:]] == [SegmentBuilt] * 3
    thread = bench.engine.compute
    assert isinstance(thread, ComputeThread)
    built = thread.compute.segments
    assert built[KEY].piece is built[twin].piece
    assert built[other].piece is not built[KEY].piece
    thread.compute.drop(KEY)
    run = thread.compute.run(1, twin, [parcel({"input": np.zeros((1, 3, 16, 16), np.float32)})])
    assert isinstance(run, Run), run
    bench.store.close()


def test_engines_take_turns_in_a_trial() -> None:
    turns: list[str] = []

    class Piece:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, parcels: Sequence[Parcel]) -> Parcel:
            turns.append(self.name)
            return {}

    choice = choose(("a", "b"), Piece, {}, compare=True)  # type: ignore[arg-type]
    assert choice.was_tried
    assert turns == ["a", "b"] * (1 + trial.TRIAL_RUNS)


def test_settings_name_the_engines_there_are() -> None:
    with pytest.raises(UsageError, match="engine: 'caffe' is none of auto, torch, onnx"):
        settings.convert({"name": "a", "engine": "caffe"}, "x.toml")
