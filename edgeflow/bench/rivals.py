"""Undivided on each tier, or as min-cut plans: measured in a lab, beside what was predicted.

    scripts/bench rivals configs/labs/d3-4g.toml [--networks vgg16,efficientnet_lite0] [--rounds 4]
                         [--frames 3] [--block-s 6] [--keep FOLDER] [--json]    root, like any lab

One deployment an algorithm, all at once on the same nodes, fed in turn from the device by a process
outside every quota: the order goes forward and backward, so that what drifts drifts for all. Each
answer is compared with the undivided network's. Weights lie on every disk beforehand. Pictures are
JPEG files and `decode` is the first layer, so that whoever sends the picture on sends the file;
with --raw they are arrays of pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from edgeflow import modelfile
from edgeflow.api import connect
from edgeflow.cli.options import visitor
from edgeflow.errors import LabError
from edgeflow.lab import hosts, labfile, lifecycle, quota, record
from edgeflow.lab.contest import ALGORITHMS, PLANNED, Entry, Turns, compete, note

MARGIN = 1.05
"""What planning may cost against the best undivided run, in the median."""


def main() -> int:
    """Build, measure, take down; 1 where planning lost by more than it may."""
    parser = argparse.ArgumentParser(prog="scripts/bench rivals", description=__doc__)
    parser.add_argument("file", type=Path, help="a lab with a device tier")
    parser.add_argument("--networks", default="vgg16,efficientnet_lite0")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--rounds", type=int, default=4, help="blocks an algorithm")
    parser.add_argument("--frames", type=int, default=3, help="frames a block, at least")
    parser.add_argument("--block-s", type=float, default=6.0, help="seconds a block, at least")
    parser.add_argument("--raw", action="store_true", help="pixels, not JPEG files")
    parser.add_argument("--keep", type=Path, help="a folder for ledgers, events and logs")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options)
        return 0
    lab = labfile.load(options.file)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgeflow-rivals-") as folder:
        names = options.networks.split(",")
        models = [export(name, Path(folder), encoded=not options.raw) for name in names]
        lifecycle.up(lab, str(options.file.absolute()), models, note)
        try:
            entries = measure_inside(lab, Path(folder))
        finally:
            if options.keep:
                record.keep_logs(options.keep)
            lifecycle.down(note)
    rows = [row(entry, entries) for entry in entries]
    sys.stdout.write((json.dumps(report(lab, rows)) if options.json else table(lab, rows)) + "\n")
    return int(any(each["is_slower"] for each in rows))


def export(name: str, folder: Path, *, encoded: bool) -> Path:
    """The network as a model file, taking a photograph of 224 pixels a side, or its JPEG."""
    from edgeflow.exporter import export as exported
    from edgeflow.exporter import zoo

    note(f"exporting {name} …")
    module = zoo.efficientnet_lite0() if name == "efficientnet_lite0" else zoo.pytorchcv(name)
    path = folder / f"{name}.safetensors"
    modelfile.save(exported(module, name=name, encoded=encoded), path)
    return path


def measure_inside(lab: labfile.LabFile, folder: Path) -> list[Entry]:
    """Run this module again beside the device, outside its quota; what it measured."""
    device = next(name for name, node in lab.nodes.items() if node.tier == "device")
    made, quotas = record.need(), quota.find()
    words = [*hosts.PROGRAM, "edgeflow.bench.rivals", *sys.argv[1:], "--inside", str(folder)]
    environ = {**hosts.environment(made), "EDGEFLOW_SOURCE": device}
    line = quotas.within(hosts.FREE, "exec", hosts.inside(device, words))
    if subprocess.run(line, env=environ, check=False).returncode != 0:
        raise LabError("the measuring process failed; what it said stands above")
    return [Entry(**each) for each in json.loads((folder / "entries.json").read_text())]


def inside(options: argparse.Namespace) -> None:
    """Deploy, warm up, take turns."""
    source, url = os.environ["EDGEFLOW_SOURCE"], os.environ["EDGEFLOW_BROKER"]
    config = visitor(url, "home", os.environ["EDGEFLOW_KEY"], insecure=False)
    entries: list[Entry] = []
    turns = Turns(
        tuple(options.algorithms.split(",")),
        options.rounds,
        options.frames,
        options.block_s,
        options.keep,
    )
    with connect(url, name=config.name, config=config) as flow:
        for name in options.networks.split(","):
            entries += compete(flow, source, options.inside / f"{name}.safetensors", turns)
    found = json.dumps([asdict(entry) for entry in entries])
    (options.inside / "entries.json").write_text(found)


def row(entry: Entry, entries: Sequence[Entry]) -> dict[str, Any]:
    """One line of the table."""
    rivals = [each for each in entries if each.network == entry.network and each is not entry]
    best = min((median(each.latencies_ms) for each in rivals), default=0.0)
    measured, predicted = median(entry.latencies_ms), median(entry.predicted_ms)
    ratio = measured / best if best else 0.0
    low, high = quartiles(entry.latencies_ms)
    return {
        "network": entry.network,
        "algorithm": entry.algorithm,
        "median_ms": round(measured, 1),
        "quartiles_ms": [round(low, 1), round(high, 1)],
        "predicted_ms": round(predicted, 1),
        "off_percent": round(100 * (predicted / measured - 1), 1) if measured else None,
        "frames": entry.submitted,
        "success_rate": entry.answered / entry.submitted if entry.submitted else 0.0,
        "wrong": entry.wrong,
        "backbone_kb_per_frame": round(entry.backbone_bytes / max(1, entry.submitted) / 1e3, 1),
        "wire_kb_per_frame": round(entry.wire_bytes / max(1, entry.submitted) / 1e3, 1),
        "to_best_other": round(ratio, 3),
        "is_slower": entry.algorithm == PLANNED and ratio > MARGIN,
        "placements": list(dict.fromkeys(entry.placements)),
    }


def median(values: Sequence[float]) -> float:
    """Infinite where nothing was answered."""
    return statistics.median(values) if values else float("inf")


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The middle half."""
    if len(values) < 2:
        return median(values), median(values)
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def report(lab: labfile.LabFile, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For programs."""
    return {"machine": machine(), "lab": msgspec.to_builtins(lab), "rows": rows}


def machine() -> str:
    """What this is, and is not."""
    return (
        f"{os.cpu_count()} {platform.machine()} cores at N %, Python {platform.python_version()};"
        " no Pi's caches or SIMD; stores pre-seeded"
    )


def table(lab: labfile.LabFile, rows: list[dict[str, Any]]) -> str:
    """For people."""
    head = (
        "network",
        "algorithm",
        "median ms",
        "quartiles",
        "predicted",
        "answered",
        "backbone kB",
    )
    lines = [f"{lab.name}: {lab.about}", machine(), ""]
    widths = "{:20}{:13}{:>10}{:>16}{:>11}{:>10}{:>13}  {}"
    lines.append(widths.format(*head, "against the best other"))
    for each in rows:
        low, high = each["quartiles_ms"]
        said = f"{each['to_best_other']:.2f}" if each["algorithm"] == PLANNED else ""
        said += "  too slow" if each["is_slower"] else ""
        lines.append(
            widths.format(
                each["network"],
                each["algorithm"],
                f"{each['median_ms']:.0f}",
                f"{low:.0f}–{high:.0f}",
                f"{each['predicted_ms']:.0f}",
                f"{each['success_rate']:.0%}"
                + (f" {each['wrong']} wrong" if each["wrong"] else ""),
                f"{each['backbone_kb_per_frame']:.1f}",
                said,
            )
        )
    lines += [
        f"{each['network']} min-cut: {'; then '.join(each['placements'])}"
        for each in rows
        if each["algorithm"] == PLANNED
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
