"""An onnxruntime session over a model whose weights lie outside of it.

Where it is to be timed, its first runs are profiled: which op takes which share of the time.
onnxruntime knows that only of what it made of the ops, whose names begin with ours; where it joined
several, the one that it was named after has it all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgeflow.errors import ModelError
from edgeflow.executors.onnx.model import OnnxModel
from edgeflow.model.graph import Array

_ENDINGS = ("_kernel_time", "_nchwc")


class Session:
    """Runs the model; ModelError where onnxruntime refuses it."""

    def __init__(self, model: OnnxModel, threads: int, *, profiled: bool = False) -> None:
        self.weights = {name: np.ascontiguousarray(a) for name, a in model.weights.items()}
        """Held as long as the session, which reads them where they lie."""
        self._folder: Path | None = None
        """Where the profile is written, until it is read."""
        self._seconds: dict[str, float] = {}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A thread that waits for work in a circle takes it from whoever shares the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in self.weights.values()]
        if values:
            options.add_external_initializers(list(self.weights), values)
        if profiled:
            self._folder = Path(tempfile.mkdtemp(prefix="edgeflow-onnx-"))
            options.enable_profiling = True
            options.profile_file_prefix = str(self._folder / "run")
        try:
            self._session = onnxruntime.InferenceSession(
                model.body, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common class but this
            self._forget()
            raise ModelError(f"onnxruntime refuses the layers: {error}"[:1000]) from None

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """These outputs; ModelError where onnxruntime fails."""
        try:
            made: list[Array] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:
            raise ModelError(f"onnxruntime fails: {error}"[:1000]) from None
        return made

    def shares(self, names: Collection[str]) -> dict[str, float]:
        """Which part of a run's time is each op's, as in the last run before this was first asked;
        empty where it is not profiled."""
        if self._folder is not None:
            self._read_profile()
        found: defaultdict[str, float] = defaultdict(float)
        for node, seconds in self._seconds.items():
            name = _op_of(node, names)
            if name is not None:
                found[name] += seconds
        whole = sum(found.values())
        return {name: seconds / whole for name, seconds in found.items()} if whole > 0 else {}

    def _read_profile(self) -> None:
        path = Path(self._session.end_profiling())
        try:
            self._seconds = _last_run(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            self._seconds = {}
        self._forget()

    def _forget(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None


def _last_run(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by node of the last run that is told of."""
    found = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            found[event["name"]] = event["dur"] / 1e6
    return found


def _op_of(node: str, names: Collection[str]) -> str | None:
    """The op that a node of onnxruntime's stands for; None for one that it put in between."""
    for ending in _ENDINGS:
        node = node.removesuffix(ending)
    if node in names:
        return node
    name = node.rpartition("/")[0]
    return name if name in names else None
