"""How soon each policy finds the best plan again when bandwidth, load or the fleet change.

    scripts/bench adapt --out FOLDER [--policies mincut,hpa] [--models resnet18,vgg16]
                        [--phases oracle,converge,regret,noise] [--repeats 5] [--minutes 10]
                        [--json]                                           root, like any lab

In configs/labs/adapt.toml, whose every change makes another plan the best. First the oracle: all
plans worth it are measured by hand under every condition, those close to the best once more in
another lab. Then each policy goes through the same phases in a fresh lab, while frames come in at a
rate (2 a second; VGG-16 1 in 2 s): how many frames and seconds until what runs takes at most 5 %
longer than the best plan, for 20 frames. Then the radio follows a trace (regret: mean latency over
that of the best plan at each moment), and noise.

Every answer stands in a ledger and is compared bit for bit. FOLDER keeps all of it, with a picture
of each run; the same command goes on where it was ended. Exit code 1 where a frame was lost,
failed, answered twice, or wrong, or a run did not come to its end.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgeflow.bench.adapting import report, schedule
from edgeflow.bench.adapting.made import machine
from edgeflow.bench.adapting.oracle import Table
from edgeflow.bench.adapting.runs import Runs, note
from edgeflow.errors import EdgeflowError

LAB = Path(__file__).parents[2] / "configs" / "labs" / "adapt.toml"
POLICIES = "mincut,hpa,partnner,profile-first,static"


def main() -> int:
    """Measure what is asked for and not there yet, judge all, tell."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    runs = Runs(options.out, options.lab, Table.load(options.out / "table.json", machine()))
    wanted = schedule.Wanted(
        models={name: _model(name, options) for name in options.models.split(",")},
        policies=tuple(options.policies.split(",")),
        repeats=options.repeats,
        seconds=60 * options.minutes,
        out=options.out,
    )
    if not options.only_report:
        for phase in options.phases.split(","):
            schedule.PHASES[phase](runs, wanted)
    found = report.whole(options.out, runs.table)
    sys.stdout.write((json.dumps(found) if options.json else report.table(found)) + "\n")
    return int(bool(found["unfinished"]) or any(each["broken"] for each in found["runs"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench adapt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ",".join(schedule.PHASES)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all that is found")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--models", default="resnet18,vgg16")
    parser.add_argument("--phases", default=names, help=f"joined by commas; default: {names}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10.0, help="of a trace, and of noise")
    parser.add_argument("--lab", type=Path, default=LAB, help="with the names of adapt.toml")
    parser.add_argument("--model-files", type=Path, help="a folder with NAME.safetensors")
    parser.add_argument("--only-report", action="store_true", help="of what lies there already")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    found = parser.parse_args()
    for phase in found.phases.split(","):
        if phase not in schedule.PHASES:
            parser.error(f"there is no phase {phase!r}; there is {names}")
    return found


def _model(name: str, options: argparse.Namespace) -> Path:
    """The model's file: given, or exported once into the folder of results."""
    if options.model_files:
        path: Path = options.model_files / f"{name}.safetensors"
        return path.absolute()
    path = options.out / f"{name}.safetensors"
    if not path.exists():
        _export(name, path)
    return path.absolute()


def _export(name: str, path: Path) -> None:
    from edgeflow import modelfile
    from edgeflow.exporter import export, zoo

    note(f"exporting {name} …")
    modelfile.save(export(zoo.pytorchcv(name), name=name), path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeflowError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
