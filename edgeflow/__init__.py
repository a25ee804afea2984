"""One neural network over all the machines at hand.

    graph = edgeflow.export(module, (example,), name="net")    needs torch
    graph = edgeflow.import_onnx("net.onnx")                   needs onnx
    edgeflow.save(graph, "net.safetensors");  graph = edgeflow.load("net.safetensors")
    edgeflow.run(graph, inputs, placement="conv1..pool2 @a | conv3..fc @b")
    edgeflow.verify(graph)
    with edgeflow.connect("mqtt://host", name="cam-1") as flow: ...

Names are imported when they are first used: `import edgeflow` alone is quick and needs no engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeflow.api import connect
    from edgeflow.audit import run, verify
    from edgeflow.exporter import export
    from edgeflow.importer import import_onnx
    from edgeflow.model.graph import Graph
    from edgeflow.modelfile import load, save

__all__ = ["Graph", "connect", "export", "import_onnx", "load", "run", "save", "verify"]

_HOMES = {
    "connect": "api",
    "Graph": "graph",
    "export": "exporter",
    "import_onnx": "importer",
    "load": "modelfile",
    "run": "audit",
    "save": "modelfile",
    "verify": "audit",
}
"""The module of each public name."""

_CURES = {
    "onnx": "pip install 'edgeflow-dnn[onnx]'",
    "torch": "pip install 'edgeflow-dnn[torch]'",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeflow' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"edgeflow.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        cure = _CURES.get(error.name or "")
        if cure is None:
            raise
        from edgeflow.errors import UsageError

        raise UsageError(f"edgeflow.{name} needs {error.name}: {cure}") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted([*globals(), *__all__])
