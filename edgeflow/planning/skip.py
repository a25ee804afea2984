"""How good a plan can be in which a tensor passes over the middle node of a row of three.

    node 0 ══ p ═══════════════════▶ node 2        p goes straight, though node 1 has layers too
       └───────▶ node 1 ──────────────┘

Between two waists (`Wiring.waists`) all layers come after what stands before and before what
stands behind. The maker of p is at node 0 and a reader at node 2; so all before the block of p is
at node 0, all behind it at node 2, and node 1 has layers of this block only. That is a narrow
class: it costs at least the block's cheapest seconds and the messages of the drawing.

Invariant: no plan of the class costs less than `skip_bounds` says for its block.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeflow.planning.cut import Labelling, Prices, best_labelling
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.wiring import Wiring


def blocks(wiring: Wiring) -> Indices:
    """(blocks + 1,) first layers of the blocks between waists, and the number of layers."""
    return np.unique(np.concatenate([[0], wiring.waists, [wiring.layers]])).astype(np.intp)


def skip_bounds(wiring: Wiring, prices: Prices) -> Floats:
    """(blocks,) bound of the plans that pass over node 1 within each block; infinite where none."""
    edges = blocks(wiring)
    start, stop = edges[:-1], edges[1:]
    seconds = prices.shared(wiring)
    first, _, last = seconds
    before = np.concatenate([[0.0], np.cumsum(first)])[start]
    behind = np.concatenate([np.cumsum(last[::-1])[::-1], [0.0]])[stop]
    made: Floats = np.minimum.reduceat(wiring.nbytes[wiring.inputs :], start)
    bound: Floats = before + behind + np.add.reduceat(seconds.min(axis=0), start)
    bound += _message(prices, 0, 1, _entering(wiring, start, made))
    bound += _message(prices, 0, 2, _entering(wiring, start, made))
    joined = (stop < wiring.layers) | (len(wiring.ends) == 1)
    bound += np.where(joined, _message(prices, 1, 2, made), 0.0)
    bound[stop - start < 2] = math.inf
    return bound


def _entering(wiring: Wiring, start: Indices, made: Floats) -> Floats:
    """(blocks,) least bytes of a tensor that is made in a block or crosses the waist before it."""
    crossing = wiring.nbytes[np.maximum(start + wiring.inputs - 1, 0)].copy()
    if wiring.inputs:
        crossing[0] = wiring.nbytes[: wiring.inputs].min()
    found: Floats = np.minimum(made, crossing)
    return found


def _message(prices: Prices, sender: int, receiver: int, nbytes: Floats) -> Floats:
    byte_s = prices.byte_s[sender, receiver]
    if not math.isfinite(byte_s):
        return np.full(len(nbytes), math.inf)
    found: Floats = prices.delay_s[sender, receiver] + nbytes * byte_s
    return found


def passing_labelling(wiring: Wiring, prices: Prices, limit_s: float) -> Labelling | None:
    """A bound by a cut, and what that cut would do, where a block is too large for `milp`.

    Both messages of the drawing are paid, and the third where all layers join behind; bytes at
    prices that nowhere exceed the direct link's.
    """
    joined = len(wiring.ends) == 1
    fixed_s = float(prices.delay_s[0, 1:].sum() + (prices.delay_s[1, 2] if joined else 0.0))
    seconds, free = prices.shared(wiring), np.zeros(2)
    best: Labelling | None = None
    for first in ((1, 0), (0, 1)):
        _, byte_s = prices.relaxed(first)
        found = best_labelling(wiring, seconds, (free, byte_s), limit_s - fixed_s, strict=False)
        if found is None:
            return None
        if best is None or found.bound_s > best.bound_s:
            best = found
    assert best is not None
    return replace(best, bound_s=best.bound_s + fixed_s)
