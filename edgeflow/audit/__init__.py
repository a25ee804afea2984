"""Split and compare in one process, without a network.

    inputs ─▶ [wire] ─▶ segment ─▶ [wire] ─▶ segment ─▶ [wire] ─▶ outputs

What crosses between two nodes goes through `edgeflow.codec` into bytes and back, as on the wire.

Invariant: on one engine, at one number of threads, every placement gives the bits of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgeflow import encoded
from edgeflow.codec import decode_tensors, encode_tensors, head_of, heads_of
from edgeflow.errors import ModelError, UsageError
from edgeflow.executors import build
from edgeflow.executors.piece import build_piece
from edgeflow.layout.parcel import Parcel, Placed, parcel, take
from edgeflow.layout.placement import Layout, parse_placement
from edgeflow.layout.split import Patch, split
from edgeflow.messages import Claim, Frame, PlanId
from edgeflow.model.graph import Array, Contract, Graph

SOURCE = "source"
"""The node where frames enter; what it gives to and gets from segments crosses a wire too."""

_PLAN = PlanId(Claim(0, 0, SOURCE, 0), 0)

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Report:
    """How split runs differ from the whole."""

    cuts: int
    mismatches: int
    """Cuts where any output differs in any bit."""
    max_abs_diff: float
    max_ulp: int
    """Largest distance of two floats, counted in representable numbers between them."""
    differing: tuple[str, ...] = ()
    """Tensors that crossed where an output differed."""


def cross(made: Parcel, patches: Iterable[Patch]) -> Parcel:
    """These parts of tensors after a trip over the wire: through bytes that nobody shares."""
    tensors = {patch.name: take([made], *patch) for patch in patches}
    heads = tuple(head_of(name, tensors[name], rect) for name, rect in patches)
    frame = Frame("audit", _PLAN, 0, "0" * 64, SOURCE, 0, 0, 0, 0.0, heads)
    parts = [bytes(part) for part in encode_tensors(frame, tensors)]
    message, arrays = decode_tensors(parts)
    return {head.name: Placed(arrays[head.name], head.rect) for head in heads_of(message)}


def run(
    graph: Graph,
    inputs: Mapping[str, Array] | Array,
    placement: Layout | str | None = None,
    *,
    threads: int = 1,
    engine: str = "auto",
) -> dict[str, Array]:
    """The outputs by name; whole, or split exactly as the placement says.

    `inputs` is an array where the graph has one input. `engine`: torch, onnx, or auto, which is the
    first of them that is installed. A placement is a line that `edgeflow.layout.placement` reads,
    or a node or tile map by layer. ModelError where an input does not fit.
    """
    feed = check_inputs(graph, inputs)
    if placement is None:
        names = [layer.name for layer in graph.layers]
        make = partial(build, graph, names, graph.arrays, outputs=graph.outputs)
        return make(threads=threads, engine=engine).run(feed)
    if isinstance(placement, str):
        placement = parse_placement(graph, placement)
    plan = split(graph, placement, SOURCE)
    piece_of = partial(build_piece, graph, threads=threads, engine=engine)
    entered = parcel(feed)
    held = {at: [cross(entered, patches)] for at, patches in plan.entry.items()}
    results: list[Parcel] = []
    for part in plan.segments:
        outputs = part.outputs if part.tile is None else None
        piece = piece_of(part.layers, graph.arrays, part.tile, outputs=outputs)
        made = piece.run(held.pop(part.at, []))
        for at, patches in part.sends.items():
            held.setdefault(at, []).append(cross(made, patches))
        if part.results:
            results.append(cross(made, part.results))
    return {name: take(results, name) for name in graph.outputs}


def verify(
    graph: Graph,
    cuts: str | int = "all",
    *,
    inputs: Mapping[str, Array] | None = None,
    threads: int = 1,
    engine: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Every place where one tensor crosses (or so many of them, evenly spread) against the whole.

    Without `inputs` random ones of that seed are used. Both sides are run anew for every cut.
    """
    positions = _chosen(graph.cuts, cuts)
    feed = check_inputs(graph, inputs if inputs is not None else example_inputs(graph, seed))
    answer = partial(run, graph, feed, threads=threads, engine=engine)
    whole = answer()
    worst, worst_ulp, differing = 0.0, 0, []
    for count, position in enumerate(positions, 1):
        parts = answer(_two_nodes(graph, position))
        if any(parts[name].tobytes() != whole[name].tobytes() for name in graph.outputs):
            differing.append(graph.crossing(position)[0])
        for name in graph.outputs:
            worst = max(worst, _abs_diff(parts[name], whole[name]))
            worst_ulp = max(worst_ulp, ulp_distance(parts[name], whole[name]))
        if progress is not None:
            progress(count, len(positions))
    return Report(len(positions), len(differing), worst, worst_ulp, tuple(differing))


