"""How long planning takes, and with `--networks` how good the plans of each algorithm are.

    scripts/bench planners [--layers 30,300,3000] [--repeats 9] [--seed 1] [--json]
    scripts/bench planners --networks all --links wifi,4g,5g,fibre --out FOLDER

`chain` is one layer after the other; `blocks` has residual and inception-like blocks between single
tensors, as real networks have; `dag` has skips anywhere. A direct device-cloud link as fast as the
edge's own is always there. First includes reading the graph's work and wiring, again does not. No
tiles: the layers of these graphs stand for sizes and times alone.

With `--networks` real networks are divided over one device, one edge node and one cloud machine by
every algorithm: FOLDER gets planners.md, planners.csv and planners.svg (`partitions`).
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from edgeflow.bench.partitions import picture, report
from edgeflow.bench.partitions.compare import NETWORKS, compare, load
from edgeflow.bench.partitions.compare import Row as Compared
from edgeflow.bench.partitions.local import Row as Timed
from edgeflow.bench.partitions.local import time_changes
from edgeflow.bench.partitions.scene import MACHINES, UPLINKS
from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Tier
from edgeflow.model.graph import Contract, Graph, Op
from edgeflow.planning import propose

SHAPES = ("chain", "blocks", "dag")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; times are medians."""

    shape: str
    layers: int
    edges: int
    first_ms: float
    again_ms: float
    spread_ms: float
    """Of `again_ms`, between the quartiles."""
    nodes_used: int
    optimal: bool
    gap: float


def random_graph(shape: str, layers: int, rng: random.Random) -> Graph:
    """Maps that start at 1 MB and lose three quarters now and then."""
    names, ops = ["image"], []
    fork = "image"
    for at in range(layers):
        reads = {names[-1]}
        if shape == "blocks" and at % 6 == 5:
            reads |= {fork, names[-3]} if at > 5 else {names[-3]}
        if shape == "dag":
            reads |= {names[-1 - rng.randrange(min(8, len(names)))]}
        name = f"l{at}"
        ops.append(
            Op(name, "concat", tuple(sorted(reads)), {}, {"axis": 1}, _map(name, at, layers))
        )
        names.append(name)
        fork = name if at % 6 == 5 else fork
    read = {name for op in ops for name in op.inputs}
    outputs = tuple(op.name for op in ops if op.name not in read)
    return Graph(f"{shape}-{layers}", 1, (_map("image", -1, layers),), outputs, tuple(ops), {})


