"""Engines: arrays in, arrays out. Each runs some layers of a Graph; none knows of nodes or wires.

    Graph + layers + arrays ──build──▶ Segment.run({tensor: array}) ──▶ {tensor: array}

Invariant: inputs are never written to; the same arrays in give the same bits out, at the same
number of threads, on the same machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Protocol

from edgeflow.errors import UsageError
from edgeflow.model.graph import Array, Graph


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


Build = Callable[..., Segment]
"""`build`, told engine and threads before."""
ENGINES = ("torch", "onnx")
"""In the order in which they are taken where nobody measures."""
_LIBRARIES = {"torch": ("torch",), "onnx": ("onnx", "onnxruntime")}


def engines() -> tuple[str, ...]:
    """Engines that this installation can load."""
    found = importlib.util.find_spec
    return tuple(name for name in ENGINES if all(map(found, _LIBRARIES[name])))


def version_of(engine: str) -> str:
    """In words: `torch 2.13.0`; empty where it is not installed, and it is not loaded for this."""
    library = _LIBRARIES[engine][-1]
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return ""


def has_cuda() -> bool:
    """torch is here and sees a GPU."""
    if "torch" not in engines():
        return False
    import torch

    return torch.cuda.is_available()


def on_device(engines: Sequence[str], device: str) -> tuple[str, ...]:
    """Those of these engines that run on it: only torch runs on a GPU."""
    return tuple(each for each in engines if device == "cpu" or (device, each) == ("cuda", "torch"))


def chosen(engine: str) -> str:
    """The engine of that name, or for `auto` the first there is; UsageError, with the cure, where
    it is not installed."""
    installed = engines()
    if engine == "auto" and installed:
        return installed[0]
    if engine in installed:
        return engine
    if engine not in ("auto", *ENGINES):
        raise UsageError(f"engine = {engine!r} is none of auto, {', '.join(ENGINES)}")
    what = "no engine is" if engine == "auto" else f"the engine {engine} is not"
    extras = ENGINES if engine == "auto" else (engine,)
    cure = " or ".join(f"pip install 'edgeflow-dnn[{extra}]'" for extra in extras)
    raise UsageError(f"{what} installed: {cure}")


def build(
    graph: Graph,
    layers: Sequence[str],
    arrays: Mapping[str, Array],
    *,
    threads: int,
    device: str = "cpu",
    outputs: Sequence[str] | None = None,
    engine: str = "auto",
    timed: bool = False,
) -> Segment:
    """The layers on an engine; `timed`: it must be able to tell the seconds of layers.

    UsageError, with the cure, where the engine is not installed, ModelError where it cannot run the
    layers. Only torch runs on a GPU.
    """
    if chosen(engine) == "onnx":
        from edgeflow.executors.onnx import OnnxSegment

        return OnnxSegment(graph, layers, arrays, threads=threads, outputs=outputs, timed=timed)
    from edgeflow.executors.torch import TorchSegment

    return TorchSegment(graph, layers, arrays, threads=threads, device=device, outputs=outputs)
