"""Segments on the engines of this machine: built, run and freed, in whatever process this is.

    Build ─▶ weights mapped from disk ─▶ the quickest engine (`edgeflow.io.trial`) ─▶ warm segment
    inputs ─▶ segment ─▶ outputs, and the seconds of it and of its layers

Emulation stretches compute, after the real work, so that results stay what they are.

A plan and its successor often have segments in common, and so have its variants: what computes the
same layers of the same model in the same tile is built once.

Invariant: a segment that is built anew on the engine named to it gives the bits that it gave.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgeflow import modelfile
from edgeflow.encoded import example
from edgeflow.errors import EdgeflowError, InputError, ModelError
from edgeflow.estimation.timings import is_timed
from edgeflow.events import SegmentBuilt, SegmentFailed, SegmentKey
from edgeflow.executors import on_device, version_of
from edgeflow.executors.piece import Piece, build_piece, reads_of
from edgeflow.io.compute.wire import Build, Place, Start
from edgeflow.io.probe import describe
from edgeflow.io.slowness import Work
from edgeflow.io.store import mapped
from edgeflow.io.trial import Choice, Memory, choose, key_of
from edgeflow.layout.parcel import Parcel, Placed
from edgeflow.messages import Rect
from edgeflow.model.graph import Array, Graph
from edgeflow.tiles.rect import columns, rows

TEXT_CHARS_MAX = 1500
"""Of an engine's complaint."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a segment made."""

    made: Parcel
    seconds: float
    """As slow as the node is told to be."""
    layers_s: tuple[float, ...] = ()
    """Of each layer; empty in a run that was not timed."""


@dataclass(frozen=True, slots=True)
class Built:
    """A warm segment."""

    computes: tuple[str, tuple[str, ...], Rect | None]
    """Model, layers, tile."""
    engine: str
    piece: Piece
    seconds: float
    """Of one run on zeros, as slow as the node is told to be."""


class Compute:
    """The segments that are built here. One thread builds and drops, another one runs."""

    def __init__(self, start: Start, device: str) -> None:
        """`device`: cpu or cuda."""
        self.threads, self.device = start.threads, device
        self.engines = on_device(start.engines, device)
        self.compares = start.compares and len(self.engines) > 1
        self.factor = start.factor
        self.memory = Memory(Path(start.memory))
        self.board = describe().board
        self.segments: dict[SegmentKey, Built] = {}
        self.runs: Counter[SegmentKey] = Counter()
        """Tells which of a segment's runs are timed layer by layer."""

    def build(self, order: Build, graph: Graph) -> tuple[SegmentBuilt, float]:
        """The event, and the seconds of one run on zeros.

        EdgeflowError, OSError, RuntimeError or MemoryError where no engine takes the segment.
        """
        alike = self._alike(order)
        if alike is not None:
            self.segments[order.key] = alike
            return SegmentBuilt(order.key, alike.engine), alike.seconds
        choice, zeros = self._chosen(graph, order)
        work = self._work()
        _, layers_s = choice.piece.timed([zeros])
        stretch = work.stretch()
        seconds = (time.perf_counter() - work.wall_s) * self.factor
        computes = order.model, order.layers, order.tile
        self.segments[order.key] = Built(computes, choice.engine, choice.piece, seconds)
        layers_s = tuple(each * stretch for each in layers_s)
        return SegmentBuilt(order.key, choice.engine, layers_s, choice.note), seconds

    def _alike(self, order: Build) -> Built | None:
        """One that computes the same, and is on the engine that is named, if one is."""
        computes = order.model, order.layers, order.tile
        alike = (
            each
            for each in tuple(self.segments.values())
            if each.computes == computes and order.engine in ("", each.engine)
        )
        return next(alike, None)

    def drop(self, key: SegmentKey) -> None:
        """Free a segment, if it was built."""
        self.segments.pop(key, None)
        self.runs.pop(key, None)

    def run(self, job: int, key: SegmentKey, inputs: Sequence[Parcel]) -> Run | SegmentFailed:
        """What the segment makes of what lies in these parcels, or why it does not."""
        built = self.segments.get(key)
        if built is None:
            return SegmentFailed(job, "the segment is not built here")
        segment = built.piece
        self.runs[key] += 1
        with_layers = is_timed(self.runs[key])
        work = self._work()
        try:
            made, layers_s = segment.timed(inputs) if with_layers else (segment.run(inputs), ())
        except InputError as error:
            return SegmentFailed(job, str(error), "malformed")
        except (EdgeflowError, RuntimeError, MemoryError, ValueError) as error:
            return SegmentFailed(job, f"{type(error).__name__}: {error}"[:TEXT_CHARS_MAX])
        stretch = work.stretch()
        seconds = work.sleep(stretch)
        return Run(made, seconds, tuple(each * stretch for each in layers_s))

    def _work(self) -> Work:
        return Work(self.factor, self.threads == 1 and self.device == "cpu")

    def _chosen(self, graph: Graph, order: Build) -> tuple[Choice, Parcel]:
        """The segment on the engine that it is told, or that is quickest, as remembered or tried
        now; and zeros."""
        arrays = {
            name: modelfile.array_of(bytes_at(at), graph.weights[name])
            for name, at in order.weights.items()
        }
        make = partial(
            build_piece,
            graph,
            order.layers,
            arrays,
            order.tile,
            threads=self.threads,
            device=self.device,
            timed=True,
        )
        reads = reads_of(graph, order.layers, order.tile)
        zeros = {name: Placed(_zeros(graph, name, at), at) for name, at in reads.items()}
        versions = [version_of(engine) for engine in self.engines]
        key = key_of(order.model, order.layers, order.tile, self.threads, self.board, *versions)
        known = order.engine or self.memory.get(key)
        ranked = sorted(self.engines, key=lambda engine: engine != known)
        compare = self.compares and known not in self.engines
        choice = choose(ranked, lambda engine: make(engine=engine), zeros, compare=compare)
        if choice.was_tried:
            self.memory.put(key, choice.engine)
        return choice, zeros


def bytes_at(place: Place) -> memoryview:
    """What lies there, which was verified by who says so; ModelError where it changed since, or is
    gone."""
    path = Path(place.path)
    try:
        if place.changed_ns and path.stat().st_mtime_ns != place.changed_ns:
            raise ModelError(f"{path} was changed: deploy it anew")
        return mapped(path, place.offset, place.nbytes)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from None


def _zeros(graph: Graph, name: str, rect: Rect | None) -> Array:
    """Zeros, or an encoded picture where the graph decodes one."""
    contract = graph.tensors[name]
    if contract.is_open:
        return example(graph, name)
    shape = [int(dim) for dim in contract.shape]
    if rect is not None:
        shape[2:] = rows(rect), columns(rect)
    return np.zeros(shape, dtype=contract.dtype)
