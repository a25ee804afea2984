"""`edgeflow ledger FILE`: what a run proves, in a few lines, and over time.

records ─▶ figures ─▶ was the promise kept ─▶ exit code
       └─▶ rows of --per seconds, with what --events saw between them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from edgeflow.cli import screen
from edgeflow.cli.screen import Json
from edgeflow.io import ledgerfile
from edgeflow.ledger.judge import Bucket, Figures, buckets, judge
from edgeflow.ledger.records import AnyRecord, Event, Head, Submit

HELP = """Judge a ledger: what became of every frame that was submitted.

edgeflow infer --ledger FILE writes one. Exit code 6 where a frame was lost, answered twice,
answered wrongly, or answered without having been asked. An error is an outcome: it lowers the
success rate and breaks no promise. --events takes JSON lines with at_s (the machine's monotonic
clock) and sentence, and shows them among the rows of --per.

  edgeflow ledger run.ledger --per 5 --events faults.jsonl
"""
GAP_S = 1.0
"""A time without a good answer that a watcher of a screen would notice."""
BAR_SIGNS = 24
GAPS_SHOWN = 10
PLANS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds `ledger`."""
    app.command("ledger", help=HELP)(ledger)


def ledger(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What infer --ledger wrote.")],
    per: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="Also a row each SECONDS.")
    ] = None,
    gap_s: Annotated[
        float, typer.Option(min=0.0, help="Times without a good answer that are longer are listed.")
    ] = GAP_S,
    events: Annotated[
        Path | None, typer.Option(help="JSON lines with at_s and sentence, to lay beside it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """See HELP."""
    records = ledgerfile.read(file)
    figures = judge(records, gap_s)
    rows = buckets(records, per) if per else []
    seen = _after_first(ledgerfile.read_events(events) if events else [], records)
    if as_json:
        screen.emit_json(as_data(records, figures, gap_s) | _timeline_data(rows, seen))
    else:
        show(records, figures, gap_s)
        if rows or seen:
            screen.say("")
        for line in timeline(rows, seen):
            screen.out().print(line)
    leave_unless_kept(figures)


def leave_unless_kept(figures: Figures) -> None:
    """Exit code 6, and a line on stderr, where the promise is broken."""
    if not figures.kept:
        screen.note(f"the promise is broken: {broken(figures)}")
        raise typer.Exit(6)


def as_data(records: Sequence[AnyRecord], figures: Figures, gap_s: float) -> dict[str, Any]:
    """The object that `--json` prints."""
    data: dict[str, Any] = {"kept": figures.kept, **msgspec.to_builtins(figures), "gap_s": gap_s}
    heads = [record for record in records if isinstance(record, Head)]
    return data | {"head": msgspec.to_builtins(heads[0]) if heads else None}


def broken(figures: Figures) -> str:
    """How, in words; empty where it is kept."""
    told = (
        (figures.lost, "lost"),
        (figures.duplicated, "duplicated"),
        (figures.unknown, "unknown"),
        (figures.wrong or 0, "wrong"),
    )
    return ", ".join(f"{count} {what}" for count, what in told if count)


def show(records: Sequence[AnyRecord], figures: Figures, gap_s: float) -> None:
    """A line a question."""
    for title, answer in answers(records, figures, gap_s):
        screen.out().print(Text.assemble((f"{title:9}", "dim"), answer))


def answers(
    records: Sequence[AnyRecord], figures: Figures, gap_s: float
) -> Iterator[tuple[str, Text]]:
    """(question, answer)."""
    for record in records[:1]:
        if isinstance(record, Head):
            yield "run", Text(_run(record))
    verdict = "kept" if figures.kept else f"broken: {broken(figures)}"
    yield "promise", Text(verdict, style="green" if figures.kept else "bold red")
    yield "frames", Text(_frames(figures))
    errors = ", ".join(f"{count} {code}" for code, count in figures.errors.items())
    yield "errors", Text(errors or "none", style="red" if errors else "")
    yield "answers", Text(_answers(figures))
    if figures.latency_ms_p50 is not None:
        yield "latency", Text(_latency(figures))
    if figures.goodput_per_s is not None:
        rate = f"{figures.goodput_per_s:.1f} good answers a second over {figures.span_s:.1f} s"
        yield "goodput", Text(rate)
    yield "gaps", Text(_gaps(figures, gap_s))
    for at, (plan, use) in enumerate(list(figures.plans.items())[:PLANS_SHOWN]):
        when = f"{use.first_s:.1f} to {use.last_s:.1f} s"
        yield "" if at else "plans", Text(f"{plan}: {use.answers} answers, {when}")
    if len(figures.plans) > PLANS_SHOWN:
        yield "", Text(f"and {len(figures.plans) - PLANS_SHOWN} more")


def _run(head: Head) -> str:
    loop = f"{head.rate_fps:g} a second" if head.rate_fps else f"window {head.window_frames}"
    return f"{head.deployment} ({head.model_name}), {loop}, from {head.submitter}"


def _frames(figures: Figures) -> str:
    said = f"{figures.submitted} submitted, {figures.answered} answered, {figures.good} good"
    if figures.success_rate is not None:
        # Rounded down: one failure among a million is not 100 %.
        said += f" ({int(figures.success_rate * 1e4) / 100:g} %)"
    said += f", {figures.retried} took more than one attempt" if figures.retried else ""
    if not figures.ended:
        said += f"; no end: the submitter died or still runs, {figures.open} open"
    return said + ("; the last line is torn" if figures.torn else "")


def _answers(figures: Figures) -> str:
    said = "not judged (infer --check writes down what is right)"
    if figures.wrong is not None:
        said = f"{figures.wrong} wrong of {figures.judged} judged"
    if figures.inconsistent:
        said += f"; {figures.inconsistent} inputs got more than one answer"
    return said


def _latency(figures: Figures) -> str:
    names = ("p50", "p90", "p99", "max")
    return (
        ", ".join(f"{name} {getattr(figures, f'latency_ms_{name}'):.1f}" for name in names) + " ms"
    )


def _gaps(figures: Figures, gap_s: float) -> str:
    if figures.gap_s_max is None:
        return "nothing was submitted"
    said = f"longest time without a good answer {figures.gap_s_max:.2f} s"
    shown = figures.gaps[:GAPS_SHOWN]
    if shown:
        listed = ", ".join(f"{gap.long_s:.2f} s at {gap.after_s:.1f} s" for gap in shown)
        said += f"; {len(figures.gaps)} longer than {gap_s:g} s: {listed}"
    return said + (", …" if len(figures.gaps) > GAPS_SHOWN else "")


def timeline(rows: Sequence[Bucket], seen: Sequence[tuple[float, str]]) -> list[Text]:
    """Rows and events by time; the longest bar is the slowest row's p50."""
    top_ms = max((row.latency_ms_p50 or 0.0 for row in rows), default=0.0)
    marks = [(row.after_s, 1, _row(row, top_ms)) for row in rows]
    marks += [(at_s, 0, _event(at_s, sentence)) for at_s, sentence in seen]
    return [line for _, _, line in sorted(marks, key=lambda mark: mark[:2])]


def _row(row: Bucket, top_ms: float) -> Text:
    line = Text(f"{row.after_s:8.1f} s {row.submitted:5d} in ")
    line.append(f"{row.good:5d} good ", "red" if row.submitted and not row.good else "")
    line.append(f"{row.errors:4d} errors ", "red" if row.errors else "dim")
    if row.latency_ms_p50 is None or row.latency_ms_max is None:
        return line
    line.append(f" p50 {row.latency_ms_p50:8.1f}  max {row.latency_ms_max:8.1f} ms  ")
    return line.append(
        "█" * max(1, round(row.latency_ms_p50 / (top_ms or 1.0) * BAR_SIGNS)), "cyan"
    )


def _event(at_s: float, sentence: str) -> Text:
    return Text(f"{at_s:8.1f} s ▸ {sentence}", style="yellow")


def _after_first(events: Sequence[Event], records: Sequence[AnyRecord]) -> list[tuple[float, str]]:
    """(seconds after the first submit, sentence)."""
    first_s = min((record.at_s for record in records if isinstance(record, Submit)), default=0.0)
    return [(round(event.at_s - first_s, 3), event.sentence) for event in events]


def _timeline_data(rows: Sequence[Bucket], seen: Sequence[tuple[float, str]]) -> dict[str, Any]:
    return {
        "buckets": [msgspec.to_builtins(row) for row in rows],
        "events": [{"after_s": at_s, "sentence": sentence} for at_s, sentence in seen],
    }
