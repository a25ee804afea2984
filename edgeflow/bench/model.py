"""Op by op against the module: what running a Graph costs over the torch module it came from.

    python -m edgeflow.bench.model [--networks resnet18,…] [--pairs 15] [--threads 1] [--json]

Both run in turns in one process, now one first, now the other; a row has the median of the ratios
of neighbours and its quartiles. Batch norms are folded in the graph and not in the module.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from edgeflow.audit import example_inputs
from edgeflow.executors import build
from edgeflow.executors.eager import EagerModule
from edgeflow.exporter import export, zoo

NETWORKS = (
    "efficientnet_lite0,resnet18,squeezenet_v1_0,inceptionv4,mobilenetv2_w1,darknet53,alexnet,vgg16,"
    "shufflenet_g1_w1"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One network; times are medians, the ratio is graph over module."""

    network: str
    ops: int
    module_ms: float
    graph_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    """Quartiles of the ratio."""


def measure(network: str, pairs: int, threads: int) -> Row:
    """Times `pairs` runs of each after two of each to warm up."""
    if network == "efficientnet_lite0":
        module = zoo.efficientnet_lite0()
    else:
        module = zoo.pytorchcv(network, size=299 if "inception" in network else 224, uint8=False)
    graph = export(module, name=network)
    names = [contract.name for contract in graph.inputs]
    eager = EagerModule(module, names, graph.outputs, threads=threads)
    segment = build(graph, [layer.name for layer in graph.layers], graph.arrays, threads=threads)
    feed = example_inputs(graph)
    runs: list[Callable[[], object]] = [lambda: eager.run(feed), lambda: segment.run(feed)]
    for run in runs * 2:
        run()
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            start_s = time.perf_counter()
            runs[which]()
            times[which].append(time.perf_counter() - start_s)
    ratios = [ours / theirs for theirs, ours in zip(*times, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    theirs_ms, ours_ms = (statistics.median(each) * 1e3 for each in times)
    return Row(network, len(graph.ops), theirs_ms, ours_ms, middle, low, high)


def main(arguments: list[str] | None = None) -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    rows = [measure(name, asked.pairs, asked.threads) for name in asked.networks.split(",")]
    made = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "threads": str(asked.threads),
        "pairs": str(asked.pairs),
    }
    sys.stdout.write(_as_json(made, rows) if asked.json else _as_table(made, rows))


def _as_json(made: dict[str, str], rows: list[Row]) -> str:
    return json.dumps({**made, "rows": [asdict(row) for row in rows]}) + "\n"


def _as_table(made: dict[str, str], rows: list[Row]) -> str:
    lines = [" ".join(f"{key} {value}" for key, value in made.items())]
    lines.append(f"{'network':20} {'ops':>4} {'module ms':>10} {'graph ms':>10}  ratio [quartiles]")
    lines += [
        f"{row.network:20} {row.ops:4} {row.module_ms:10.1f} {row.graph_ms:10.1f}  "
        f"{row.ratio:.3f} [{row.ratio_low:.3f}, {row.ratio_high:.3f}]"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
