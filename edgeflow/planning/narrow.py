"""Where along the layers a row's best plan can change nodes; all else merges before the cut.

    waist   waist   waist                waist
      | block | block |  …  quiet blocks  |      a block is quiet where no plan worth finding
      └───────┴───────┴───────────────────┘      moves on to another node within it

Two passes over the blocks between waists, forwards and backwards, give the least price of a plan
that moves from node i to node j in a block: within the block the cheapest seconds and the smallest
tensor; before and behind it the same. Exact on a chain, where a block is a layer. A quiet block
stands where the layer before it stands: they become one layer.

Invariant: every plan of the row cheaper than the limit is still a plan of the narrowed row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.skip import blocks
from edgeflow.planning.wiring import Wiring

SLACK = 1e-9
"""Share of the limit by which a bound must exceed it: more than the rounding of sums."""

TINY_S = 1e-12
"""The same for a plan that costs nothing."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A row's question with quiet blocks merged."""

    wiring: Wiring
    seconds: Floats
    """(K, merged layers)"""
    merged: Indices
    """(layers,) the merged layer of each."""
    limit_s: float
    """Lowered to what a cut at waists alone achieves."""


def narrow(
    wiring: Wiring, seconds: Floats, hops: tuple[Floats, Floats], limit_s: float
) -> Narrowed | None:
    """The smaller question, or None where no plan of the row is cheaper than the limit."""
    edges = blocks(wiring)
    big = 4 * limit_s
    sums = np.minimum(np.add.reduceat(np.minimum(seconds, big), edges[:-1], axis=1), big)
    at_waists = _at_waists(wiring, sums, edges, hops, big)
    found_s = float(_behind(sums, at_waists, big)[0, 0])
    limit_s = min(limit_s, found_s * (1 + 2 * SLACK) + TINY_S)
    moves = _moves(wiring, seconds, edges, hops, big)
    front, back = _before(sums, moves, big), _behind(sums, moves, big)
    if back[0, 0] > limit_s * (1 + SLACK):
        return None
    price = front[:, None, :-1] + moves + back[None, :, 1:]
    quiet = price.min(axis=(0, 1)) > limit_s * (1 + SLACK)
    starts = _starts(wiring.layers, edges, quiet)
    first = np.flatnonzero(starts)
    small = np.add.reduceat(seconds, first, axis=1)
    if quiet[0]:
        small[1:, 0] = np.inf
    return Narrowed(wiring.merge(starts), small, np.cumsum(starts) - 1, limit_s)


def _starts(layers: int, edges: Indices, quiet: Indices) -> Indices:
    """(layers,) True where a merged layer begins; a quiet block belongs to the layer before it."""
    starts = np.repeat(~quiet, np.diff(edges))
    starts[0] = True
    return starts


def _at_waists(
    wiring: Wiring, sums: Floats, edges: Indices, hops: tuple[Floats, Floats], big: float
) -> Floats:
    """(K, K, blocks) price of a block when the plan moves on just before it."""
    count, last = len(sums), edges[:-1] + wiring.inputs - 1
    entering = wiring.nbytes[np.maximum(last, 0)].copy()
    entering[0] = wiring.nbytes[: wiring.inputs].sum()
    found = np.full((count, count, sums.shape[1]), big)
    for hop in range(count - 1):
        found[hop, hop + 1] = sums[hop + 1] + _hop(hops, hop, entering, big)
    return found


def _moves(
    wiring: Wiring, seconds: Floats, edges: Indices, hops: tuple[Floats, Floats], big: float
) -> Floats:
    """(K, K, blocks) least price of a block in which the plan moves on from node i to j."""
    start, stop = edges[:-1], edges[1:]
    capped = np.minimum(seconds, big)
    smallest = _smallest(wiring, start, stop)
    tail = stop - 1 if len(wiring.ends) == 1 else stop[:-1] - 1
    count = len(seconds)
    found = np.full((count, count, len(start)), big)
    for i in range(count):
        way: Floats = np.zeros(len(start))
        for j in range(i + 1, count):
            way = way + _hop(hops, j - 1, smallest, big)
            least = capped[i : j + 1].min(axis=0)
            least[tail] = capped[j, tail]
            inside = np.add.reduceat(least, start) + way
            found[i, j] = np.where(stop - start < j - i, big, np.minimum(inside, big))
    return found


def _smallest(wiring: Wiring, start: Indices, stop: Indices) -> Floats:
    """(blocks,) least bytes of a tensor read within a block; its last layer's is read behind it."""
    made = wiring.nbytes[wiring.inputs :].copy()
    made[stop - 1] = np.inf
    entering = wiring.nbytes[np.maximum(start + wiring.inputs - 1, 0)].copy()
    entering[0] = wiring.nbytes[: wiring.inputs].min(initial=np.inf)
    found: Floats = np.minimum(np.minimum.reduceat(made, start), entering)
    return found


def _hop(hops: tuple[Floats, Floats], hop: int, nbytes: Floats, big: float) -> Floats:
    delay_s, byte_s = float(hops[0][hop]), float(hops[1][hop])
    if not np.isfinite(byte_s):
        return np.full(len(nbytes), big)
    found: Floats = np.minimum(delay_s + nbytes * byte_s, big)
    return found


def _before(sums: Floats, moves: Floats, big: float) -> Floats:
    """(K, blocks + 1) least price of all blocks before one, when the plan has come to node j."""
    count, blocks_ = sums.shape
    found = np.full((count, blocks_ + 1), big)
    for j in range(count):
        arrive = np.full(blocks_ + 1, big)
        arrive[0] = 0.0 if j == 0 else big
        if j:
            arrive[1:] = (found[:j, :-1] + moves[:j, j]).min(axis=0)
        total = np.concatenate([[0.0], np.cumsum(sums[j])])
        found[j] = total + np.minimum.accumulate(arrive - total)
    return found


def _behind(sums: Floats, moves: Floats, big: float) -> Floats:
    """(K, blocks + 1) least price of all blocks from one on, when the plan is at node i."""
    count, blocks_ = sums.shape
    found = np.full((count, blocks_ + 1), big)
    for i in reversed(range(count)):
        leave = np.full(blocks_ + 1, big)
        leave[-1] = 0.0
        if i < count - 1:
            leave[:-1] = (moves[i, i + 1 :] + found[i + 1 :, 1:]).min(axis=0)
        total = np.concatenate([np.cumsum(sums[i][::-1])[::-1], [0.0]])
        found[i] = total + np.minimum.accumulate((leave - total)[::-1])[::-1]
    return found
