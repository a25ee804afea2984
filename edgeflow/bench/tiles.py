"""One frame on several boxes at once, measured in a lab: against one box, even tiles, slow links.

    scripts/bench tiles [speed] [unequal] [crossover] [fused]     root, like any lab; default: all
                        [--networks vgg16,darknet53] [--rounds 4] [--frames 2] [--json]

speed      equal boxes of 0.3 cores on a fast switch: 2 and 4 of them against the best run on one,
           whole or in the same strips
unequal    boxes of 0.6, 0.3 and 0.15 cores: tiles as planned against tiles of equal size
crossover  the same boxes on ever slower links: where one box is better, predicted and measured
fused      no lab: FLOPs computed twice and bytes moved, beside equal grids of one fused block as in
           DeepThings (Zhao, Barijough, Gerstlauer, IEEE TCAD 37(11), 2018; our reading)

Feature parts of networks at 224 pixels, seeded random weights. All plans of a network take turns on
the same boxes; each answer is compared with the undivided network's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from edgeflow import modelfile
from edgeflow.api import connect
from edgeflow.bench.rivals import machine
from edgeflow.bench.shelf.contest import Arena, Run, evenly, in_strips, note
from edgeflow.bench.shelf.fused import compare
from edgeflow.cli.options import visitor
from edgeflow.errors import LabError
from edgeflow.lab import hosts, labfile, lifecycle, quota, record
from edgeflow.layout.placement import Layout, tile_maps

CAMERA = "cam-1"
EQUAL = {"edge-1": 0.3, "edge-2": 0.3, "edge-3": 0.3, "edge-4": 0.3}
UNEQUAL = {"edge-1": 0.6, "edge-2": 0.3, "edge-3": 0.15}
FAST_MBPS = 1000.0
RATES_MBPS = (200.0, 50.0, 20.0, 10.0, 5.0)
"""Of the crossover, beside the fast one."""
SPEED_MIN = {2: 1.6, 4: 3.0}
"""How many times faster than the best run on one box so many have to be."""
UNEQUAL_MIN = 1.5
"""How many times faster planned tiles have to be than equal ones."""
PARTS = ("speed", "unequal", "crossover", "fused")


def main() -> int:
    """Build, measure, take down; 1 where something is slower than promised."""
    parser = argparse.ArgumentParser(prog="scripts/bench tiles", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--networks", default="vgg16,darknet53")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each plan")
    parser.add_argument("--frames", type=int, default=2, help="frames a turn")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")
    if options.inside:
        inside(options, parts[0])
        return 0
    with tempfile.TemporaryDirectory(prefix="edgeflow-tiles-") as folder:
        models = [export_features(name, Path(folder)) for name in options.networks.split(",")]
        tables = {part: MEASURE[part](Path(folder), models) for part in parts}
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine(), **tables}) + "\n")
    else:
        sys.stdout.write("\n\n".join([machine(), *(text(*each) for each in tables.items())]) + "\n")
    return int(any(row.get("is_short") for rows in tables.values() for row in rows))


def export_features(name: str, folder: Path) -> Path:
    """The model file of a network's convolutional part."""
    from edgeflow.exporter import export, zoo

    note(f"exporting the feature part of {name} …")
    path = folder / f"{name}.safetensors"
    modelfile.save(export(zoo.feature_part(name), name=f"{name}-features"), path)
    return path


def shelf(cores: Mapping[str, float], mbps: float) -> labfile.LabFile:
    """Boxes of so many cores on one switch, and a camera that computes nothing."""
    nodes: dict[str, Any] = {name: {"tier": "edge", "cpu": cpu} for name, cpu in cores.items()}
    nodes[CAMERA] = {"tier": "device", "cpu": 0.4, "settings": {"compute": "none"}}
    links = [{"between": [name, "home"], "up_mbps": mbps, "down_mbps": mbps} for name in nodes]
    table = {"name": "shelf", "switches": ["home"], "nodes": nodes, "links": links}
    return labfile.convert(table, "scripts/bench tiles")


def in_lab(
    part: str, folder: Path, models: Sequence[Path], cores: Mapping[str, float], mbps: float
) -> list[Run]:
    """Run this module again beside the camera, outside its quota; what it measured."""
    lifecycle.up(shelf(cores, mbps), "scripts/bench tiles", models, note)
    try:
        made, quotas = record.need(), quota.find()
        words = [*hosts.PROGRAM, "edgeflow.bench.tiles", part, *_options(), "--inside", str(folder)]
        environ = hosts.environment(made)
        line = quotas.within(hosts.FREE, "exec", hosts.inside(CAMERA, words))
        if subprocess.run(line, env=environ, check=False).returncode != 0:
            raise LabError("the measuring process failed; what it said stands above")
    finally:
        lifecycle.down(note)
    return [Run(**each) for each in json.loads((folder / "runs.json").read_text())]


def _options() -> list[str]:
    """What was asked for, without the parts."""
    first = next((at for at, word in enumerate(sys.argv) if word.startswith("-")), len(sys.argv))
    return sys.argv[first:]


def inside(options: argparse.Namespace, part: str) -> None:
    """Plan, deploy, take turns."""
    url = os.environ["EDGEFLOW_BROKER"]
    config = visitor(url, "home", os.environ["EDGEFLOW_KEY"], insecure=False)
    runs: list[Run] = []
    with connect(url, name=config.name, config=config) as flow:
        for name in options.networks.split(","):
            arena = Arena(flow, CAMERA, options.inside / f"{name}.safetensors")
            plans = PLANS[part](arena)
            runs += arena.compete(plans, options.rounds, options.frames)
    (options.inside / "runs.json").write_text(json.dumps([asdict(run) for run in runs]))


