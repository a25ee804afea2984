"""Many frames out of one command: `edgeflow infer` as the load of a run.

pictures ─▶ [what the undivided model says] ─▶ Driver ─▶ records ─▶ figures
                                                 ▲
                        the first Ctrl-C or SIGTERM: no more frames, wait for the rest
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from edgeflow import audit
from edgeflow.api import Flow
from edgeflow.cli import ledger as verdict
from edgeflow.cli import screen
from edgeflow.client.driver import Driver
from edgeflow.errors import ModelError, UsageError
from edgeflow.io.ledgerfile import LedgerFile, digest
from edgeflow.ledger.judge import judge
from edgeflow.ledger.records import Line, Outcome, Submit
from edgeflow.model import manifest
from edgeflow.model.graph import Array, Graph


@dataclass(frozen=True, slots=True)
class Load:
    """What the options say about many frames."""

    frames: int | None
    seconds: float | None
    rate_fps: float | None
    window_frames: int | None
    ledger: Path | None
    check: bool
    threads: int
    engine: str
    deadline_s: float | None

    @property
    def is_wanted(self) -> bool:
        """More than an answer a picture."""
        return self.check or any(
            each is not None for each in (self.frames, self.seconds, self.rate_fps, self.ledger)
        )


def need_sense(load: Load, model: Path | None) -> None:
    """UsageError for options that do not go together, before anything is started."""
    if load.rate_fps is not None and load.window_frames is not None:
        raise UsageError("--rate is an open loop, --window a closed one: give one of the two")
    if load.rate_fps == 0:
        raise UsageError("--rate 0 hands nothing in: give a rate above 0")
    if load.check and model is None:
        raise UsageError("--check needs the model file: give it by --model")


def drive(
    flow: Flow,
    deployment: str,
    graph: Graph,
    inputs: Mapping[str, Mapping[str, Array]],
    load: Load,
    as_json: bool,
) -> None:
    """Hand frames in, then show the figures; exit code 6 where the promise is broken."""
    expected = rights(flow, deployment, graph, inputs, load) if load.check else {}
    records: list[Line] = []
    with LedgerFile(load.ledger) if load.ledger else nullcontext() as file:
        driver = Driver(flow, deployment, inputs, file, expected, load.deadline_s)
        with stopped_by_signals(driver.stop), progress_of(load, len(inputs)) as show:

            def heard(record: Line) -> None:
                records.append(record)
                show(record)

            driver.on_record = heard
            driver.run(
                frames=load.frames,
                seconds=load.seconds,
                rate_fps=load.rate_fps,
                window_frames=load.window_frames,
            )
    figures = judge(records)
    if as_json:
        where = {"ledger": str(load.ledger) if load.ledger else None}
        screen.emit_json(verdict.as_data(records, figures, verdict.GAP_S) | where)
    else:
        verdict.show(records, figures, verdict.GAP_S)
    verdict.leave_unless_kept(figures)


def rights(
    flow: Flow,
    deployment: str,
    graph: Graph,
    inputs: Mapping[str, Mapping[str, Array]],
    load: Load,
) -> dict[str, str]:
    """Input -> sha256 of what the undivided model answers; ModelError where it is another model."""
    wanted = flow.ask(lambda core: core.parts.deployments.views[deployment].spec.model)
    if manifest.digest(manifest.encode(graph)) != wanted:
        raise ModelError(f"--model is not the model that {deployment} runs, so it proves nothing")
    screen.note(f"asking the undivided model about {len(inputs)} pictures first")
    answer = partial(audit.run, graph, threads=load.threads, engine=load.engine)
    return {key: digest(answer(each)) for key, each in inputs.items()}


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops the load, the second one ends the command at once."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def leave(_number: int, _frame: object) -> None:
        stop()
        for number in numbers:
            signal.signal(number, signal.default_int_handler)

    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@contextmanager
def progress_of(load: Load, pictures: int) -> Iterator[Callable[[Line], None]]:
    """A bar on a terminal; hears every record."""
    console = screen.err()
    total = load.seconds or load.frames or pictures
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("frames", total=total if math.isfinite(total) else None)
        counts, first_s = Counter[str](), 0.0

        def hear(record: Line) -> None:
            nonlocal first_s
            if not isinstance(record, Submit | Outcome):
                return
            first_s = first_s or record.at_s
            what = "in" if isinstance(record, Submit) else "error" if record.code else "good"
            counts[what] += 1
            said = f"{counts['in']} in, {counts['good']} good, {counts['error']} errors"
            answered = counts["good"] + counts["error"]
            done = record.at_s - first_s if load.seconds else answered
            bar.update(task, completed=done, description=said)

        yield hear
