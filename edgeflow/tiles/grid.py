"""A map laid out in tiles: a grid, by number or by shares.

    even(7, 4, 3, 1)       rows 0:2  2:5  5:7
    uneven(8, 4, (2, 1, 1), (1,))      0:4  4:6  6:8

Invariant: the tiles of a grid hold every element of the map exactly once, and none is empty: where
there are more tiles wanted than rows, there are fewer tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise, product
from math import inf

from edgeflow.messages import Rect
from edgeflow.tiles.rules import TileError


def even(rows: int, columns: int, down: int, across: int) -> tuple[Rect, ...]:
    """`down` times `across` tiles of near-equal size, row by row; fewer on a smaller map.

    TileError where the map or the grid is empty.
    """
    if min(rows, columns, down, across) < 1:
        raise TileError(f"a grid of {down}x{across} on {rows} by {columns}: each is 1 or more")
    return uneven(rows, columns, (1,) * min(down, rows), (1,) * min(across, columns))


def uneven(
    rows: int, columns: int, shares_down: Sequence[float], shares_across: Sequence[float]
) -> tuple[Rect, ...]:
    """A grid whose rows and columns of tiles have these shares of the map, row by row.

    A share too small for one row gets no tiles. TileError where the map or the shares are empty.
    """
    down, across = bounds(rows, shares_down), bounds(columns, shares_across)
    return tuple(
        Rect(top, bottom, left, right)
        for (top, bottom), (left, right) in product(pairwise(down), pairwise(across))
        if top < bottom and left < right
    )


def bounds(length: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Where parts with these shares of `length` begin and end: one number more than shares.

    Part i is [bounds[i], bounds[i + 1]), and may be empty. TileError where there is none.
    """
    sums = tuple(accumulate(shares, initial=0.0))
    if length < 1 or min(shares, default=-1) < 0 or not 0 < sums[-1] < inf:
        raise TileError(
            f"{length} rows or columns by shares {list(shares)}: shares are 0 or more, not all 0"
        )
    return tuple(int(length * part / sums[-1] + 0.5) for part in sums)


def scaled(rect: Rect, of: tuple[int, int], to: tuple[int, int]) -> Rect | None:
    """The same part of a map of another size (rows, columns); None where nothing is left.

    The parts of a grid of one map are a grid of the other: they hold it exactly once.
    """
    top, bottom = (bound * to[0] // of[0] for bound in (rect.top, rect.bottom))
    left, right = (bound * to[1] // of[1] for bound in (rect.left, rect.right))
    return Rect(top, bottom, left, right) if top < bottom and left < right else None
