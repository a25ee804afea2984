"""`edgeflow simulate`: many histories of a fleet under faults, each judged at every event.

Invariant: a failing seed is told with its script and its story, and gives the same story again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeflow.cli import campaign, screen
from edgeflow.cli.campaign import Notebook, Question
from edgeflow.errors import UsageError

if TYPE_CHECKING:
    from edgeflow.sim import Outcome

STORY_LINES = 60
"""Of a failing seed, so many last lines are shown."""
NODES = "Nodes of the fleet, 3 to 64; 0: fleets of 3 to 6."
FAULTS = (
    "What goes wrong: all, or some of processes, broker, links, disks, clocks, twins, users, load,"
    " protocol; or broker-loss, or switch, which may cost no frame and no error."
)


@dataclass(slots=True)
class Summary:
    """All seeds so far."""

    nodes: int
    groups: tuple[str, ...]
    seeds: int = 0
    played: int = 0
    """In this sitting."""
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

    @property
    def share_max(self) -> float:
        """At 95 %, no larger share of all seeds fails, where none of these did."""
        return 1 - 0.05 ** (1 / self.seeds) if self.seeds and not self.failed else 1.0

    def as_json(self, seeds_per_s: float) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "seeds": self.seeds,
            "nodes": self.nodes,
            "groups": list(self.groups),
            "sim_hours": round(self.sim_hours, 3),
            "events": self.events,
            "faults": self.faults,
            "results": self.results,
            "errors": dict(sorted(self.errors.items())),
            "violations": [
                {"seed": outcome.seed, "nodes": outcome.nodes, "violation": outcome.violation}
                for outcome in self.failed
            ],
            "failing_share_max": round(self.share_max, 6),
            "seeds_per_s": round(seeds_per_s, 2),
        }


def simulate(
    nodes: Annotated[int, typer.Option(min=0, max=64, help=NODES)] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Histories to play.")] = 20,
    first_seed: Annotated[int, typer.Option(help="The first seed; the others follow it.")] = 0,
    faults: Annotated[str, typer.Option(help=FAULTS)] = "all",
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes to play on.")] = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Keep outcomes in this file, and go on from there.")
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="Play this one script, as a failing seed prints it.")
    ] = None,
    as_json: screen.Json = False,
) -> None:
    """Play histories of a simulated fleet under faults; a broken promise is told with its story.

    The thinking part of the nodes is the very one that runs on machines. Time, brokers, links,
    disks, clocks and engines are simulated. Exit code 1 where a seed shows a broken promise.
    """
    # Late: the planner behind it takes a while to import, and other commands have no use for it.
    from edgeflow.sim.script import groups_of

    if nodes in (1, 2):
        raise UsageError("a fleet has at least 3 nodes: a device, an edge and a cloud")
    question = Question(nodes, groups_of(faults))
    summary, started_s = Summary(nodes, question.groups), time.monotonic()
    if script is not None:
        summary.add(_play_script(script, question))
        summary.played = 1
    else:
        wanted = range(first_seed, first_seed + seeds)
        for outcome in _watched(_outcomes(question, wanted, jobs, resume, summary), len(wanted)):
            summary.add(outcome)
    seeds_per_s = summary.played / max(time.monotonic() - started_s, 1e-9)
    for outcome in summary.failed[:1]:
        _tell(outcome, question, is_shrunk=script is not None)
    _print(summary, seeds_per_s, as_json=as_json)
    if summary.failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def _outcomes(
    question: Question, wanted: Iterable[int], jobs: int, path: Path | None, summary: Summary
) -> Iterator[Outcome]:
    """Of all wanted seeds: first those that the file knows."""
    if path is None:
        for outcome in campaign.play_all(question, wanted, jobs):
            summary.played += 1
            yield outcome
        return
    with Notebook(path, question) as notebook:
        yield from (notebook.known[seed] for seed in wanted if seed in notebook.known)
        missing = [seed for seed in wanted if seed not in notebook.known]
        for outcome in campaign.play_all(question, missing, jobs):
            notebook.add(outcome)
            summary.played += 1
            yield outcome


def _play_script(path: Path, question: Question) -> Outcome:
    from edgeflow import sim
    from edgeflow.sim.script import read

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    seed, nodes, faults = read(lines)
    return sim.run_seed(seed, nodes, question.groups, faults)


def _watched(outcomes: Iterable[Outcome], count: int) -> Iterator[Outcome]:
    """With a bar that grows."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen.err(),
        transient=True,
    ) as progress:
        task, failed = progress.add_task("seeds", total=count), 0
        for outcome in outcomes:
            failed += bool(outcome.violation)
            words = f"seeds, {failed} with broken promises" if failed else "seeds"
            progress.update(task, advance=1, description=words)
            yield outcome


def _tell(outcome: Outcome, question: Question, *, is_shrunk: bool) -> None:
    """A failing seed to stderr: its shortest script, the end of its story, how to see it again."""
    from edgeflow import sim
    from edgeflow.sim.script import written
    from edgeflow.sim.shrinking import shrunk

    drawn, note = outcome, screen.note
    if not is_shrunk and drawn.script:
        outcome = shrunk(
            drawn, lambda faults: sim.run_seed(drawn.seed, drawn.nodes, question.groups, faults)
        )
    _all(note, outcome.story[-STORY_LINES:])
    note(f"seed {outcome.seed}, {outcome.nodes} nodes: {outcome.violation}")
    option = f"--faults {_words(question.groups)}"
    note(
        f"again: edgeflow simulate --nodes {drawn.nodes} --seeds 1 --first-seed {drawn.seed}"
        f" {option}"
    )
    if len(outcome.script) < len(drawn.script):
        words = f"{len(outcome.script)} of its {len(drawn.script)} faults are enough"
        note(f"{words}; with these lines in FILE: edgeflow simulate --script FILE {option}")
    _all(note, written(outcome.seed, outcome.nodes, outcome.script))


def _words(groups: tuple[str, ...]) -> str:
    """As one writes them."""
    from edgeflow.sim.script import ALL

    return "all" if groups == ALL else ",".join(groups)


def _all(note: Callable[[str], None], lines: Iterable[str]) -> None:
    for line in lines:
        note(line)


def _print(summary: Summary, seeds_per_s: float, *, as_json: bool) -> None:
    if as_json:
        screen.emit_json(summary.as_json(seeds_per_s))
    else:
        screen.out().print(_table(summary, seeds_per_s))


def _table(summary: Summary, seeds_per_s: float) -> Table:
    table = Table(show_header=False, box=None)
    errors = ", ".join(f"{count} {code}" for code, count in sorted(summary.errors.items()))
    size = summary.nodes or "3 to 6"
    broken = ", ".join(f"seed {each.seed}" for each in summary.failed)
    none = f"none: at 95 % fewer than {summary.share_max:.3%} of all seeds show one"
    for name, value in (
        ("seeds", f"{summary.seeds} of {size} nodes, {seeds_per_s:.1f} a second"),
        ("simulated", f"{summary.sim_hours:.2f} hours, {summary.events} events"),
        ("faults", f"{summary.faults}: {_words(summary.groups)}"),
        ("results", str(summary.results)),
        ("errors", f"{errors}: each told to its submitter" if errors else "none"),
        ("broken promises", broken or none),
    ):
        table.add_row(name, value)
    return table
