"""What was compared, as Markdown for people and CSV for programs."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, fields

from edgeflow.bench.partitions import local
from edgeflow.bench.partitions.compare import (
    ALGORITHMS,
    HEURISTICS,
    Row,
    backbone_shares,
    spread,
)
from edgeflow.bench.partitions.scene import describe


def as_csv(rows: Sequence[Row]) -> str:
    """One line an algorithm, network and up-link."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def as_markdown(made: dict[str, str], rows: Sequence[Row], timed: Sequence[local.Row]) -> str:
    """The whole report; the picture stands beside it."""
    parts = [
        ["# Partitioning algorithms on real networks"],
        [", ".join(f"{key} {value}" for key, value in made.items())],
        describe(),
        ["![Latency against min-cut](planners.svg)"],
        ["## How far from the best", *summary(rows)],
        ["## Bytes over the backbone", *_backbone(rows)],
        ["## Planning", *_planning(rows)],
        ["## HPA's local re-evaluation", *local_lines(timed)],
    ]
    for place in dict.fromkeys((row.machines, row.uplink) for row in rows):
        mine = [row for row in rows if (row.machines, row.uplink) == place]
        parts.append([f"## {', '.join(place)}: predicted ms (ratio to mincut)", *_latencies(mine)])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def summary(rows: Sequence[Row]) -> list[str]:
    """How much slower than min-cut's plans the heuristics' are."""
    lines = _head("algorithm", "median", "quartiles", "worst", "worst on", "as good as mincut")
    for algorithm in HEURISTICS:
        found = spread(rows, algorithm)
        lines.append(
            f"| {algorithm} | {found.median:.3f} | {found.low:.3f} to {found.high:.3f} "
            f"| {found.worst.ratio:.3f} | {', '.join(found.worst.question)} "
            f"| {found.best_found} of {found.questions} |"
        )
    planned = [row for row in rows if row.algorithm == "mincut"]
    proven = sum(row.is_proven for row in planned)
    split = sum("|" in row.plan for row in planned)
    said = f"mincut: {proven} of {len(planned)} plans proven optimal; {split} of all split."
    return [*lines, "", said]


def local_lines(timed: Sequence[local.Row]) -> list[str]:
    """Of the re-evaluations."""
    lines = _head(
        "graph",
        "change",
        "median ms",
        "p99 ms",
        "worst ms",
        "decided at most",
        "moved",
        "scratch ms",
    )
    return lines + [
        f"| {row.shape}, {row.layers} layers | {row.change} | {row.median_ms:.3f} "
        f"| {row.high_ms:.3f} | {row.worst_ms:.3f} | {row.decisions_worst} | {row.moved} "
        f"| {row.scratch_ms:.2f} |"
        for row in timed
    ]


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def _backbone(rows: Sequence[Row]) -> list[str]:
    """Shares of what others send."""
    lines = _head("algorithm", "kB a frame, mean", "of cloud-only's", "of dads', where dads sends")
    for algorithm in ALGORITHMS:
        mine = [row.backbone_kb for row in rows if row.algorithm == algorithm]
        cells = [f"{statistics.mean(mine):.1f}"]
        for other in ("cloud-only", "dads"):
            shares = backbone_shares(rows, algorithm, other)
            said = f"{statistics.mean(shares):.1%}" if shares else "dads sends nothing"
            cells.append(f"{said} ({len(shares)} questions)")
        lines.append(f"| {algorithm} | {' | '.join(cells)} |")
    return lines


def _planning(rows: Sequence[Row]) -> list[str]:
    lines = _head("algorithm", "median ms", "worst ms", "worst on")
    for algorithm in ALGORITHMS:
        mine = [row for row in rows if row.algorithm == algorithm]
        worst = max(mine, key=lambda row: row.planning_ms)
        median = statistics.median(row.planning_ms for row in mine)
        lines.append(f"| {algorithm} | {median:.2f} | {worst.planning_ms:.2f} | {worst.network} |")
    return lines


def _latencies(rows: Sequence[Row]) -> list[str]:
    cells = {
        (row.network, row.algorithm): f"{row.predicted_ms:.1f} ({row.ratio:.2f})" for row in rows
    }
    networks = dict.fromkeys(network for network, _ in cells)
    lines = _head("network", *ALGORITHMS)
    for network in networks:
        line = " | ".join(cells[network, algorithm] for algorithm in ALGORITHMS)
        lines.append(f"| {network} | {line} |")
    return lines
