"""Faults of every kind under a steady load, in a lab of real processes; the ledger is the judge.

    scripts/bench faults [--rows node-killed,broker-empty] [--frames 2000] [--rate 40] [--json]
                         [--model FILE] [--keep FOLDER]                 root, like any lab

EfficientNet-Lite0 with its real weights, at 128 pixels a side, on three edge nodes and a cloud
machine of a third of a core each (configs/labs/faults.toml); all on onnxruntime, so that every
answer can be compared bit for bit. Frames come at a rate, whatever comes back. The process that
hands them in is the source and computes nothing; it alone is never broken.

Each row: how many frames, lost, duplicated, wrong; the rate of success; errors by their code; for
how long there was no good answer at all after a fault (silent), and how long until frames were in
time again (back); for how long no leader's beat was heard by a connection of our own while there
was a broker; and how often a higher term took over.

Exit code 1 where a frame was lost, answered twice, or wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgeflow import modelfile
from edgeflow.bench.outage import inside, report
from edgeflow.bench.outage.rows import ROWS, Row
from edgeflow.errors import EdgeflowError, LabError
from edgeflow.lab import changes, conduct, entry, hosts, labfile, lifecycle, quota, record
from edgeflow.lab.labfile import BROKER

LAB = Path(__file__).parents[2] / "configs" / "labs" / "faults.toml"
SIZE = 128
ANSWERS = "answers"
"""The step before the first row."""
SETTLE_S = 4.0
"""After a row everything is mended; peers know it within a lease and a reconnect."""


def main() -> int:
    """Build, break, judge, take down."""
    options = _parse()
    if options.inside:
        _run_inside(options)
        return 0
    rows = _wanted(options.rows)
    lab = labfile.load(options.lab)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="edgeflow-faults-") as name:
        folder = Path(name)
        model = options.model or export_lite0(folder)
        try:
            _up(lab, options.lab, model)
            _inside(folder, model, ANSWERS, options)
            for at, row in enumerate(rows, start=1):
                note(f"{at}/{len(rows)} {row.name}: {row.about}")
                found.append(_measured(folder, model, row, options))
                note(f"  {report.sentence(found[-1])}")
                if at < len(rows):
                    _mend(lab, options.lab, model)
        finally:
            if options.keep and record.load():
                record.keep_logs(options.keep)
            lifecycle.down(note)
    text = json.dumps(report.whole(found)) if options.json else report.table(found)
    sys.stdout.write(text + "\n")
    return int(any(each["broken"] for each in found))


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def export_lite0(folder: Path) -> Path:
    """The model file."""
    from edgeflow.exporter import export, zoo

    note("exporting EfficientNet-Lite0 …")
    path = folder / "lite0.safetensors"
    modelfile.save(export(zoo.efficientnet_lite0(size=SIZE), name="efficientnet-lite0"), path)
    return path


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(row.name for row in ROWS)
    parser.add_argument("--rows", default="", help=f"joined by commas, of {names}; default: all")
    parser.add_argument("--frames", type=int, default=2000, help="of each row")
    parser.add_argument("--rate", type=float, default=40.0, help="frames a second")
    parser.add_argument("--model", type=Path, help="a model file instead of EfficientNet-Lite0")
    parser.add_argument("--lab", type=Path, default=LAB, help="with one bare machine, the source")
    parser.add_argument("--keep", type=Path, help="a folder for ledgers, notes and logs")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.frames < 1 or not found.rate > 0:
        parser.error("--frames and --rate are above 0")
    return found


def _wanted(names: str) -> list[Row]:
    known = {row.name: row for row in ROWS}
    wanted = names.split(",") if names else list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"there is no row {', '.join(unknown)}; there is {', '.join(known)}")
    return [known[name] for name in wanted]


def _run_inside(options: argparse.Namespace) -> None:
    """What this program does in the lab."""
    if options.rows == ANSWERS:
        inside.answers(options.inside, options.model)
        return
    (row,) = _wanted(options.rows)
    inside.play(options.inside, options.model, row, options.frames, options.rate)


def _inside(folder: Path, model: Path, row: str, options: argparse.Namespace) -> None:
    """Run this program again at the lab's bare machine; LabError where it fails."""
    source = next(name for name, node in record.need().lab.nodes.items() if node.bare)
    words = ["edgeflow.bench.faults", "--inside", str(folder), "--rows", row]
    words += ["--model", str(model), "--frames", str(options.frames), "--rate", str(options.rate)]
    entry.run_module(source, words, folder / "source.log")


def _measured(folder: Path, model: Path, row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one row."""
    here = folder / row.name
    here.mkdir()
    shutil.copy(folder / "expected.json", here)
    failure = ""
    try:
        _inside(here, model, row.name, options)
    except LabError as error:
        failure = str(error)
    if options.keep:
        shutil.copytree(here, options.keep / row.name, dirs_exist_ok=True)
        record.keep_logs(options.keep / row.name)
    return report.row(row, here, failure)


def _up(lab: labfile.LabFile, file: Path, model: Path) -> None:
    lifecycle.up(lab, str(file.absolute()), [model.absolute()], note)


def _mend(lab: labfile.LabFile, file: Path, model: Path) -> None:
    """Everything as it was; a lab that does not get so is built anew."""
    try:
        made, quotas = record.need(), quota.find()
        words = ["heal", *(f"mend {link.title}" for link in lab.links)]
        words += [f"clock {name} 0" for name in lab.running if lab.clocks]
        for host in (BROKER, *lab.running):
            state = hosts.state(quotas, host)
            words += {"dead": [f"restart {host}"], "stopped": [f"cont {host}"]}.get(state, [])
        for each in words:
            conduct.change(changes.parse(each.split()))
        time.sleep(SETTLE_S)
        lifecycle.wait_ready(made, quotas, note)
    except EdgeflowError as error:
        note(f"  the lab is built anew: {error}")
        lifecycle.down(note)
        _up(lab, file, model)


if __name__ == "__main__":
    sys.exit(main())
