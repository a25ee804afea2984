"""An ONNX file becomes a Graph, without torch.

    file ──read──▶ nodes ──constants computed──▶ ──converters──▶ steps ──passes──▶ Graph, checked

Invariant: what the Graph computes is what ONNX says of the file, to rounding; what is not exactly
in the op set is named and refused. The file is data: nothing of it is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from edgeflow.draft.passes import Program, clean_up
from edgeflow.draft.steps import finish
from edgeflow.encoded import with_decode
from edgeflow.importer.declared import inputs_of
from edgeflow.importer.source import opset_of, read_model
from edgeflow.importer.walk import Walk
from edgeflow.model.check import check
from edgeflow.model.graph import Contract, Graph

__all__ = ["import_onnx"]


def import_onnx(
    path: str | PathLike[str],
    *,
    name: str | None = None,
    inputs: Iterable[Contract] | None = None,
    recipe: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    encoded: bool | int = False,
) -> Graph:
    """The model in an ONNX file as a Graph of fixed shapes, called after the file by default.

    `inputs` say sizes that the file leaves open, or others than it declares; one given as uint8
    where the file takes floats is cast. `encoded`: the recipe's picture comes as the bytes of a
    JPEG or PNG; a number says how many to expect. ModelError, with the node in it, where the file
    is damaged, its sizes stay open, or an op is outside the set; UsageError where there is none.
    """
    file = Path(fspath(path))
    model = read_model(file)
    declared = inputs_of(model.graph, inputs or ())
    walk = Walk(model.graph, opset_of(model), declared, trust_shapes=not inputs)
    with np.errstate(all="ignore"):  # what the file's numbers overflow to is the file's own affair
        outputs = walk.run()
        done = walk.named(clean_up(Program(walk.builder.steps, outputs)))
    title = file.stem if name is None else name
    graph = finish(title, walk.builder.inputs, done.steps, done.outputs, recipe, labels or ())
    check(graph)
    if encoded is False:
        return graph
    return with_decode(graph, None if encoded is True else encoded)
