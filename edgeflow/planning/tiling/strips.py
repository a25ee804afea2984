"""What strips of rows take, as tables: for each block of layers between two waists.

    rows [x, y) of what a block makes ──▶ rows [top[x], bottom[y]) of all that is in it, and enters

Tables of neighbouring blocks are looked up one after the other, so that all strips of all runs of
blocks are known at once, without asking the geometry again. Rows at the end of a map have tables of
their own: a pool that overhangs there may start at an earlier row.

Invariant: what the tables say is what `edgeflow.tiles.region` says of the run as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgeflow.costmodel.cost import Workload
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.skip import blocks
from edgeflow.planning.wiring import Wiring
from edgeflow.tiles.rect import area, whole
from edgeflow.tiles.region import TileError, regions
from edgeflow.tiles.stretch import why_no_tiles

POSITIONS_MAX = 96
"""Waists at which strips may begin or end; of more, every other one. Higher plans finer, slower."""

Columns = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Demand:
    """What strips of a block take."""

    lo: Indices
    """(…,) the first row of what enters."""
    hi: Indices
    shares: Floats
    """(tensors, …) of each map in the block; the first one is what enters."""
    columns: Columns
    """Of what enters."""


@dataclass(frozen=True)
class Block:
    """Layers between two waists, all of which can be made in strips."""

    graph: Graph
    layers: tuple[str, ...]
    output: str
    names: tuple[str, ...]
    """Its maps, what enters first."""
    ops: Indices
    """(ops,) their places in the workload."""
    made: Indices
    """(ops,) which map each makes."""
    moved: Floats
    """(ops, maps) bytes that each reads or writes of each map."""
    fixed: Floats
    """(ops,) bytes of all else: weights."""
    known: dict[Columns, tuple[Columns, Floats]] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(maps, 2) rows and columns."""
        found = [self.graph.tensors[name].shape[2:] for name in self.names]
        return np.array(found, dtype=np.int64)

    @property
    def whole(self) -> Rect:
        """All of what it makes."""
        found = whole(self.graph.tensors[self.output])
        assert found is not None
        return found

    @cached_property
    def tables(self) -> tuple[Indices, Indices, Indices]:
        """(maps, rows + 1) first rows, the same where a strip goes to the end, and last rows."""
        every = self.whole
        top = np.tile(self.sizes[:, :1], (1, every.bottom + 1))
        end, bottom = top.copy(), np.zeros_like(top)
        for row in range(every.bottom):
            one = self._regions(Rect(row, row + 1, 0, every.right))
            rest = self._regions(Rect(row, every.bottom, 0, every.right))
            top[:, row] = [one[name].top for name in self.names]
            end[:, row] = [rest[name].top for name in self.names]
            bottom[:, row + 1] = [one[name].bottom for name in self.names]
        # A window that lies in padding alone still takes one row: no strip may take less for it.
        return np.minimum.accumulate(top[:, ::-1], axis=1)[:, ::-1], end, bottom

    def _regions(self, rect: Rect) -> dict[str, Rect]:
        return regions(self.graph, self.layers, {self.output: rect})

    def across(self, columns: Columns) -> tuple[Columns, Floats]:
        """Of what enters, the columns taken for these of what is made; (maps,) shares of each."""
        if columns not in self.known:
            found = self._regions(Rect(0, self.whole.bottom, *columns))
            width = np.array([found[name].right - found[name].left for name in self.names])
            first = found[self.names[0]]
            self.known[columns] = (first.left, first.right), width / self.sizes[:, 1]
        return self.known[columns]

    def demand(self, lo: Indices, hi: Indices, columns: Columns) -> Demand:
        """Of strips [lo, hi) of what is made, any shape."""
        top, end, bottom = self.tables
        first = np.where(hi == self.whole.bottom, end[:, lo], top[:, lo])
        last = bottom[:, hi]
        entering, width = self.across(columns)
        scale = (width / self.sizes[:, 0]).reshape(-1, *([1] * lo.ndim))
        return Demand(first[0], last[0], (last - first) * scale, entering)


