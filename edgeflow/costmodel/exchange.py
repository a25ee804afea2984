"""How long it takes when several nodes send and get at the same time.

    sender's port    ═ to reader 0 ═╪═ to reader 1 ═╪═ …       one after the other
    receiver's port  ═ from sender 0 ═╪═ from sender 1 ═╪═ …   one after the other
    a message        the later of both, and the delay of its link once

Messages go in the order of the readers, and of the senders for each of them; those of different
pairs of ports go at the same time. A reader begins once all its messages are there; a node with
several readers runs one after the other.

All arrays end in (senders, readers) or (readers,); what stands before is as many exchanges at once.

Invariant: no message, no time; a message without a link takes forever.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


def same(nodes: NDArray[np.intp]) -> Truths | None:
    """(…, strips, strips) which strips are one node's; None where each has a node of its own.
    `nodes` (…, strips) are numbers of nodes, negative where there is none."""
    found: Truths = (nodes[..., :, None] == nodes[..., None, :]) & (nodes[..., None] >= 0)
    count = nodes.shape[-1]
    return found if bool((found & ~np.eye(count, dtype=bool)).any()) else None


def arrivals(
    busy_s: Floats, delay_s: Floats, there: Truths, senders: Truths | None, readers: Truths | None
) -> Floats:
    """(…, readers) when the last message of each reader is there; 0 where none comes.

    `busy_s` and `delay_s` are those of the messages that are `there`; `senders` and `readers` say
    which are one node's, as of `same`.
    """
    is_lost = there & ~np.isfinite(busy_s)
    busy = np.where(there & ~is_lost, busy_s, 0.0)
    later = np.maximum(_sent(busy, senders), _got(busy, readers))
    found: Floats = np.where(there & ~is_lost, later + delay_s, 0.0).max(axis=-2)
    if is_lost.any():
        found = np.where(is_lost.any(axis=-2), np.inf, found)
    return found


def _sent(busy: Floats, senders: Truths | None) -> Floats:
    """When each message has left its sender's port."""
    upto: Floats = np.cumsum(busy, axis=-1)
    if senders is None:
        return upto
    found: Floats = senders @ (upto - busy) + np.tril(senders) @ busy
    return found


def _got(busy: Floats, readers: Truths | None) -> Floats:
    """When each message has passed its reader's port."""
    upto: Floats = np.cumsum(busy, axis=-2)
    if readers is None:
        return upto
    before = np.tril(readers, -1) @ upto[..., -1, :, None]
    found: Floats = upto + np.swapaxes(before, -1, -2)
    return found


def finishes(arrive_s: Floats, compute_s: Floats, readers: Truths | None) -> Floats:
    """(…, readers) when each is done."""
    if readers is None:
        return arrive_s + compute_s
    found: Floats = np.zeros(np.broadcast_shapes(arrive_s.shape, compute_s.shape))
    for at in range(found.shape[-1]):
        earlier = np.where(readers[..., at, :at], found[..., :at], 0.0).max(axis=-1, initial=0.0)
        found[..., at] = np.maximum(arrive_s[..., at], earlier) + compute_s[..., at]
    return found
