"""Bugs planted in the core, one at a time, and how many simulated histories notice each.

    scripts/bench mutants [--seeds 40] [--only WORD] [--jobs 2] [--json] [--out docs/mutants.md]

A planted bug that no seed notices shows that simulator or judge is too weak there: exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from edgeflow.bench.planting.plant import Mutant, caught_by
from edgeflow.bench.planting.table import MUTANTS


@dataclass(frozen=True, slots=True)
class Row:
    """One planted bug."""

    name: str
    place: str
    right: str
    wrong: str
    faults: str
    seeds: int
    caught: int
    """By so many of them."""
    first: int | None
    """The first that did."""
    violation: str
    """What that one saw."""


def main() -> int:
    """Play, print, write; fail where a planted bug was not noticed."""
    parser = argparse.ArgumentParser(prog="scripts/bench mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="histories a planted bug")
    parser.add_argument("--only", default="", help="bugs whose name has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    parser.add_argument("--out", default="", help="a file for the table, such as docs/mutants.md")
    options = parser.parse_args()
    chosen = {name: each for name, each in MUTANTS.items() if options.only in name}
    start_s = time.monotonic()
    rows = play(chosen, options.seeds, options.jobs)
    if options.out:
        path = Path(options.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_markdown(rows, options.seeds), encoding="utf-8")
    told = {"seconds": round(time.monotonic() - start_s, 1), "rows": [asdict(row) for row in rows]}
    sys.stdout.write(json.dumps(told) + "\n" if options.json else as_text(rows))
    return int(not all(row.caught for row in rows))


def play(mutants: dict[str, Mutant], seeds: int, jobs: int) -> list[Row]:
    """Every bug with seeds 0, 1, 2 …, and with the one that the suite begins with."""
    chosen = {name: sorted({*range(seeds), each.seed}) for name, each in mutants.items()}
    tasks = [(name, seed) for name, each in chosen.items() for seed in each]
    # Not forked: a bug planted in one process must not be in another.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        seen = dict(zip(tasks, pool.map(_try, tasks, chunksize=4), strict=True))
    return [
        _row(name, mutants[name], {seed: seen[name, seed] for seed in each})
        for name, each in chosen.items()
    ]


def _try(task: tuple[str, int]) -> str:
    name, seed = task
    return caught_by(MUTANTS[name], seed)


def _row(name: str, mutant: Mutant, violations: Mapping[int, str]) -> Row:
    first = next((seed for seed, each in violations.items() if each), None)
    return Row(
        name=name,
        place=mutant.place,
        right=mutant.right,
        wrong=mutant.wrong,
        faults=", ".join(mutant.groups) or "all",
        seeds=len(violations),
        caught=sum(map(bool, violations.values())),
        first=first,
        violation=violations[first] if first is not None else "",
    )


def as_markdown(rows: Sequence[Row], seeds: int) -> str:
    """The table, for a file."""
    lines = [
        "# Planted bugs",
        "",
        "Each line is a bug planted in the core, and how many of the first seeds of the simulator",
        "noticed it, among them the one with which the suite begins. Made by",
        f"`scripts/bench mutants --seeds {seeds} --out docs/mutants.md`.",
        "",
        "| bug | place | right → wrong | faults | caught by | first seed | what it saw |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    change = f"`{_flat(row.right)}` → `{_flat(row.wrong)}`"
    caught = f"{row.caught} of {row.seeds}"
    cells = (row.name, f"`{row.place}`", change, row.faults, caught, row.first, row.violation[:90])
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _flat(text: str) -> str:
    return " ".join(text.split())


def as_text(rows: Iterable[Row]) -> str:
    """For people."""
    return "".join(
        f"{row.caught:4} of {row.seeds}, first {row.first}: {row.name}"
        f" ({row.violation[:80] or 'NOT CAUGHT'})\n"
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
