"""`edgeflow verify`: a model cut or tiled in one process, against its whole run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from edgeflow import audit, modelfile
from edgeflow.audit import tilecheck
from edgeflow.audit.difference import CLOSE, Difference
from edgeflow.audit.engines import compare
from edgeflow.audit.trials import LONGER
from edgeflow.cli import screen
from edgeflow.cli.show import TABLE_WIDTH, Model
from edgeflow.errors import ModelError, UsageError
from edgeflow.executors import chosen, engines
from edgeflow.model.graph import Graph

VERIFY_HELP = """Split a model in this process, and compare with the whole.

  edgeflow verify model.safetensors --cuts all
  edgeflow verify model.safetensors --tiles 2x1,3x3,uneven --integers

Without --tiles both sides of every cut run through the wire, and each bit must be equal.

With --tiles every segment that can be tiled is computed in rectangles, ROWSxCOLUMNS of its maps or
some random `uneven` ones, and stitched. An engine sums in another order on a smaller map: with the
model's own weights tiles are close. With --integers no sum is ever rounded, so each bit must be
equal: this proves the geometry. Exit code 1 where anything differs beyond that.

With --engine all of it runs on that engine, torch or onnx; where the other one is installed too,
the undivided answers of both are compared.
"""

Threads = Annotated[int, typer.Option(min=1, help="Bits are equal at one number of threads only.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="torch, onnx, or auto: the first that is installed.")
]


def verify(
    model: Model,
    cuts: Annotated[
        str | None, typer.Option(help="all (the default), or how many, evenly spread.")
    ] = None,
    tiles: Annotated[
        str | None, typer.Option(metavar="GRIDS", help="2x1,4x1,2x2,3x3,uneven: tiles, not cuts.")
    ] = None,
    integers: Annotated[
        bool, typer.Option("--integers", help="Small integers for weights and inputs of tiles.")
    ] = False,
    segments: Annotated[
        str | None,
        typer.Option(help="Longer segments to tile beside stretches and pieces: all, or how many."),
    ] = None,
    threads: Threads = 1,
    engine: EngineName = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    as_json: screen.Json = False,
) -> None:
    """Compare cuts or tiles with the whole; see VERIFY_HELP."""
    if tiles is None and (integers or segments is not None):
        raise UsageError("--integers and --segments are for tiles: add --tiles 2x1,3x3,uneven")
    if tiles is not None and cuts is not None:
        raise UsageError("give --cuts or --tiles, one at a time")
    graph, on = modelfile.load(model), {"threads": threads, "engine": chosen(engine)}
    if tiles is None:
        _verify_cuts(graph, cuts or "all", on, seed, as_json)
        return
    longer = LONGER if segments is None else segments
    _verify_tiles(graph, tiles, longer, integers, on, seed, as_json)


def _verify_tiles(
    graph: Graph,
    tiles: str,
    longer: str | int,
    integers: bool,
    on: dict[str, Any],
    seed: int,
    as_json: bool,
) -> None:
    with _bar("tiling") as progress:
        report = tilecheck.check(
            graph,
            tiles,
            longer=longer,
            exact=integers,
            seed=seed,
            progress=progress,
            **on,
        )
    if as_json:
        screen.emit_json({"name": graph.name, "integers": integers, **_report(report)})
    else:
        _print(graph.name, report)
    tilecheck.verdict(report)


def _verify_cuts(graph: Graph, cuts: str, on: dict[str, Any], seed: int, as_json: bool) -> None:
    with _bar("verifying") as progress:
        report = audit.verify(graph, cuts, seed=seed, progress=progress, **on)
    beside = _beside(graph, on, seed)
    if as_json:
        told = {
            other: {name: asdict(each) for name, each in found.items()}
            for other, found in beside.items()
        }
        screen.emit_json({**asdict(report), "engine": on["engine"], "beside": told})
    else:
        screen.say(
            f"{report.cuts} cuts on {on['engine']}, {report.mismatches} mismatches, "
            f"largest difference {report.max_abs_diff:g} ({report.max_ulp} ULP)"
        )
        for other, found in beside.items():
            worst = max(found.values(), key=lambda each: each.max_rel_diff)
            screen.say(
                f"beside {other}: off by at most {worst.max_rel_diff:.1e} of an output's largest "
                f"element ({max(each.max_ulp for each in found.values())} ULP); "
                f"{CLOSE:g} is let through"
            )
    if report.mismatches:
        raise ModelError(f"{report.mismatches} cuts differ, at: {', '.join(report.differing[:5])}")
    far = [
        f"{name} (beside {other})"
        for other, found in beside.items()
        for name, each in found.items()
        if not each.is_close
    ]
    if far:
        raise ModelError(f"{on['engine']} answers otherwise than by rounding: {', '.join(far[:5])}")


def _beside(graph: Graph, on: dict[str, Any], seed: int) -> dict[str, dict[str, Difference]]:
    """The undivided answer against that of every other engine there is."""
    others = [each for each in engines() if each != on["engine"]]
    threads = on["threads"]
    return {
        other: compare(graph, on["engine"], other, threads=threads, seed=seed) for other in others
    }


def _report(report: tilecheck.Report) -> dict[str, Any]:
    """The report for programs, with what can be reckoned out of it."""
    told = asdict(report)
    for row, grid in zip(told["grids"], report.grids, strict=True):
        row["recomputed"] = grid.recomputed
    return {"equal": not report.failed, **told}


def _print(name: str, report: tilecheck.Report) -> None:
    table = Table(
        *("grid", "runs", "tiles", "elements", "differ", "by at most", "of the map's largest"),
        *("ULP", "recomputed", "worst", "halo"),
        box=None,
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for grid in report.grids:
        few = "" if grid.tiles == grid.tiles_wanted else f" of {grid.tiles_wanted}"
        table.add_row(
            *(grid.grid, str(grid.runs), f"{grid.tiles}{few}", str(grid.elements)),
            *(str(grid.mismatches), f"{grid.max_abs_diff:g}", f"{grid.max_rel_diff:.1e}"),
            *(str(grid.max_ulp), f"{grid.recomputed:.1%}", f"{grid.recomputed_max:.1%}"),
            str(grid.halo_max),
        )
    console = screen.out()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)
    for kind, other in report.stand_ins.items():
        screen.note(f"{kind} makes fractions; in its place: {other}")
    for text in report.skipped:
        screen.note(f"not checked: {text}")
    found = f"{report.failed} cases where it does not" if report.failed else "everywhere"
    screen.say(
        f"{name}: {report.segments} segments, stretches that can be tiled and parts of them; "
        f"a tile {report.judged}: {found}"
    )


@contextmanager
def _bar(what: str) -> Iterator[audit.Progress]:
    """A progress bar on stderr, gone at the end."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen.err(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
