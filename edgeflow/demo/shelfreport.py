"""The second act in figures: a table and a sentence, and every figure for --json."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from edgeflow.api import InferResult
from edgeflow.demo.lap import Lap
from edgeflow.demo.shelf import Shelf
from edgeflow.demo.show import Show
from edgeflow.demo.tally import Tally
from edgeflow.views.tilefacts import percent

TITLES = ("p50 ms", "p99 ms", "predicted", "sooner", "recomputed", "kB/frame", "errors")


def speedups(runs: Mapping[str, Lap]) -> dict[str, float]:
    """How many times sooner than the first run each answers, by medians; 0 where one has none."""
    first = next(iter(runs.values())).p50_ms
    return {name: first / lap.p50_ms if lap.p50_ms else 0.0 for name, lap in runs.items()}


def verdict(runs: Mapping[str, Lap], killed: str) -> str:
    """In a sentence."""
    names, found = list(runs), speedups(runs)
    one, four, three = (runs[name].p50_ms for name in names)
    if not (one and four and three):
        return "No verdict: not every run was answered."
    if found[names[1]] <= 1:
        return f"Do not share: one box takes {one:.0f} ms here, four together {four:.0f} ms."
    return (
        f"Four boxes answer {found[names[1]]:.1f} times sooner than one: {four:.0f} instead of "
        f"{one:.0f} ms; without {killed} it is {found[names[2]]:.1f} times, {three:.0f} ms."
    )


def print_laps(show: Show, runs: Mapping[str, Lap], killed: str) -> None:
    """The table, what each box did, and the verdict."""
    show.phase("the same photographs, one frame at a time")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True)
    for title in TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    found = speedups(runs)
    for name, lap in runs.items():
        figures = lap.report()
        table.add_row(
            name,
            f"{figures['p50_ms']:.0f}",
            f"{figures['p99_ms']:.0f}",
            f"{figures['predicted_ms']:.0f}",
            f"{found[name]:.1f}×",
            percent(figures["recomputed_share"]),
            f"{figures['sent_bytes_per_frame'] / 1e3:.0f}",
            str(lap.errors),
        )
    show.console.print(table)
    for name, lap in runs.items():
        told = [
            f"{node} {_ms(each['measured_ms'])} (predicted {_ms(each['predicted_ms'])})"
            for node, each in lap.report()["workers"].items()
        ]
        if told:
            show.phase(f"{name}, ms a frame in tiles: {', '.join(told)}")
    show.phase(verdict(runs, killed))


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def report(
    tally: Tally,
    runs: Mapping[str, Lap],
    killed: str,
    frame: InferResult | None,
    passage_s: Sequence[float],
    shelf: Shelf,
) -> dict[str, Any]:
    """Every figure of this run, under the names of --json."""
    return {
        "frames": tally.submitted,
        "results": tally.results,
        "errors": tally.errors,
        "lost": tally.lost,
        "duplicates": tally.duplicates,
        "mismatches": tally.mismatches,
        "inexact": tally.inexact,
        "labels_right": tally.labels_right,
        "labels_judged": tally.judged,
        "retried": tally.retried,
        "runs": {name: lap.report() for name, lap in runs.items()},
        "speedup": {name: round(times, 3) for name, times in speedups(runs).items()},
        "killed": killed,
        "killed_frame_ms": round(frame.latency_s * 1e3, 1) if frame else None,
        "killed_frame_attempts": frame.attempts if frame else None,
        "frames_until_new_plan": len(passage_s),
        "verdict": verdict(runs, killed),
        "error_texts": tally.error_texts[:5],
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "emulated": shelf.describe(),
    }
