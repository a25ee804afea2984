"""Tiles against the whole: divide what leaves a segment, compute each rectangle, compare.

    whole run ─▶ entering tensors ─▶ [slice ─▶ tile] [slice ─▶ tile] … ─▶ stitch ─▶ the same map?

With integers (`edgeflow.audit.integers`) every bit must be equal; with the model's own weights,
what the rounding of an engine may do is let through, and no more.

Invariant: what is compared was stitched from tiles that hold each element of it exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeflow.audit import Progress, example_inputs, integers
from edgeflow.audit.difference import CLOSE, difference
from edgeflow.audit.trials import (
    LONGER,
    Layout,
    Section,
    halo,
    largest,
    parse_grids,
    sections,
    shared_out,
)
from edgeflow.errors import EdgeflowError, ModelError
from edgeflow.executors import Build, build
from edgeflow.messages import Rect
from edgeflow.model.graph import Array, Graph
from edgeflow.model.ops import layer_flops
from edgeflow.tiles.cutout import Cutout, cut_out
from edgeflow.tiles.rect import uncovered, whole
from edgeflow.tiles.region import TileError
from edgeflow.tiles.stretch import stretches

FAILURES_MAX = 100
"""How many are told; all are counted."""


@dataclass(slots=True)
class GridReport:
    """What one grid gave over all segments."""

    grid: str
    runs: int = 0
    """Segments laid out in it; in `uneven`, each twice."""
    tiles: int = 0
    tiles_wanted: int = 0
    """More than there are where a map has fewer rows or columns than the grid."""
    elements: int = 0
    """Of all stitched maps."""
    mismatches: int = 0
    """Elements that differ in any bit."""
    max_abs_diff: float = 0.0
    max_rel_diff: float = 0.0
    max_ulp: int = 0
    flops: float = 0.0
    """Of all segments, whole; with integers, those of their stand-ins."""
    tiles_flops: float = 0.0
    recomputed_max: float = 0.0
    """FLOPs of the tiles over those of the segment, less 1, where it is worst."""
    halo_max: int = 0
    """Rows or columns that a tile reads beyond its own part of an entering map, at one side."""

    @property
    def recomputed(self) -> float:
        """FLOPs of all tiles over those of all segments, less 1."""
        return self.tiles_flops / self.flops - 1 if self.flops else 0.0


@dataclass(slots=True)
class Report:
    """What all grids gave."""

    judged: str
    """How equality is judged, in words."""
    stretches: int
    segments: int
    grids: list[GridReport]
    stand_ins: dict[str, str]
    """With integers: what stands in for kinds of ops that make fractions."""
    float64: int = 0
    """Segments that were reckoned in float64, since float32 would round their sums."""
    flat: int = 0
    """Segments in which no channel varies over the map: they prove little."""
    skipped: tuple[str, ...] = ()
    """Segments that no integers keep exact, each with the reason."""
    failed: int = 0
    failures: tuple[str, ...] = ()

    def fail(self, text: str) -> None:
        """One more; told while there is room."""
        self.failed += 1
        self.failures = (*self.failures, text)[:FAILURES_MAX]


@dataclass(frozen=True, slots=True)
class Subject:
    """A segment, with all that enters and leaves it where it is run whole."""

    section: Section
    graph: Graph
    tensors: Mapping[str, Array]
    dtype: str = ""
    """What integers are held in; empty where the model runs as it is."""

    @property
    def flops(self) -> float:
        """Of one whole run."""
        layers = map(self.graph.layer, self.section.layers)
        return sum(layer_flops(layer, self.graph) for layer in layers)


def check(
    graph: Graph,
    grids: str,
    *,
    longer: str | int = LONGER,
    exact: bool = False,
    threads: int = 1,
    engine: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Every tileable segment in these grids, `2x1,3x3,uneven`, against its whole maps.

    `exact`: on integers. UsageError for a text that is no grid, ModelError where nothing can be
    tiled. What differs is in the report.
    """
    layouts = parse_grids(grids)
    found = sections(graph, longer)
    if not found:
        raise ModelError(f"no layers of {graph.name} can be tiled: see `edgeflow show --tiles`")
    report = _empty(graph, found, layouts, exact)
    make = partial(build, threads=threads, engine=engine)
    tensors = {} if exact else whole_run(graph, found, make, seed)
    for at, section in enumerate(found):
        try:
            subject = on_integers(graph, section, make, seed + at) if exact else None
        except ModelError as error:
            report.skipped = (*report.skipped, str(error))
            continue
        _all_grids(subject or Subject(section, graph, tensors), report, layouts, make, seed + at)
        if progress is not None:
            progress(at + 1, len(found))
    if len(report.skipped) == len(found):
        raise ModelError(f"nothing was checked: {report.skipped[0]}")
    return report


def _empty(graph: Graph, found: Sequence[Section], layouts: Iterable[str], exact: bool) -> Report:
    layers = dict.fromkeys(name for section in found for name in section.layers)
    return Report(
        judged=(
            "has every bit of the whole, on integers whose sums are exact"
            if exact
            else f"is off by at most {CLOSE:g} of the largest element of its map"
        ),
        stretches=len(stretches(graph)),
        segments=len(found),
        grids=[GridReport(name) for name in layouts],
        stand_ins=integers.stood_in(graph, layers) if exact else {},
    )


