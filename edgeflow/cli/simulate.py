"""`edgeflow simulate`: many histories of a fleet under faults, each judged at every event.

Invariant: a failing seed is told with its story, and gives the same story again.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeflow.cli import screen

if TYPE_CHECKING:
    from edgeflow.sim import Outcome

STORY_LINES = 60
"""Of a failing seed, so many last lines are shown."""


@dataclass(slots=True)
class Summary:
    """All seeds so far."""

    seeds: int = 0
    nodes: int = 0
    sim_hours: float = 0.0
    events: int = 0
    faults: int = 0
    results: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more history."""
        self.seeds += 1
        self.sim_hours += outcome.sim_s / 3600
        self.events += outcome.events
        self.faults += outcome.faults
        self.results += outcome.results
        self.errors.update(outcome.errors)
        if outcome.violation:
            self.failed.append(outcome)

    def as_json(self, seeds_per_s: float) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "seeds": self.seeds,
            "nodes": self.nodes,
            "sim_hours": round(self.sim_hours, 3),
            "events": self.events,
            "faults": self.faults,
            "results": self.results,
            "errors": dict(sorted(self.errors.items())),
            "violations": [
                {"seed": outcome.seed, "violation": outcome.violation} for outcome in self.failed
            ],
            "seeds_per_s": round(seeds_per_s, 2),
        }


def simulate(
    nodes: Annotated[int, typer.Option(min=3, max=64, help="Nodes of the fleet.")] = 7,
    seeds: Annotated[int, typer.Option(min=1, help="Histories to play.")] = 20,
    first_seed: Annotated[int, typer.Option(help="The first seed; the others follow it.")] = 0,
    as_json: screen.Json = False,
) -> None:
    """Play histories of a simulated fleet under faults; a broken promise is told with its story.

    The thinking part of the nodes is the very one that runs on machines. Time, brokers, links and
    engines are simulated. Exit code 1 where a seed shows a broken promise.
    """
    # Late: the planner behind it takes a while to import, and other commands have no use for it.
    from edgeflow import sim

    started_s, summary = time.monotonic(), Summary(nodes=nodes)
    with _progress() as progress:
        task = progress.add_task("seeds", total=seeds)
        for seed in range(first_seed, first_seed + seeds):
            summary.add(sim.run_seed(seed, nodes))
            progress.advance(task)
    seeds_per_s = summary.seeds / max(time.monotonic() - started_s, 1e-9)
    for outcome in summary.failed[:1]:
        _tell(outcome)
    if as_json:
        screen.emit_json(summary.as_json(seeds_per_s))
    else:
        screen.out().print(_table(summary, seeds_per_s))
    if summary.failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen.err(),
        transient=True,
    )


def _tell(outcome: Outcome) -> None:
    """The end of a failing seed's story, to stderr."""
    for line in outcome.story[-STORY_LINES:]:
        screen.note(line)
    screen.note(f"seed {outcome.seed}, {outcome.nodes} nodes: {outcome.violation}")
    command = f"edgeflow simulate --nodes {outcome.nodes} --seeds 1 --first-seed {outcome.seed}"
    screen.note(f"again: {command}")


def _table(summary: Summary, seeds_per_s: float) -> Table:
    table = Table(show_header=False, box=None)
    errors = ", ".join(f"{count} {code}" for code, count in sorted(summary.errors.items()))
    for name, value in (
        ("seeds", f"{summary.seeds} of {summary.nodes} nodes, {seeds_per_s:.1f} a second"),
        ("simulated", f"{summary.sim_hours:.2f} hours, {summary.events} events"),
        ("faults", str(summary.faults)),
        ("results", str(summary.results)),
        ("errors", f"{errors}: each told to its submitter" if errors else "none"),
        ("broken promises", ", ".join(f"seed {each.seed}" for each in summary.failed) or "none"),
    ):
        table.add_row(name, value)
    return table