def _map(name: str, at: int, layers: int) -> Contract:
    channels, shift = (3, 0) if at < 0 else (24, at * 6 // layers)
    return Contract(
        name, "uint8" if at < 0 else "float32", (1, channels, 104 >> shift, 104 >> shift)
    )


def home_cluster(layers: int, edges: int, rng: random.Random) -> Cluster:
    """A device that takes about a second, some faster edge nodes, a cloud behind 1.6 Mbit/s."""
    nodes = {
        "cam": _node("cam", DEVICE, layers),
        "cloud": _node("cloud", CLOUD, layers * 40.0),
    }
    for at in range(edges):
        name = f"edge-{at}"
        nodes[name] = _node(name, EDGE, layers * rng.uniform(2, 5))
    uplink, local = LinkCost(0.01, 2e5), [LinkCost(0.001, rng.uniform(5e6, 3e7)) for _ in nodes]
    links = {
        (a, b): uplink if "cloud" in (a, b) else rng.choice(local)
        for a in nodes
        for b in nodes
        if a != b
    }
    return Cluster(nodes, links, "cam")


def _node(name: str, tier: Tier, factor: float) -> NodeCost:
    """Every layer takes about 1 / factor seconds, whatever it is."""
    overhead_s = 4e-6
    return NodeCost(name, tier, Rates(1e9, 1e9, 1e15, overhead_s), 1 / factor / overhead_s)


def measure(shape: str, layers: int, edges: int, repeats: int, seed: int) -> Row:
    """Plans the same question `repeats` times, each time on a fresh graph and once more on it."""
    first_s: list[float] = []
    again_s: list[float] = []
    for _ in range(repeats):
        rng = random.Random(seed)
        graph, cluster = random_graph(shape, layers, rng), home_cluster(layers, edges, rng)
        _ = graph.layers, graph.readers, graph.tensors
        for times in (first_s, again_s):
            start_s = time.perf_counter()
            found = propose(graph, cluster, tiles=False)
            times.append(time.perf_counter() - start_s)
    low, _, high = statistics.quantiles(again_s, n=4)
    return Row(
        shape=shape,
        layers=layers,
        edges=edges,
        first_ms=statistics.median(first_s) * 1e3,
        again_ms=statistics.median(again_s) * 1e3,
        spread_ms=(high - low) * 1e3,
        nodes_used=len(set(found.placement.values())),
        optimal=found.optimal,
        gap=found.gap,
    )


def main(arguments: list[str] | None = None) -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", default="30,300,3000")
    parser.add_argument("--edges", default="1,3")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--networks", default="", help="all, or names: compare the plans instead")
    parser.add_argument("--links", default=",".join(UPLINKS), help="up-links to compare them on")
    parser.add_argument("--inputs", default="uint8,float32", help="what a frame is")
    parser.add_argument("--out", type=Path, default=Path(), help="where the files go")
    asked = parser.parse_args(arguments)
    if asked.networks:
        sys.stdout.write(compare_networks(asked))
        return
    rows = [
        measure(shape, int(layers), int(edges), asked.repeats, asked.seed)
        for layers in asked.layers.split(",")
        for edges in asked.edges.split(",")
        for shape in SHAPES
    ]
    made = _made(asked)
    sys.stdout.write(_as_json(made, rows) if asked.json else _as_table(made, rows))


def compare_networks(asked: argparse.Namespace) -> str:
    """Writes the three files; what they say in short."""
    names = NETWORKS if asked.networks == "all" else asked.networks.split(",")
    rows: list[Compared] = []
    for name in names:
        for dtype in asked.inputs.split(","):
            sys.stderr.write(f"{name} {dtype} ...\n")
            graph = load(name, dtype)
            for machines, uplink in product(MACHINES, asked.links.split(",")):
                rows += compare(graph, machines, uplink, asked.repeats)
    timed = [row for shape in SHAPES for row in _time_changes(shape, asked.seed)]
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "planners.md").write_text(report.as_markdown(_made(asked), rows, timed))
    (asked.out / "planners.csv").write_text(report.as_csv(rows))
    (asked.out / "planners.svg").write_text(picture.as_svg(rows))
    lines = [*report.summary(rows), "", *report.local_lines(timed)]
    return (
        "\n".join([*lines, "", f"planners.md, .csv and .svg are in {asked.out.resolve()}"]) + "\n"
    )


def _time_changes(shape: str, seed: int) -> list[Timed]:
    rng = random.Random(seed)
    return time_changes(shape, random_graph(shape, 500, rng), home_cluster(500, 3, rng), seed)


def _made(asked: argparse.Namespace) -> dict[str, str]:
    return {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "seed": str(asked.seed),
        "repeats": str(asked.repeats),
    }


def _as_json(made: dict[str, str], rows: list[Row]) -> str:
    return json.dumps({**made, "rows": [asdict(row) for row in rows]}) + "\n"


def _as_table(made: dict[str, str], rows: list[Row]) -> str:
    lines = [" ".join(f"{key} {value}" for key, value in made.items())]
    lines.append("shape  layers edges  first ms  again ms  (iqr)  nodes  proof")
    for row in rows:
        proof = "optimal" if row.optimal else f"gap {row.gap:.2%}"
        lines.append(
            f"{row.shape:6} {row.layers:6} {row.edges:5} {row.first_ms:9.2f} {row.again_ms:9.2f}"
            f" {row.spread_ms:6.2f} {row.nodes_used:6}  {proof}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
