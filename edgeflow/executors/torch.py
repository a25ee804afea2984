"""Layers of a Graph on torch, op by op.

Every tensor is made contiguous, with exactly the strides of C order, before the next op sees it:
torch chooses kernels by strides, also by those of dimensions of 1, and a tensor from a wire has
only these. A tensor is freed after its last reader.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeflow.errors import ModelError
from edgeflow.executors.kernels import kernel
from edgeflow.model.graph import Array, Contract, Graph, Op

_VIEWS = frozenset(
    [
        "identity",
        "reshape",
        "expand",
        "permute",
        "slice",
        "cast",
        "channel_shuffle",
        "pixel_shuffle",
    ]
)
"""Kinds whose output may share memory with their input."""


def _silence_read_only_warning() -> None:
    """torch warns once a process that a read-only array could be written to; we never do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(np.frombuffer(b"\0", dtype=np.uint8))


_silence_read_only_warning()


@dataclass(frozen=True, slots=True)
class _Step:
    call: Callable[..., Tensor]
    sources: tuple[int, ...]
    target: int
    strides: tuple[int, ...]
    dead: tuple[int, ...]
    """Slots that nobody reads after this step."""
    layer: int
    """Which layer of the segment it belongs to, from 0."""


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of C order in elements, also where a dimension is 1."""
    strides, step = [], 1
    for dim in reversed(shape):
        strides.append(step)
        step *= dim
    return tuple(reversed(strides))


def _straight(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The tensor with these strides, of C order."""
    tensor = tensor.contiguous()
    return tensor if tensor.stride() == strides else tensor.as_strided(tensor.shape, strides)


class TorchSegment:
    """Some layers of a Graph, ready to run.

    `arrays` holds at least the layers' weights; they are copied. ModelError where one is missing.
    """

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[str],
        arrays: Mapping[str, Array],
        *,
        threads: int,
        device: str = "cpu",
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.inputs, leaving = graph.boundary(layers)
        self.outputs = leaving if outputs is None else tuple(outputs)
        self.threads = threads
        self.device = torch.device(device)
        self.engine = f"torch {torch.__version__.split('+')[0]} {device}, {threads} threads"
        self._contracts = [graph.tensors[name] for name in self.inputs]
        wanted = set(layers)
        own = [layer for layer in graph.layers if layer.name in wanted]
        chosen = [op for layer in own for op in layer.ops]
        self._layer_of = {op.name: at for at, layer in enumerate(own) for op in layer.ops}
        self._slots = {name: slot for slot, name in enumerate(self.inputs)}
        for op in chosen:
            self._slots[op.name] = len(self._slots)
        weights = {name: self._weight(arrays, name) for name in graph.weights_of(layers)}
        self._steps = self._plan(graph, chosen, weights)

    def _weight(self, arrays: Mapping[str, Array], name: str) -> Tensor:
        if name not in arrays:
            raise ModelError(f"weight {name} is not at hand")
        array = np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape)
        return torch.from_numpy(array).clone(memory_format=torch.contiguous_format).to(self.device)

    def _plan(
        self, graph: Graph, ops: Sequence[Op], weights: Mapping[str, Tensor]
    ) -> tuple[_Step, ...]:
        last = {source: index for index, op in enumerate(ops) for source in op.inputs}
        last.update((name, len(ops)) for name in self.outputs)
        memory = {name: [name] for name in self.inputs}
        steps = []
        for index, op in enumerate(ops):
            scratch = self._is_scratch(op, memory[op.inputs[0]], last, index)
            if scratch or op.kind in _VIEWS:
                memory[op.name] = memory[op.inputs[0]]
            memory.setdefault(op.name, []).append(op.name)
            dead = [name for name in dict.fromkeys(op.inputs) if last[name] == index]
            roles = {role: weights[name] for role, name in op.weights.items()}
            steps.append(
                _Step(
                    call=kernel(op, roles, scratch),
                    sources=tuple(self._slots[name] for name in op.inputs),
                    target=self._slots[op.name],
                    strides=strides_of([int(dim) for dim in op.output.shape]),
                    dead=tuple(self._slots[name] for name in dead),
                    layer=self._layer_of[op.name],
                )
            )
        return tuple(steps)

    def _is_scratch(
        self, op: Op, sharers: Sequence[str], last: Mapping[str, int], index: int
    ) -> bool:
        """May `op` write over its input? Only ours, and where nobody reads that memory later."""
        ours = not any(name in self.inputs for name in sharers)
        return ours and len(op.inputs) == 1 and all(last[name] <= index for name in sharers)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors `outputs`; `inputs` may hold more than needed, and is not written to."""
        return self._run(inputs, None)

    def timed(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[float, ...]]:
        """The same, and the seconds of each layer; on a GPU, which runs behind, none."""
        if self.device.type != "cpu":
            return self._run(inputs, None), ()
        marks = [time.perf_counter()]
        outputs = self._run(inputs, marks)
        seconds = [0.0] * (1 + max(self._layer_of.values()))
        for step, start_s, end_s in zip(self._steps, marks, marks[1:], strict=False):
            seconds[step.layer] += end_s - start_s
        return outputs, tuple(seconds)

    def _run(self, inputs: Mapping[str, Array], marks: list[float] | None) -> dict[str, Array]:
        """`marks` gets the time after each step."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        slots: list[Tensor | None] = [None] * len(self._slots)
        with torch.inference_mode():
            for slot, contract in enumerate(self._contracts):
                slots[slot] = self._tensor(inputs, contract)
            for step in self._steps:
                out = step.call(*[slots[source] for source in step.sources])
                if out.stride() != step.strides:
                    out = _straight(out, step.strides)
                slots[step.target] = out
                for slot in step.dead:
                    slots[slot] = None
                if marks is not None:
                    marks.append(time.perf_counter())
            return {name: self._array(slots[self._slots[name]]) for name in self.outputs}

    def _tensor(self, inputs: Mapping[str, Array], contract: Contract) -> Tensor:
        array = inputs.get(contract.name)
        if array is None:
            raise ModelError(f"input {contract.name} is missing")
        if not contract.admits(array.dtype.name, array.shape):
            raise ModelError(
                f"input {contract.name} is {array.dtype.name} {array.shape}, "
                f"the model takes {contract.dtype} {contract.shape}"
            )
        tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        return _straight(tensor, strides_of(array.shape)).to(self.device)

    @staticmethod
    def _array(tensor: Tensor | None) -> Array:
        assert tensor is not None
        array: Array = tensor.cpu().numpy()
        return array
