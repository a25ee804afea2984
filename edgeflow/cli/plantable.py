"""What the planner answers, as rows for people: algorithms side by side, and other cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edgeflow.cost import Cluster
from edgeflow.scene import unit_of
from edgeflow.whatif import Answer, Neighbour, Sweep, backbone_bytes

COLUMNS = (
    "algorithm",
    "latency ms",
    "compute ms",
    "transfer ms",
    "way back",
    "backbone kB",
    "proof",
    "planning ms",
)
RIGHT = ("latency ms", "way back", "backbone kB", "planning ms")


def ms(seconds: float) -> str:
    """Milliseconds, or that it cannot be."""
    if not math.isfinite(seconds):
        return "–"
    return f"{seconds * 1e3:.0f}" if seconds >= 1 else f"{seconds * 1e3:.1f}"


def cells(answer: Answer, cluster: Cluster) -> tuple[str, ...]:
    """An answer with a proposal, in the order of COLUMNS; a node or a link a line."""
    found = answer.proposal
    assert found is not None
    terms = found.terms
    compute = [f"{node} {ms(seconds)}" for node, seconds in terms.compute_s.items()]
    transfer = [
        f"{a} → {b} {ms(seconds)} ({terms.bytes[a, b] / 1e3:.0f} kB)"
        for (a, b), seconds in terms.transfer_s.items()
    ]
    is_optimal = (
        "optimal" if found.optimal else f"bound {ms(found.lower_bound_s)}, +{found.gap:.0%}"
    )
    return (
        answer.algorithm,
        ms(found.predicted_s),
        "\n".join(compute),
        "\n".join(transfer) or "–",
        ms(terms.way_back_s) if terms.way_back_s else "–",
        f"{backbone_bytes(cluster, terms.bytes) / 1e3:.0f}",
        is_optimal,
        f"{answer.planning_s * 1e3:.1f}",
    )


def answers_table(answers: Sequence[Answer], cluster: Cluster) -> Table:
    """One row an algorithm that has a proposal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in COLUMNS:
        table.add_column(title, justify="right" if title in RIGHT else "left", no_wrap=True)
    told = [each for each in answers if each.proposal]
    for each in told:
        best = min(one.latency_s for one in told)
        style = "bold" if each.latency_s <= best * (1 + 1e-9) else ""
        table.add_row(*(Text(cell, style=style) for cell in cells(each, cluster)))
    return table


def beside_table(beside: Sequence[Neighbour], planned_s: float) -> Table:
    """What other cuts would cost."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("instead", no_wrap=True)
    for title in ("latency ms", "against the plan"):
        table.add_column(title, justify="right")
    for each in beside:
        more = f"{each.latency_s / planned_s - 1:+.1%}"
        table.add_row(Text(each.what), ms(each.latency_s), more)
    return table


def stretches_table(found: Sweep) -> Table:
    """Where the best plan changes."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in (unit_of(found.name), "latency ms"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    for each in found.stretches:
        table.add_row(
            f"{each.low:.4g} – {each.high:.4g}",
            f"{ms(each.low_s)} → {ms(each.high_s)}",
            Text(each.line or "no plan"),
        )
    return table


def nodes_of(line: str) -> str:
    """The nodes of a plan line: `cam-1 | cloud-1`."""
    names = [group.rpartition("@")[2].strip() for group in line.split("|")]
    return " | ".join(names) if line else "no plan"
