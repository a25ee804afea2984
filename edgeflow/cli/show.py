"""`edgeflow show`: what a model is made of, where it may be cut, and which layers can be tiled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from edgeflow import modelfile
from edgeflow.cli import screen
from edgeflow.model import manifest, ops
from edgeflow.model.graph import Contract, Graph, Layer
from edgeflow.views.showtiles import tiling, tiling_tables

SHOW_HELP = """Layers of a model: shapes, FLOPs, bytes, and where it may be cut: one tensor crosses.

  edgeflow show model.safetensors
  edgeflow show model.safetensors --tiles

With --tiles: which stretches of layers several nodes can compute together, each a rectangle of the
maps; what that costs at the seams; and which layers end a stretch, and why.
"""

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file of `edgeflow export`.")]

TABLE_WIDTH = 160
"""Names are never cut off: a narrow terminal wraps its lines."""


def show(
    model: Model,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Which layers can be tiled, and why others cannot.")
    ] = False,
    as_json: screen.Json = False,
) -> None:
    """What is in a model; see SHOW_HELP."""
    text, _ = modelfile.index(model)
    graph, digest = manifest.decode(text), manifest.digest(text)
    if tiles:
        _show_tiles(graph, digest, as_json)
    else:
        _show_layers(graph, digest, as_json)


def _show_tiles(graph: Graph, digest: str, as_json: bool) -> None:
    found = tiling(graph)
    if as_json:
        screen.emit_json({"name": graph.name, "model": digest, **found})
        return
    console = screen.out()
    console.width = max(console.width, TABLE_WIDTH)
    for table in tiling_tables(found):
        console.print(table)
    count, share = len(found["stretches"]), sum(each["share"] for each in found["stretches"])
    screen.say(
        f"{graph.name} {digest[:12]}: {count} stretch{'es' * (count != 1)} of layers can be tiled, "
        f"{share:.1%} of {found['flops'] / 1e9:.3f} GFLOP; halo: rows beyond its half that one of "
        "two strips reads"
    )


def _show_layers(graph: Graph, digest: str, as_json: bool) -> None:
    rows = [_row(graph, position, layer) for position, layer in enumerate(graph.layers)]
    if as_json:
        screen.emit_json({**summary(graph, digest), "layers": rows})
        return
    table = Table("", "layer", "ops", "output", "MFLOP", "weights kB", "output kB", box=None)
    for at, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "right" if at > 3 else "left"
    for contract in (graph.tensors[each.name] for each in graph.inputs):
        taken = f"{contract.dtype} {shape(contract.shape)}"
        table.add_row("", contract.name, "input", taken, "", "", f"{contract.nbytes / 1e3:.1f}")
    for row in rows:
        table.add_row(
            "✂" if row["cut_before"] else "",
            row["name"],
            " ".join(row["ops"]),
            f"{row['dtype']} {shape(row['shape'])}",
            f"{row['flops'] / 1e6:.2f}",
            f"{row['weights_bytes'] / 1e3:.1f}",
            f"{row['output_bytes'] / 1e3:.1f}",
        )
    console = screen.out()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)
    total = sum(row["flops"] for row in rows)
    screen.say(
        f"{graph.name} {digest[:12]}: {len(rows)} layers, {total / 1e9:.3f} GFLOP, "
        f"✂ {len(graph.cuts)} places where one tensor crosses before the layer"
    )


def summary(graph: Graph, digest: str) -> dict[str, Any]:
    """What a model is, for programs."""
    return {
        "name": graph.name,
        "model": digest,
        "opset": graph.opset,
        "inputs": [_tensor(contract) for contract in graph.inputs],
        "outputs": [_tensor(graph.tensors[name]) for name in graph.outputs],
        "weights_bytes": sum(weight.nbytes for weight in graph.weights.values()),
        "flops": sum(ops.layer_flops(layer, graph) for layer in graph.layers),
        "cuts": [
            {"before": graph.layers[at].name, "tensor": graph.crossing(at)[0]} for at in graph.cuts
        ],
        "recipe": dict(graph.recipe),
        "labels": len(graph.labels),
    }


def _tensor(contract: Contract) -> dict[str, Any]:
    return {"name": contract.name, "dtype": contract.dtype, "shape": list(contract.shape)}


def _row(graph: Graph, position: int, layer: Layer) -> dict[str, Any]:
    made = graph.tensors[layer.output]
    return {
        "name": layer.name,
        "ops": [op.kind for op in layer.ops],
        "inputs": list(layer.inputs),
        "output": layer.output,
        "dtype": made.dtype,
        "shape": list(made.shape),
        "flops": ops.layer_flops(layer, graph),
        "bytes": ops.layer_bytes(layer, graph),
        "class": ops.op_class(layer.ops[0], graph),
        "weights_bytes": sum(graph.weights[name].nbytes for name in graph.weights_of([layer.name])),
        "output_bytes": made.nbytes,
        "cut_before": position in graph.cuts,
    }


def shape(dims: Sequence[object]) -> str:
    """1x3x224x224"""
    return "x".join(map(str, dims))
