"""What the planner answers, as rows for people: algorithms side by side, and other cuts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from rich.table import Table
from rich.text import Text

from edgeflow.planning import Proposal
from edgeflow.whatif.findings import Findings, backbone_bytes
from edgeflow.whatif.scene import unit_of


@dataclass(frozen=True, slots=True)
class Measure:
    """What an objective is about, for people."""

    title: str
    unit: str
    factor: float
    """From the planner's unit to that one."""

    @property
    def heading(self) -> str:
        """Over a column, or along an axis."""
        return f"{self.title}, {self.unit}"

    def told(self, worth: float) -> str:
        """A value with a digit behind the point where it is small; – where there is none."""
        if not math.isfinite(worth):
            return "–"
        value = worth * self.factor
        return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"

    def more(self, worth: float, planned: float) -> str:
        """Against the plan's."""
        return f"{worth / planned - 1:+.1%}" if planned else f"+{self.told(worth)} {self.unit}"


MEASURES = {
    "latency": Measure("latency", "ms", 1e3),
    "throughput": Measure("slowest stage", "ms", 1e3),
    "traffic": Measure("backbone", "kB", 1e-3),
}
LATENCY = MEASURES["latency"]
COLUMNS = ("algorithm", "latency, ms", "compute, ms", "transfer, ms", "way back", "backbone, kB")
RIGHT = ("latency, ms", "slowest stage, ms", "way back", "backbone, kB", "planning, ms")


def ms(seconds: float) -> str:
    """Milliseconds, or that it cannot be."""
    return LATENCY.told(seconds)


def columns(findings: Findings) -> tuple[str, ...]:
    """Titles of the table of algorithms."""
    is_slow = findings.asked.goal.objective == "throughput"
    extra = (MEASURES["throughput"].heading,) if is_slow else ()
    return (*COLUMNS, *extra, "proof", "planning, ms")


def rows(findings: Findings) -> Iterator[tuple[str, ...]]:
    """Every answer with a proposal, in the order of `columns`; a node or a link a line."""
    cluster, goal = findings.scene.cluster(), findings.asked.goal
    measure = MEASURES[goal.objective]
    for answer in findings.answers:
        if answer.proposal is None:
            continue
        terms = answer.proposal.terms
        transfer = [
            f"{a} → {b} {ms(seconds)} ({terms.bytes[a, b] / 1e3:.0f} kB)"
            for (a, b), seconds in terms.transfer_s.items()
        ]
        yield (
            answer.algorithm,
            ms(terms.total_s),
            "\n".join(f"{node} {ms(seconds)}" for node, seconds in terms.compute_s.items()),
            "\n".join(transfer) or "–",
            ms(terms.way_back_s) if terms.way_back_s else "–",
            f"{backbone_bytes(cluster, terms.bytes) / 1e3:.0f}",
            *([measure.told(answer.worth)] if goal.objective == "throughput" else []),
            _proof(answer.proposal, measure),
            f"{answer.planning_s * 1e3:.1f}",
        )


def _proof(found: Proposal, measure: Measure) -> str:
    if found.optimal:
        return "optimal"
    gap = f", +{found.gap:.0%}" if math.isfinite(found.gap) else ""
    return f"bound {measure.told(found.value_bound)}{gap}"


def answers_table(findings: Findings) -> Table:
    """One row an algorithm that has a proposal; the best ones bold."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in columns(findings):
        table.add_column(title, justify="right" if title in RIGHT else "left", no_wrap=True)
    told = [each for each in findings.answers if each.proposal]
    best = min(each.worth for each in told)
    for each, row in zip(told, rows(findings), strict=True):
        style = "bold" if each.worth <= best * (1 + 1e-9) else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table


def beside_columns(findings: Findings) -> tuple[str, ...]:
    """Titles of the table of other cuts."""
    goal = findings.asked.goal
    extra = (MEASURES[goal.objective].heading,) if goal.objective != "latency" else ()
    return ("instead", LATENCY.heading, *extra, "against the plan")


def beside_rows(findings: Findings) -> Iterator[tuple[str, ...]]:
    """What other cuts would cost."""
    objective = findings.asked.goal.objective
    measure = MEASURES[objective]
    for each in findings.beside:
        extra = (measure.told(each.worth),) if objective != "latency" else ()
        more = measure.more(each.worth, findings.best.worth)
        yield (each.what, ms(each.latency_s), *extra, more)


def beside_table(findings: Findings) -> Table:
    """The same for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in beside_columns(findings):
        table.add_column(title, justify="left" if title == "instead" else "right", no_wrap=True)
    for row in beside_rows(findings):
        table.add_row(*(Text(cell) for cell in row))
    return table


def stretches_table(findings: Findings) -> Table:
    """Where the best plan changes."""
    measure, found = MEASURES[findings.asked.goal.objective], findings.sweep
    assert found is not None
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in (unit_of(found.name), measure.heading):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("plan", overflow="fold")
    for each in found.stretches:
        table.add_row(
            f"{each.low:.4g} – {each.high:.4g}",
            f"{measure.told(each.low_worth)} → {measure.told(each.high_worth)}",
            Text(each.line or "no plan"),
        )
    return table


def nodes_of(line: str) -> str:
    """The nodes of a plan line: `cam-1 | edge-1+edge-2 | cloud-1`."""
    groups = (group.rpartition("@")[2].split() for group in line.split("|"))
    names = ("+".join(dict.fromkeys(word.split("[")[0] for word in words)) for words in groups)
    return " | ".join(name for name, _ in groupby(names)) if line else "no plan"
