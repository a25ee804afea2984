"""A deployment of one node against its engine alone, and what engines cost before the first frame.

    scripts/bench engines [--networks resnet18,…] [--pairs 30] [--json]

This process is the device: a broker runs beside it, a whole network is deployed on it alone, and
real photographs are submitted, one at a time. In turns with them the same photographs run through
bare onnxruntime (of the file that torch.onnx.export makes of the same module, its options as they
are but for the threads), or through the bare torch module. Threads: one. A row has the median of
the ratios of neighbours and its quartiles; building is the median over the segments between the
single-tensor cuts, weights at hand, first run included.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import edgeflow
from edgeflow.api import Flow
from edgeflow.audit import example_inputs
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.pictures import read_all
from edgeflow.executors import build
from edgeflow.executors.eager import EagerModule
from edgeflow.exporter import export, zoo
from edgeflow.model.graph import Array, Graph

NETWORKS = "resnet18,mobilenetv2_w1,efficientnet_lite0,darknet53"
BUILT = "efficientnet_lite0,inceptionv4"
RATIO_MAX = 1.05
"""What a deployment of one node may take of its bare engine."""
WARM = 3
"""Pairs that are not counted."""
READY_S = 30.0
Run = Callable[[dict[str, Array]], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One network on one engine; times are medians of milliseconds a frame."""

    network: str
    engine: str
    bare_ms: float
    edgeflow_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    """Quartiles of the ratio."""


@dataclass(frozen=True, slots=True)
class Building:
    """How long segments of a network take to build on onnxruntime, in milliseconds."""

    network: str
    segments: int
    median_ms: float
    longest_ms: float
    whole_ms: float


def module_of(network: str) -> torch.nn.Module:
    """With real weights where there are some."""
    if network == "efficientnet_lite0":
        return zoo.efficientnet_lite0()
    return zoo.pytorchcv(network, size=299 if "inception" in network else 224)


def bare(module: torch.nn.Module, graph: Graph, engine: str, folder: Path) -> Run:
    """The engine alone, on the module as it is."""
    if engine == "torch":
        names = [contract.name for contract in graph.inputs]
        return EagerModule(module, names, graph.outputs, threads=1).run
    file = folder / "bare.onnx"
    examples = tuple(torch.from_numpy(array) for array in example_inputs(graph).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, examples, file, dynamo=False, input_names=[each.name for each in graph.inputs]
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def compare(network: str, engine: str, pairs: int, folder: Path) -> Row:
    """Frames in turns through edgeflow and through the bare engine."""
    module = module_of(network)
    graph = export(module, name=network)
    folder.mkdir()
    alone = bare(module, graph, engine, folder)
    with Fleet(folder) as fleet:
        fleet.start_broker()
        with edgeflow.connect(
            fleet.url, name="device", compute="cpu", threads=1, engine=engine
        ) as flow:
            until_s = time.monotonic() + READY_S
            while not any(node.state == "ready" for node in flow.snapshot().nodes):
                if time.monotonic() > until_s:
                    raise edgeflow.errors.DeployError("the node did not get ready")
                time.sleep(0.05)
            name = flow.deploy(graph, policy="device-only", window_frames=1)
            photos = [each.inputs for each in read_all(graph)]
            times = list(in_turns(flow, name, alone, photos, pairs))
    ratios = [ours / theirs for theirs, ours in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    theirs_ms, ours_ms = (statistics.median(each) * 1e3 for each in zip(*times, strict=True))
    return Row(network, engine, theirs_ms, ours_ms, middle, low, high)


def in_turns(
    flow: Flow, name: str, alone: Run, photos: Sequence[dict[str, Array]], pairs: int
) -> Iterator[tuple[float, float]]:
    """(bare, edgeflow) seconds of each pair, now one first, now the other."""
    runs: tuple[Run, Run] = (alone, lambda feed: flow.infer(feed, deployment=name))
    for pair in range(WARM + pairs):
        seconds = [0.0, 0.0]
        for which in (0, 1) if pair % 2 else (1, 0):
            start_s = time.perf_counter()
            runs[which](photos[pair % len(photos)])
            seconds[which] = time.perf_counter() - start_s
        if pair >= WARM:
            yield seconds[0], seconds[1]


def building(network: str) -> Building:
    """Every segment between single-tensor cuts, and the whole."""
    graph = export(module_of(network), name=network)
    names = [layer.name for layer in graph.layers]
    edges = sorted({0, *graph.cuts, len(names)})
    spans = [names[start:stop] for start, stop in pairwise(edges)]
    took = [built_s(graph, span) for span in spans]
    return Building(
        network,
        len(spans),
        statistics.median(took) * 1e3,
        max(took) * 1e3,
        built_s(graph, names) * 1e3,
    )


def built_s(graph: Graph, layers: Sequence[str]) -> float:
    """Seconds from weights at hand to the end of the first run."""
    start_s = time.perf_counter()
    segment = build(graph, layers, graph.arrays, threads=1, engine="onnx", timed=True)
    shapes = {name: graph.tensors[name] for name in segment.inputs}
    segment.run(
        {
            name: np.zeros([int(dim) for dim in contract.shape], contract.dtype)
            for name, contract in shapes.items()
        }
    )
    return time.perf_counter() - start_s


def main() -> int:
    """Run, print, and fail where a deployment costs more than RATIO_MAX times its bare engine."""
    parser = argparse.ArgumentParser(prog="scripts/bench engines", description=__doc__)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--engines", default="onnx,torch")
    parser.add_argument("--built", default=BUILT, help="networks whose segments are built")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for at, network in enumerate(asked.networks.split(",")):
            for engine in asked.engines.split(","):
                rows.append(compare(network, engine, asked.pairs, Path(folder) / f"{at}-{engine}"))
                tell(asked.json, row_text(rows[-1]))
    built = [building(network) for network in asked.built.split(",") if network]
    for each in built:
        tell(asked.json, building_text(each))
    if asked.json:
        found: dict[str, Any] = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "rows": [asdict(row) for row in rows],
            "building": [asdict(each) for each in built],
        }
        sys.stdout.write(json.dumps(found) + "\n")
    return int(any(row.ratio > RATIO_MAX for row in rows))


def tell(is_json: bool, text: str) -> None:
    """A line as soon as it is known."""
    (sys.stderr if is_json else sys.stdout).write(text + "\n")


def row_text(row: Row) -> str:
    """For people."""
    return (
        f"{row.network:20} {row.engine:6} bare {row.bare_ms:7.1f} ms, edgeflow "
        f"{row.edgeflow_ms:7.1f} ms, {row.ratio:.3f}x ({row.ratio_low:.3f} to {row.ratio_high:.3f})"
    )


def building_text(each: Building) -> str:
    """For people."""
    return (
        f"{each.network:20} {each.segments} segments built in {each.median_ms:.0f} ms (median), "
        f"{each.longest_ms:.0f} ms (longest); the whole in {each.whole_ms:.0f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
