"""Named tensors as they lie at hand, whole or in rectangles: cut to what is sent, stitched to what
is computed on.

    whole map ──cut──▶ rectangle          rectangles ──stitch──▶ map, or a larger rectangle

Invariant: what comes out was in there: nothing is filled in, and a gap is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edgeflow.errors import EdgeflowError
from edgeflow.messages import Rect
from edgeflow.model.graph import Array
from edgeflow.tiles.rect import area, columns, hull, overlap, rows


class ParcelError(EdgeflowError):
    """A tensor, or some of it, is not at hand."""


class Placed(NamedTuple):
    """A tensor, or a rectangle of a map (N, C, rows, columns)."""

    array: Array
    rect: Rect | None = None
    """Which; None: all of it."""


Parcel = Mapping[str, Placed]
"""By tensor: one place each."""


def parcel(arrays: Mapping[str, Array]) -> Parcel:
    """Whole tensors."""
    return {name: Placed(array) for name, array in arrays.items()}


def take(parcels: Sequence[Parcel], name: str, rect: Rect | None = None) -> Array:
    """A tensor out of all that is at hand, or one rectangle of it; C order, copied only if it must.

    ParcelError where some of it is in none of the parcels, or the parts of a whole map leave a gap.
    """
    found = [each[name] for each in parcels if name in each]
    if not found:
        raise ParcelError(f"{name} is not at hand")
    for placed in found:
        if placed.rect is None or placed.rect == rect:
            return _cut(placed, rect)
    wanted = rect or _all(found)
    return _stitch(name, found, wanted)


def _cut(placed: Placed, rect: Rect | None) -> Array:
    if rect is None or placed.rect == rect:
        return placed.array
    cut: Array = np.ascontiguousarray(
        placed.array[:, :, rect.top : rect.bottom, rect.left : rect.right]
    )
    return cut


def _all(parts: Sequence[Placed]) -> Rect:
    """The hull of these rectangles: the whole map, which is known to be covered by its makers."""
    found = parts[0].rect
    assert found is not None
    for placed in parts[1:]:
        assert placed.rect is not None
        found = hull(found, placed.rect)
    return found


def _stitch(name: str, parts: Sequence[Placed], wanted: Rect) -> Array:
    """One array of these parts; where two hold the same element they hold the same value."""
    first = parts[0].array
    made: Array = np.empty((*first.shape[:2], rows(wanted), columns(wanted)), first.dtype)
    covered: list[Rect] = []
    for placed in parts:
        assert placed.rect is not None
        both = overlap(placed.rect, wanted)
        if both is not None:
            made[_window(both, wanted)] = placed.array[_window(both, placed.rect)]
            covered.append(both)
    if covered_area(covered) < area(wanted):
        raise ParcelError(f"{name}[{wanted}] is not at hand: there is {_text(covered)}")
    return made


def _window(part: Rect, of: Rect) -> tuple[slice, ...]:
    """Where a rectangle lies in an array that holds another one."""
    return (
        slice(None),
        slice(None),
        slice(part.top - of.top, part.bottom - of.top),
        slice(part.left - of.left, part.right - of.left),
    )


def covered_area(parts: Sequence[Rect]) -> int:
    """Elements a channel that lie in at least one of these rectangles."""
    return sum(area(piece) for at, part in enumerate(parts) for piece in _new(part, parts[:at]))


def _new(part: Rect, before: Sequence[Rect]) -> Iterator[Rect]:
    """What a rectangle adds to others, in rectangles."""
    for at, other in enumerate(before):
        both = overlap(part, other)
        if both is None:
            continue
        pieces = (
            (part.top, both.top, part.left, part.right),
            (both.bottom, part.bottom, part.left, part.right),
            (both.top, both.bottom, part.left, both.left),
            (both.top, both.bottom, both.right, part.right),
        )
        for top, bottom, left, right in pieces:
            if top < bottom and left < right:
                yield from _new(Rect(top, bottom, left, right), before[at + 1 :])
        return
    yield part


def _text(parts: Sequence[Rect]) -> str:
    return ", ".join(map(str, parts)) or "nothing of it"
