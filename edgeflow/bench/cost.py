"""How right the cost model is: predicted against measured seconds, of layers and of segments.

    scripts/bench cost [--networks resnet18,…] [--parts 6] [--runs 10] [--json]

Each network is cut into about so many segments of equal predicted time, and each segment is built
and timed on its own, one thread. Three predictions stand beside that:

    rates     the node measured itself for a second, and nobody ever ran the network
    others    nor did it; another node did, 20 frames: a process with a third of a core (root)
    ran       it ran the whole network for 20 frames

An error is |predicted / measured - 1|; the rows show medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from edgeflow.audit import example_inputs
from edgeflow.bench.model import NETWORKS
from edgeflow.costmodel.cost import NodeCost, Seconds, Workload
from edgeflow.estimation.timings import Timings
from edgeflow.executors import build
from edgeflow.exporter import export, zoo
from edgeflow.io.calibrate import calibrate
from edgeflow.lab import quota
from edgeflow.messages import EDGE, Rates
from edgeflow.model.graph import Graph

FRAMES = 20
ELSEWHERE_CORES = 0.33
RAN_MAX, NEVER_MAX = 0.15, 0.35
"""What the median error may be where it ran, and where it never did."""
HOW = ("rates", "others", "ran")


def main() -> int:
    """Measure, print; 1 where the medians over all segments are above the limits."""
    parser = argparse.ArgumentParser(prog="scripts/bench cost", description=__doc__)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--parts", type=int, default=6, help="segments a network")
    parser.add_argument("--runs", type=int, default=10, help="timed runs of a segment")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--elsewhere", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    own = calibrate(1, "cpu")
    if options.elsewhere:
        node = timed(load(options.networks), own)
        sys.stdout.write(msgspec.json.encode(node).decode() + "\n")
        return 0
    names = options.networks.split(",")
    rows = [measure(name, own, options.parts, options.runs) for name in names]
    all_errors = {how: [error for row in rows for error in row["segments"][how]] for how in HOW}
    medians = {how: statistics.median(all_errors[how]) for how in HOW}
    if options.json:
        report = {"machine": machine(), "rows": rows, "medians": medians}
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        sys.stdout.write(table(rows, medians))
    return int(medians["ran"] > RAN_MAX or max(medians["rates"], medians["others"]) > NEVER_MAX)


def load(network: str) -> Graph:
    """The network, taking a picture."""
    lite = network == "efficientnet_lite0"
    size = 299 if "inception" in network else 224
    module = zoo.efficientnet_lite0() if lite else zoo.pytorchcv(network, size=size)
    return export(module, name=network)


def elsewhere(network: str) -> NodeCost | None:
    """A slower node that ran the network; None where no quota can be set."""
    if os.geteuid() != 0:
        return None
    quotas = quota.find()
    quotas.make("bench", ELSEWHERE_CORES)
    try:
        words = [sys.executable, "-I", "-m", "edgeflow.bench.cost", "--elsewhere"]
        line = quotas.within("bench", "node", [*words, "--networks", network])
        done = subprocess.run(line, capture_output=True, text=True, check=True)
    finally:
        quotas.remove()
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=NodeCost)


def measure(network: str, own: Rates, parts: int, runs: int) -> dict[str, Any]:
    """Errors of one network's segments and layers."""
    sys.stderr.write(f"{network} …\n")
    graph, other = load(network), elsewhere(network)
    work = Workload.of(graph)
    me = NodeCost("own", EDGE, own)
    predicted = {
        "rates": work.seconds(me),
        "others": work.seconds(me, work.correction([other] if other else [])),
        "ran": work.seconds(timed(graph, own)),
    }
    segments: dict[str, list[float]] = {how: [] for how in HOW}
    layers: dict[str, list[float]] = {how: [] for how in HOW}
    for places in cut(graph, predicted["ran"], parts):
        seconds, layers_s = run_alone(graph, places, runs)
        for how in HOW:
            segments[how].append(abs(float(predicted[how][places].sum()) / seconds - 1))
            layers[how] += np.abs(predicted[how][places] / layers_s - 1).tolist()
    whole = {how: float(predicted[how].sum()) for how in HOW}
    return {
        "network": network,
        "whole_ms": {how: round(value * 1e3, 2) for how, value in whole.items()},
        "segments": segments,
        "layer_error": {how: statistics.median(layers[how]) for how in HOW},
    }


def timed(graph: Graph, rates: Rates) -> NodeCost:
    """A node that ran the whole network for 20 frames."""
    names = [layer.name for layer in graph.layers]
    segment = build(graph, names, graph.arrays, threads=1)
    feed, timings = example_inputs(graph), Timings()
    segment.run(feed)
    ran = []
    for _ in range(FRAMES):
        start_s = time.perf_counter()
        timings.add(names, segment.timed(feed)[1])
        ran.append(time.perf_counter() - start_s)
    prior = Workload.of(graph).prior(NodeCost("any", EDGE, rates)).tolist()
    blended = timings.blended(dict(zip(names, prior, strict=True)))
    ratio = statistics.median(ran) / sum(blended.values())
    seconds = tuple(blended.get(name, 0.0) for name in names)
    return NodeCost("ran", EDGE, rates, ratio, layers_s=seconds)


def cut(graph: Graph, seconds: Seconds, parts: int) -> list[list[int]]:
    """Places of layers in about so many runs of the topological order, of equal time."""
    ends = np.searchsorted(np.cumsum(seconds), np.linspace(0, seconds.sum(), parts + 1)[1:-1])
    bounds = sorted({0, *(int(end) + 1 for end in ends), len(graph.layers)})
    return [list(range(a, b)) for a, b in pairwise(bounds) if b > a]


def run_alone(graph: Graph, places: Sequence[int], runs: int) -> tuple[float, Seconds]:
    """Median seconds of a segment, and of each of its layers."""
    names = [graph.layers[at].name for at in places]
    segment = build(graph, names, graph.arrays, threads=1)
    feed = {name: random_of(graph, name) for name in segment.inputs}
    whole, layers = [], []
    for at in range(runs + 2):
        start_s = time.perf_counter()
        segment.run(feed)
        ran_s = time.perf_counter() - start_s
        layers_s = segment.timed(feed)[1]
        if at >= 2:
            whole.append(ran_s)
            layers.append(layers_s)
    return statistics.median(whole), np.maximum(np.median(layers, axis=0), 1e-7)


def random_of(graph: Graph, name: str) -> Any:
    """Something to feed a segment with: speed does not depend on what it is."""
    contract = graph.tensors[name]
    shape = tuple(int(dim) for dim in contract.shape)
    drawn = np.random.default_rng(1).random(shape)
    return (drawn * 255 if contract.dtype == "uint8" else drawn).astype(contract.dtype)


def machine() -> str:
    """Where this was measured."""
    return f"{os.cpu_count()} {platform.machine()} cores, Python {platform.python_version()}"


def table(rows: list[dict[str, Any]], medians: dict[str, float]) -> str:
    """For people."""
    lines = [machine(), "median |predicted / measured - 1| of segments (of layers)", ""]
    lines.append(f"{'':22}" + "".join(f"{how:>18}" for how in HOW) + f"{'segments':>10}")
    for row in rows:
        errors = [
            f"{statistics.median(row['segments'][how]):.0%} ({row['layer_error'][how]:.0%})"
            for how in HOW
        ]
        count = len(row["segments"]["ran"])
        lines.append(f"{row['network']:22}" + "".join(f"{e:>18}" for e in errors) + f"{count:>10}")
    lines.append(f"{'all':22}" + "".join(f"{medians[how]:>18.0%}" for how in HOW))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
