"""What a node runs for one segment of a plan: whole layers, or one tile of a fused run of them.

    parcels ──stitch what it reads──▶ arrays ──engine──▶ arrays ──say where they lie──▶ parcel

A tile is a Graph like any other (`edgeflow.tiles.cutout`), so that every engine runs it.

Invariant: an input is complete or an error; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edgeflow.executors import Segment, build
from edgeflow.layout.parcel import Parcel, Placed, take
from edgeflow.messages import Rect
from edgeflow.model.graph import Array, Graph
from edgeflow.tiles.cutout import Cutout, cut_out


@dataclass(frozen=True)
class Piece:
    """A built segment, and which parts of maps it reads and makes."""

    segment: Segment
    reads: Mapping[str, Rect | None]
    makes: Mapping[str, Rect | None]
    places: tuple[int, ...] = ()
    """Of a tile: for each layer that the engine times, its place among the segment's layers."""
    layers: int = 0

    @property
    def engine(self) -> str:
        """In words."""
        return self.segment.engine

    def run(self, parcels: Sequence[Parcel]) -> Parcel:
        """What the segment makes; ParcelError where something it reads is not all at hand."""
        return self._placed(self.segment.run(self._inputs(parcels)))

    def timed(self, parcels: Sequence[Parcel]) -> tuple[Parcel, tuple[float, ...]]:
        """The same, and the seconds of each of its layers; empty where the engine cannot tell."""
        made, seconds = self.segment.timed(self._inputs(parcels))
        if not self.places or not seconds:
            return self._placed(made), seconds
        sums = [0.0] * self.layers
        for place, each in zip(self.places, seconds, strict=True):
            sums[place] += each
        return self._placed(made), tuple(sums)

    def _inputs(self, parcels: Sequence[Parcel]) -> dict[str, Array]:
        return {name: take(parcels, name, rect) for name, rect in self.reads.items()}

    def _placed(self, made: Mapping[str, Array]) -> Parcel:
        return {name: Placed(made[name], rect) for name, rect in self.makes.items()}


def build_piece(
    graph: Graph,
    layers: Sequence[str],
    arrays: Mapping[str, Array],
    tile: Rect | None = None,
    *,
    threads: int,
    device: str = "cpu",
    outputs: Sequence[str] | None = None,
    engine: str = "auto",
    timed: bool = False,
) -> Piece:
    """The layers on an engine, or one tile of the one map that leaves them.

    `outputs`: of whole layers, what is wanted; None: all that leaves them. Errors as by `build`,
    and TileError where the layers cannot be tiled.
    """
    made = partial(build, threads=threads, device=device, engine=engine, timed=timed)
    if tile is None:
        whole = made(graph, layers, arrays, outputs=outputs)
        return Piece(whole, dict.fromkeys(whole.inputs), dict.fromkeys(whole.outputs))
    (output,) = graph.boundary(layers)[1]
    cutout = cut_out(graph, layers, {output: tile})
    names = [layer.name for layer in cutout.graph.layers]
    segment = made(cutout.graph, names, arrays, outputs=[output])
    return Piece(
        segment,
        {name: cutout.inputs[name] for name in segment.inputs},
        {output: tile},
        _places(cutout, layers, names),
        len(layers),
    )


def reads_of(
    graph: Graph, layers: Sequence[str], tile: Rect | None = None
) -> Mapping[str, Rect | None]:
    """Which part of each entering tensor a piece reads, without building it; TileError where the
    layers cannot be tiled."""
    entering, leaving = graph.boundary(layers)
    if tile is None:
        return dict.fromkeys(entering)
    return dict(cut_out(graph, layers, {leaving[0]: tile}).inputs)


def _places(cutout: Cutout, layers: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    place = {layer: at for at, layer in enumerate(layers)}
    return tuple(place[cutout.layer_of[name]] for name in names)
