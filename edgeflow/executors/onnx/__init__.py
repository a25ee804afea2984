"""Layers of a Graph on onnxruntime.

    arrays ──decode, where a picture comes as a file──▶ session of a small ONNX model ──▶ arrays

onnxruntime joins ops across our layers and lays maps out in blocks of channels, as far as it sees.
What it sees ends at a cut, so the one joining that would change the order of a sum with what stands
around it is fenced off (`edgeflow.executors.onnx.model`).

Invariant: with one number of threads on one machine, layers give the same bits however cut.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime

from edgeflow import picture
from edgeflow.encoded import recipe_in
from edgeflow.errors import ModelError
from edgeflow.executors.onnx.model import write_model
from edgeflow.executors.onnx.session import Session
from edgeflow.model.graph import Array, Contract, Graph


class OnnxSegment:
    """Some layers of a Graph, ready to run.

    `arrays` holds at least the layers' weights; they are kept, not copied. `timed`: whether
    `timed` will be asked, which onnxruntime must know beforehand. ModelError where a weight is
    missing, or onnxruntime cannot run an op; it names the op.
    """

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[str],
        arrays: Mapping[str, Array],
        *,
        threads: int,
        outputs: Sequence[str] | None = None,
        timed: bool = False,
    ) -> None:
        self.inputs, leaving = graph.boundary(layers)
        self.outputs = leaving if outputs is None else tuple(outputs)
        self.engine = f"onnxruntime {onnxruntime.__version__} cpu, {threads} threads"
        self._contracts = {name: graph.tensors[name] for name in self.inputs}
        wanted = set(layers)
        own = [layer for layer in graph.layers if layer.name in wanted]
        ops = [op for layer in own for op in layer.ops]
        self._layer_of = {op.name: at for at, layer in enumerate(own) for op in layer.ops}
        self._pictures = [op for op in ops if op.kind == "decode"]
        rest = [op for op in ops if op.kind != "decode"]
        made = {op.name for op in rest}
        self._fed = dict.fromkeys(name for op in rest for name in op.inputs if name not in made)
        self._asked = [name for name in self.outputs if name in made]
        model = write_model(graph, rest, arrays, list(self._fed), self._asked)
        self._session = Session(model, threads, profiled=timed) if self._asked else None
        self._timed = timed

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors `outputs`; `inputs` may hold more than needed, and is not written to."""
        return self._run(inputs, [])

    def timed(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[float, ...]]:
        """The same, and the seconds of each layer: this run's, shared as in the first one that is
        timed; none where it was not built to be timed."""
        pictures_s: list[float] = []
        start_s = time.perf_counter()
        outputs = self._run(inputs, pictures_s)
        rest_s = time.perf_counter() - start_s - sum(pictures_s)
        seconds = [0.0] * (1 + max(self._layer_of.values()))
        for op, each in zip(self._pictures, pictures_s, strict=True):
            seconds[self._layer_of[op.name]] += each
        if self._session is not None:
            for name, share in self._session.shares(self._layer_of).items():
                seconds[self._layer_of[name]] += rest_s * share
        return outputs, tuple(seconds) if self._timed else ()

    def _run(self, inputs: Mapping[str, Array], pictures_s: list[float]) -> dict[str, Array]:
        held = {name: _given(inputs, contract) for name, contract in self._contracts.items()}
        for op in self._pictures:
            start_s = time.perf_counter()
            held[op.name] = picture.decode(held[op.inputs[0]], recipe_in(op.attrs))
            pictures_s.append(time.perf_counter() - start_s)
        if self._session is not None:
            made = self._session.run(self._asked, {name: held[name] for name in self._fed})
            held.update(zip(self._asked, made, strict=True))
        return {name: held[name] for name in self.outputs}


def _given(inputs: Mapping[str, Array], contract: Contract) -> Array:
    array = inputs.get(contract.name)
    if array is None:
        raise ModelError(f"input {contract.name} is missing")
    if not contract.admits(array.dtype.name, array.shape):
        raise ModelError(
            f"input {contract.name} is {array.dtype.name} {array.shape}, "
            f"the model takes {contract.dtype} {contract.shape}"
        )
    return np.ascontiguousarray(array).reshape(array.shape)