def whole_run(graph: Graph, found: Sequence[Section], make: Build, seed: int) -> dict[str, Array]:
    """All tensors that enter or leave these sections, out of one run on random inputs."""
    tensors = example_inputs(graph, seed)
    last = {name for section in found for name in section.layers}
    stop = max(at for at, layer in enumerate(graph.layers) if layer.name in last) + 1
    layers = [layer.name for layer in graph.layers[:stop]]
    wanted = dict.fromkeys(name for each in found for name in (*each.entering, *each.leaving))
    made = tuple(name for name in wanted if name not in tensors)
    tensors.update(make(graph, layers, graph.arrays, outputs=made).run(tensors))
    return tensors


def on_integers(graph: Graph, section: Section, make: Build, seed: int) -> Subject:
    """A section run whole on integers; ModelError where none are exact."""
    twin = integers.twin(graph, section.layers, seed)
    section = Section(section.layers, *twin.graph.boundary(section.layers))
    whole_run = make(twin.graph, section.layers, twin.graph.arrays, outputs=section.leaving)
    tensors = {**twin.inputs, **whole_run.run(twin.inputs)}
    return Subject(section, twin.graph, tensors, twin.dtype)


def _all_grids(
    subject: Subject,
    report: Report,
    layouts: Mapping[str, Sequence[Layout]],
    make: Build,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    report.float64 += subject.dtype == "float64"
    report.flat += all(_is_flat(subject.tensors[name]) for name in subject.section.leaving)
    size = largest(subject.graph, subject.section.leaving)
    for grid, layout in zip(report.grids, layouts.values(), strict=True):
        for lay_out in layout:
            wanted, tiles = lay_out(size, random)
            grid.tiles_wanted += wanted
            try:
                for text in in_tiles(subject, tiles, grid, make):
                    report.fail(f"{subject.section} in {grid.grid}: {text}")
            except (EdgeflowError, RuntimeError, ValueError) as error:
                # A wrong geometry may ask an engine for what it cannot do.
                report.fail(f"{subject.section} in {grid.grid}: {type(error).__name__}: {error}")


def _is_flat(array: Array) -> bool:
    """Has every channel one value all over a map of more than one element?"""
    flat = array.reshape(*array.shape[:2], -1)
    return flat.shape[2] > 1 and bool((flat == flat[:, :, :1]).all())


def in_tiles(subject: Subject, tiles: Sequence[Rect], grid: GridReport, make: Build) -> list[str]:
    """Makes the segment in tiles of its largest leaving map, and judges what was stitched.

    What it gave is added to `grid`; how it differs beyond what is let through comes back in words.
    """
    section, whole_graph = subject.section, subject.graph
    size, flops = largest(whole_graph, section.leaving), 0.0
    maps = {name: np.zeros_like(subject.tensors[name]) for name in section.leaving}
    parts = shared_out(whole_graph, section.leaving, tiles)
    for tile, part in parts:
        cutout = cut_out(whole_graph, section.layers, part)
        for name, array in _run(cutout, subject.tensors, make).items():
            put(maps[name], part[name], array)
        flops += sum(layer_flops(layer, cutout.graph) for layer in cutout.graph.layers)
        grid.halo_max = max(grid.halo_max, halo(whole_graph, cutout.inputs, tile, size))
    grid.runs += 1
    grid.tiles += len(parts)
    grid.flops += subject.flops
    grid.tiles_flops += flops
    grid.recomputed_max = max(grid.recomputed_max, flops / max(subject.flops, 1.0) - 1)
    rects = {name: [part[name] for _, part in parts if name in part] for name in maps}
    return judge(subject, maps, rects, grid)


def _run(cutout: Cutout, tensors: Mapping[str, Array], make: Build) -> dict[str, Array]:
    layers = [layer.name for layer in cutout.graph.layers]
    wanted = cutout.graph.outputs
    tile = make(cutout.graph, layers, cutout.graph.arrays, outputs=wanted)
    return tile.run({name: view(tensors[name], rect) for name, rect in cutout.inputs.items()})


def view(array: Array, rect: Rect) -> Array:
    """The rectangle of a map (N, C, rows, columns), not copied."""
    return array[:, :, rect.top : rect.bottom, rect.left : rect.right]


def put(array: Array, rect: Rect, part: Array) -> None:
    """Writes a tile to its place; TileError where it is of another size than that."""
    place = view(array, rect)
    if place.shape != part.shape:
        raise TileError(f"a tile for {rect} has the shape {part.shape}, not {place.shape}")
    place[...] = part


def judge(
    subject: Subject,
    maps: Mapping[str, Array],
    rects: Mapping[str, Sequence[Rect]],
    grid: GridReport,
) -> list[str]:
    """How stitched maps fail the contract, in words; `rects` are the tiles of each.

    The figures are added to `grid`.
    """
    failures = []
    for name, array in maps.items():
        all_of_it = whole(subject.graph.tensors[name])
        assert all_of_it is not None
        gap = uncovered(all_of_it, rects[name])
        if gap:
            failures.append(f"{name} is not covered once: {gap}")
        found = difference(array, subject.tensors[name])
        grid.elements += found.elements
        grid.mismatches += found.mismatches
        grid.max_abs_diff = max(grid.max_abs_diff, found.max_abs_diff)
        grid.max_rel_diff = max(grid.max_rel_diff, found.max_rel_diff)
        grid.max_ulp = max(grid.max_ulp, found.max_ulp)
        if found.mismatches and (subject.dtype or not found.is_close):
            failures.append(
                f"{found.mismatches} of {found.elements} elements of {name} differ, "
                f"by at most {found.max_abs_diff:g} ({found.max_ulp} ULP)"
            )
    return failures


def verdict(report: Report) -> None:
    """EdgeflowError, with the first failures, where there are any."""
    if report.failed:
        first = "; ".join(report.failures[:3])
        raise EdgeflowError(f"tiles differ from the whole in {report.failed} cases: {first}")