def check_inputs(graph: Graph, inputs: Mapping[str, Array] | Array) -> dict[str, Array]:
    """The inputs by name, each of its contract; ModelError says which does not fit."""
    if isinstance(inputs, np.ndarray):
        if len(graph.inputs) != 1:
            names = ", ".join(contract.name for contract in graph.inputs)
            raise ModelError(f"{graph.name} has several inputs, name them: {names}")
        inputs = {graph.inputs[0].name: inputs}
    for contract in graph.inputs:
        _check_input(inputs, contract)
    for name in inputs:
        if name not in {contract.name for contract in graph.inputs}:
            raise ModelError(f"{graph.name} has no input {name!r}")
    return dict(inputs)


def _check_input(inputs: Mapping[str, Array], contract: Contract) -> None:
    if contract.name not in inputs:
        raise ModelError(f"input {contract.name} is missing")
    array = inputs[contract.name]
    if not contract.admits(array.dtype.name, array.shape):
        raise ModelError(
            f"input {contract.name} is {array.dtype.name} {array.shape}, "
            f"the model takes {contract.dtype} {contract.shape}"
        )


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Random inputs: all values of an integer dtype, normal ones of a float dtype, JPEGs where the
    graph decodes."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for contract in graph.inputs:
        if contract.is_open:
            found[contract.name] = encoded.example(graph, contract.name, seed)
            continue
        shape = tuple(int(dim) for dim in contract.shape)
        dtype = np.dtype(contract.dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            found[contract.name] = random.integers(
                limits.min, limits.max, size=shape, dtype=dtype, endpoint=True
            )
        else:
            found[contract.name] = random.standard_normal(shape).astype(dtype)
    return found


def _chosen(positions: tuple[int, ...], cuts: str | int) -> tuple[int, ...]:
    if cuts == "all":
        return positions
    count = int(cuts) if str(cuts).isdigit() else 0
    if count < 1:
        raise UsageError(f"cuts = {cuts!r}: give `all` or a number of at least 1")
    places = np.linspace(0, len(positions) - 1, min(count, len(positions)))
    return tuple(positions[int(place)] for place in places)


def _two_nodes(graph: Graph, position: int) -> dict[str, str]:
    names = [layer.name for layer in graph.layers]
    return {name: "before" if at < position else "behind" for at, name in enumerate(names)}


def _abs_diff(a: Array, b: Array) -> float:
    gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.nan_to_num(gap, nan=0.0).max(initial=0.0))


def ulp_distance(a: Array, b: Array) -> int:
    """Largest number of representable floats between two arrays; of integers, their distance."""
    if a.dtype.kind != "f":
        return int(_abs_diff(a, b))
    high = np.abs(_ordered(a) - _ordered(b))
    return int(high.max(initial=0))


def _ordered(floats: Array) -> NDArray[np.int64]:
    """Integers in the order of the floats, neighbours one apart, both zeros alike."""
    width = floats.dtype.itemsize
    bits = np.ascontiguousarray(floats).view(f"i{width}").astype(np.int64)
    magnitude = bits & ((1 << (8 * width - 1)) - 1)
    return np.where(bits < 0, -magnitude, magnitude)
