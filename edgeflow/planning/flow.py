"""The cheapest cut of a directed graph, by maximum flow.

scipy's flow counts in int32, so capacities are scaled and rounded down; the flow found is then
taken off the exact capacities and the rest scaled up and solved again, until the cut's own price
meets the flow. Each pass adds some 20 bits. A capacity beyond the limit is as good as infinite; one
arc in front of the source holds the whole flow within int32.

Max flow equals min cut: Ford and Fulkerson, 1956; solver: Dinic, 1970.

Invariant: `bound <= price of the cheapest cut`, and equal to `price` within 1e-10 where `tight`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

SOURCE, SINK, FIRST = 0, 1, 2
"""Two vertices are given; those of the caller count from FIRST."""
FULL = 1 << 30
"""Scaled capacity of the limit; infinite is one more."""
PASSES = 4
RTOL = 1e-10


@dataclass(frozen=True, slots=True)
class Cut:
    """Which vertices are on the sink's side, what that costs, and what no cut goes below."""

    sink_side: NDArray[np.bool_]
    price: float
    bound: float


@dataclass(frozen=True, slots=True)
class Arcs:
    """Arcs tail → head; parallel ones add up. A capacity is paid where tail stays and head goes."""

    tail: Indices
    head: Indices
    capacity: Floats


def cheapest_cut(arcs: Arcs, vertices: int, limit: float) -> Cut | None:
    """The cheapest cut, or None where no cut costs less than `limit` (finite and positive)."""
    tail, head, capacity = _paired(arcs, vertices)
    residual, bound = capacity, 0.0
    cut: Cut | None = None
    for _ in range(PASSES):
        scale = FULL / limit
        whole = np.minimum(np.floor(residual * scale), FULL + 1).astype(np.int32)
        whole[-1] = FULL
        flow = _push(tail, head, whole, vertices + 1)
        if cut is None and flow[-1] >= FULL:
            return None
        bound += float(flow[-1]) / scale
        residual = np.maximum(residual - flow / scale, 0.0)
        side = _sink_side(tail, head, whole > flow, vertices + 1)
        price = float(capacity[~side[tail] & side[head]].sum())
        if cut is None or price < cut.price:
            cut = Cut(side, price, bound)
        cut = Cut(cut.sink_side, cut.price, min(bound, cut.price))
        limit = (cut.price - bound) * (1 + 1e-6)
        if limit <= RTOL * cut.price:
            break
    return cut


def _paired(arcs: Arcs, vertices: int) -> tuple[Indices, Indices, Floats]:
    """Parallel arcs as one, each arc with its reverse, by tail and head; last the one arc from the
    vertex in front of the source, with its reverse just where the order wants it."""
    used = arcs.capacity > 0
    tail = np.append(arcs.tail[used], vertices)
    head = np.append(arcs.head[used], SOURCE)
    size = vertices + 1
    keys, at = np.unique(
        np.concatenate([tail * size + head, head * size + tail]), return_inverse=True
    )
    given = np.append(arcs.capacity[used], math.inf)
    capacity = np.bincount(at[: len(given)], weights=given, minlength=len(keys))
    return keys // size, keys % size, capacity.astype(np.float64)


def _push(
    tail: Indices, head: Indices, whole: NDArray[np.int32], vertices: int
) -> NDArray[np.int64]:
    """The greatest flow from the last vertex to the sink, on each arc; negative against it."""
    starts = np.searchsorted(tail, np.arange(vertices + 1)).astype(np.int32)
    matrix = csr_array((whole, head.astype(np.int32), starts), shape=(vertices, vertices))
    found = maximum_flow(matrix, vertices - 1, SINK, method="dinic").flow
    assert found.nnz == len(whole), "every arc has its reverse, so the flow has their order"
    return found.data.astype(np.int64)


def _sink_side(
    tail: Indices, head: Indices, open_: NDArray[np.bool_], vertices: int
) -> NDArray[np.bool_]:
    """What the source no longer reaches through arcs with room."""
    inner = tail[open_]
    starts = np.searchsorted(inner, np.arange(vertices + 1)).astype(np.int32)
    ones = np.ones(len(inner), dtype=np.int8)
    matrix = csr_array((ones, head[open_].astype(np.int32), starts), shape=(vertices, vertices))
    side = np.ones(vertices, dtype=bool)
    side[breadth_first_order(matrix, SOURCE, return_predecessors=False)] = False
    return side