def whole_on(arena: Arena, node: str) -> Layout:
    """The network undivided."""
    return dict.fromkeys((layer.name for layer in arena.graph.layers), node)


def plans_of_speed(arena: Arena) -> dict[str, Layout]:
    """One box, the same in strips, two and four."""
    boxes = list(EQUAL)
    arena.learn("one", whole_on(arena, boxes[0]))
    arena.learn("four", arena.planned(boxes, tiled=True))
    two = arena.planned(boxes[:2], tiled=True)
    return {
        "1": whole_on(arena, boxes[0]),
        "1-strips": in_strips(two, boxes[0]),
        "2": two,
        "4": arena.planned(boxes, tiled=True),
    }


def plans_of_unequal(arena: Arena) -> dict[str, Layout]:
    """The best box, all with equal tiles, all as planned."""
    boxes = list(UNEQUAL)
    arena.learn("one", whole_on(arena, boxes[0]))
    arena.learn("all", evenly(arena.graph, arena.planned(boxes, tiled=True), boxes))
    planned = arena.planned(boxes, tiled=True)
    return {
        "best-box": whole_on(arena, boxes[0]),
        "equal": evenly(arena.graph, planned, boxes),
        "planned": planned,
    }


def plans_of_crossover(arena: Arena) -> dict[str, Layout]:
    """One box and the best tiles, wanted or not."""
    boxes = list(EQUAL)
    arena.learn("one", whole_on(arena, boxes[0]))
    arena.learn("four", arena.planned(boxes, tiled=True))
    chosen = arena.planned(boxes)
    keeps = "" if tile_maps(chosen) else "-rejected"
    return {"1": whole_on(arena, boxes[0]), f"tiles{keeps}": arena.planned(boxes, tiled=True)}


PLANS = {
    "speed": plans_of_speed,
    "unequal": plans_of_unequal,
    "crossover": plans_of_crossover,
}


def measure_speed(folder: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows with the speed-up over the best run on one box."""
    runs = in_lab("speed", folder, models, EQUAL, FAST_MBPS)
    rows = []
    for run in runs:
        mine = [each for each in runs if each.network == run.network]
        best_ms = min(each.median_ms for each in mine if each.title.startswith("1"))
        least = SPEED_MIN.get(int(run.title), 0.0) if run.title.isdigit() else 0.0
        faster = best_ms / run.median_ms
        rows.append(row(run) | {"faster": round(faster, 2), "is_short": faster < least})
    return rows


def measure_unequal(folder: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows with the speed-up over equal tiles."""
    runs = in_lab("unequal", folder, models, UNEQUAL, FAST_MBPS)
    rows = []
    for run in runs:
        equal = next(each for each in runs if (each.network, each.title) == (run.network, "equal"))
        faster = equal.median_ms / run.median_ms
        short = run.title == "planned" and faster < UNEQUAL_MIN
        rows.append(row(run) | {"faster": round(faster, 2), "is_short": short})
    return rows


def measure_crossover(folder: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows for each rate: what tiles gain, as predicted and as measured."""
    rows = []
    for mbps in (FAST_MBPS, *RATES_MBPS):
        runs = in_lab("crossover", folder, models, EQUAL, mbps)
        for one, tiles in zip(runs[::2], runs[1::2], strict=True):
            rows.append(
                row(tiles)
                | {
                    "mbps": mbps,
                    "one_ms": round(one.median_ms, 1),
                    "predicted_faster": round(one.predicted_ms / tiles.predicted_ms, 2),
                    "faster": round(one.median_ms / tiles.median_ms, 2),
                    "keeps_one": tiles.title.endswith("rejected"),
                }
            )
    return rows


def measure_fused(folder: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of `fused.compare`."""
    return [each for model in models for each in compare(modelfile.load(model))]


MEASURE = {
    "speed": measure_speed,
    "unequal": measure_unequal,
    "crossover": measure_crossover,
    "fused": measure_fused,
}


def row(run: Run) -> dict[str, Any]:
    """What was measured of one plan."""
    return {
        "network": run.network,
        "plan": run.title,
        "median_ms": round(run.median_ms, 1),
        "spread_ms": [round(min(run.latencies_ms), 1), round(max(run.latencies_ms), 1)],
        "predicted_ms": round(run.predicted_ms, 1),
        "frames": len(run.latencies_ms),
        "errors": run.errors,
        "wrong": run.wrong,
        "bit_equal": run.inexact == 0,
        "recomputed_percent": round(run.recomputed_percent, 1),
        "moved_kb": round(run.moved_kb, 1),
        "placement": run.placement,
    }


def text(part: str, rows: Sequence[dict[str, Any]]) -> str:
    """A table for people; the plans below it."""
    hidden = ("placement", "is_short")
    names = [name for name in rows[0] if name not in hidden]
    cells = [[_cell(each[name]) for name in names] for each in rows]
    widths = [max(len(cell) for cell in column) for column in zip(names, *cells, strict=True)]
    line = partial(_line, widths)
    lines = [f"{part}:", line(names), *map(line, cells)]
    lines += [f"{each['network']} {each['plan']}: {each['placement']}" for each in rows]
    lines += [
        f"too slow: {each['network']} {each['plan']}" for each in rows if each.get("is_short")
    ]
    return "\n".join(lines)


def _line(widths: Sequence[int], cells: Sequence[str]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "–".join(f"{each:.0f}" for each in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
