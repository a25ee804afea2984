"""Which layers of a model can be tiled, as data and as tables for `edgeflow show --tiles`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from edgeflow.audit.trials import halo, largest, shared_out, size_of
from edgeflow.model import ops
from edgeflow.model.graph import Graph, Layer
from edgeflow.tiles.grid import even
from edgeflow.tiles.region import regions
from edgeflow.tiles.rules import why_not
from edgeflow.tiles.stretch import Stretch, stretches

_NAMES_MAX = 3
"""Tensors that one line of the table names."""


def tiling(graph: Graph) -> dict[str, Any]:
    """Stretches that can be tiled, and runs of layers that cannot, with the reason."""
    flops = {layer.name: ops.layer_flops(layer, graph) for layer in graph.layers}
    total = sum(flops.values())
    found = stretches(graph)
    rows = []
    for stretch in found:
        own = sum(flops[name] for name in stretch.layers)
        rows.append({**_stretch(graph, stretch), "flops": own, "share": own / total})
    return {"flops": total, "stretches": rows, "ends": list(_ends(graph, found))}


def _stretch(graph: Graph, stretch: Stretch) -> dict[str, Any]:
    return {
        "first": stretch.layers[0],
        "last": stretch.layers[-1],
        "layers": len(stretch.layers),
        "entering": [_map(graph, name) for name in stretch.inputs],
        "leaving": [_map(graph, name) for name in stretch.outputs],
        "halo_rows": _halo_rows(graph, stretch),
    }


def _map(graph: Graph, name: str) -> dict[str, Any]:
    rows, columns = size_of(graph, name)
    return {"name": name, "rows": rows, "columns": columns}


def _halo_rows(graph: Graph, stretch: Stretch) -> int | None:
    """Rows beyond its half of an entering map that the worse of two strips reads; None of one row.

    With several entering maps, those of the one where it is most.
    """
    size = largest(graph, stretch.outputs)
    strips = even(*size, 2, 1)
    if len(strips) < 2:
        return None
    inside = {op.name for name in stretch.layers for op in graph.layer(name).ops}
    widest = 0
    for strip, parts in shared_out(graph, stretch.outputs, strips):
        needed = regions(graph, stretch.layers, parts)
        taken = {name: rect for name, rect in needed.items() if name not in inside}
        widest = max(widest, halo(graph, taken, strip, size))
    return widest


def _ends(graph: Graph, found: Sequence[Stretch]) -> Iterator[dict[str, Any]]:
    """Runs of neighbouring layers that one reason keeps out of every stretch."""
    tiled = {name for stretch in found for name in stretch.layers}

    def reason(layer: Layer) -> str:
        return "" if layer.name in tiled else _reason(layer, graph)

    for why, run in groupby(graph.layers, reason):
        names = [layer.name for layer in run]
        if why:
            yield {"first": names[0], "last": names[-1], "layers": len(names), "why": why}


def _reason(layer: Layer, graph: Graph) -> str:
    for op in layer.ops:
        why = why_not(op, graph)
        if why:
            return f"{op.kind} {why}"
    return "one element a channel: nothing to divide"


def tiling_tables(found: dict[str, Any]) -> Iterator[Table]:
    """What `tiling` found, as tables."""
    table = Table("can be tiled", "layers", "takes", "makes", "MFLOP", "share", "halo", box=None)
    for at in (1, 4, 5, 6):
        table.columns[at].justify = "right"
    table.columns[0].no_wrap = True
    for row in found["stretches"]:
        rows = "" if row["halo_rows"] is None else f"{row['halo_rows']} rows"
        table.add_row(
            _span(row),
            str(row["layers"]),
            _maps(row["entering"]),
            _maps(row["leaving"]),
            f"{row['flops'] / 1e6:.2f}",
            f"{row['share']:.1%}",
            rows,
        )
    yield table
    ends = Table("cannot", "layers", "because", box=None)
    ends.columns[1].justify = "right"
    for row in found["ends"]:
        ends.add_row(_span(row), str(row["layers"]), row["why"])
    yield ends


def _span(row: dict[str, Any]) -> str:
    return row["first"] if row["layers"] == 1 else f"{row['first']}..{row['last']}"


def _maps(tensors: Sequence[dict[str, Any]]) -> str:
    told = [f"{each['name']} {each['rows']}x{each['columns']}" for each in tensors[:_NAMES_MAX]]
    more = len(tensors) - _NAMES_MAX
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")