@dataclass(frozen=True)
class Strips:
    """A graph's blocks, and what crosses between them."""

    edges: Indices
    """(positions,) first layers of the blocks, and the number of layers."""
    blocks: tuple[Block | None, ...]
    """None: it cannot be made in strips."""
    rows: Indices
    """(positions,) of the map that crosses; 0 where no strips may begin or end."""
    columns: Indices
    element_bytes: Indices
    """(positions,) of all channels together."""
    leaves: NDArray[np.bool_]
    """(positions,) is what crosses an output of the model? Then no strip goes on past it."""

    @classmethod
    def of(cls, graph: Graph) -> Strips:
        """The tables of a graph, kept with it."""
        kept = graph.__dict__.get("_strips")
        if not isinstance(kept, cls):
            kept = graph.__dict__["_strips"] = _cut(graph)
        return kept

    @property
    def last(self) -> int:
        """The position behind all layers."""
        return len(self.blocks)


def _cut(graph: Graph) -> Strips:
    wiring = Wiring.of(graph)
    edges = _thinned(blocks(wiring))
    work = Workload.of(graph)
    waists = {*wiring.waists.tolist(), len(graph.layers)}
    found = [_block(graph, work, int(a), int(b), waists) for a, b in pairwise(edges)]
    names = [_crossing(graph, int(at)) for at in edges]
    maps = [whole(graph.tensors[name]) if name else None for name in names]
    bytes_ = [
        graph.tensors[name].nbytes // area(rect) if rect else 0
        for name, rect in zip(names, maps, strict=True)
    ]
    return Strips(
        edges=edges,
        blocks=tuple(found),
        rows=np.array([rect.bottom if rect else 0 for rect in maps], dtype=np.intp),
        columns=np.array([rect.right if rect else 0 for rect in maps], dtype=np.intp),
        element_bytes=np.array(bytes_, dtype=np.intp),
        leaves=np.array([name in graph.outputs for name in names], dtype=np.bool_),
    )


def _thinned(edges: Indices) -> Indices:
    """So few that all their pairs can be looked at."""
    while len(edges) > POSITIONS_MAX:
        edges = np.unique(np.append(edges[:-1:2], edges[-1]))
    return edges


def _crossing(graph: Graph, position: int) -> str:
    """The one tensor that crosses; empty where there are several."""
    if position == len(graph.layers):
        return graph.outputs[0] if len(graph.outputs) == 1 else ""
    found = graph.crossing(position)
    return found[0] if len(found) == 1 else ""


def _block(graph: Graph, work: Workload, start: int, stop: int, waists: set[int]) -> Block | None:
    """The layers from `start` on; None where they cannot be made in strips."""
    layers = graph.layers[start:stop]
    names = tuple(layer.name for layer in layers)
    entering, leaving = graph.boundary(names)
    if not {start, stop} <= waists or len(entering) != 1 or leaving != (layers[-1].output,):
        return None
    if whole(graph.tensors[entering[0]]) is None or any(why_no_tiles(at, graph) for at in layers):
        return None
    ops = [op for layer in layers for op in layer.ops]
    maps = (*entering, *(op.name for op in ops))
    place = {name: at for at, name in enumerate(maps)}
    try:
        known = regions(
            graph, names, {leaving[0]: whole(graph.tensors[leaving[0]]) or Rect(0, 1, 0, 1)}
        )
    except TileError:
        return None
    if set(known) != set(maps):
        return None
    moved = np.zeros((len(ops), len(maps)))
    for at, op in enumerate(ops):
        for name in (*op.inputs, op.name):
            moved[at, place[name]] += graph.tensors[name].nbytes
    first = sum(len(layer.ops) for layer in graph.layers[:start])
    places = np.arange(first, first + len(ops))
    return Block(
        graph=graph,
        layers=names,
        output=leaving[0],
        names=maps,
        ops=places,
        made=np.arange(1, len(maps)),
        moved=moved,
        fixed=work.moved_bytes[places] - moved.sum(axis=1),
    )
