"""Engines: arrays in, arrays out. Each runs some layers of a Graph; none knows of nodes or wires.

    Graph + layers + arrays ──build──▶ Segment.run({tensor: array}) ──▶ {tensor: array}

Invariant: inputs are never written to; the same arrays in give the same bits out, at the same
number of threads, on the same machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Protocol

from edgeflow.errors import UsageError
from edgeflow.graph import Array, Graph


class Segment(Protocol):
    """Some layers of a Graph, built."""

    engine: str
    """In words: torch 2.13 cpu, 2 threads."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors `outputs`; ModelError where an input is missing or of another contract."""
        ...

    def timed(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[float, ...]]:
        """The same, and the seconds of each layer in the graph's order; empty if unknown."""
        ...


def engines() -> tuple[str, ...]:
    """Engines that this installation can load."""
    return ("torch",) if importlib.util.find_spec("torch") is not None else ()


def has_cuda() -> bool:
    """torch is here and sees a GPU."""
    if "torch" not in engines():
        return False
    import torch

    return torch.cuda.is_available()


def build(
    graph: Graph,
    layers: Sequence[str],
    arrays: Mapping[str, Array],
    *,
    threads: int,
    device: str = "cpu",
    outputs: Sequence[str] | None = None,
) -> Segment:
    """The layers on the first engine there is; UsageError, with the cure, where there is none."""
    if not engines():
        raise UsageError("no engine is installed; pip install 'edgeflow-dnn[torch]'")
    from edgeflow.executors.torch import TorchSegment

    return TorchSegment(graph, layers, arrays, threads=threads, device=device, outputs=outputs)
