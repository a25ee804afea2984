"""Rectangles of maps (N, C, rows, columns), half open, and how they lie to each other.

Invariant: a Rect holds at least one element; what would be empty is None.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgeflow.messages import Rect
from edgeflow.model.graph import Contract


def whole(contract: Contract) -> Rect | None:
    """All of a map; None where the tensor is none: not of four dimensions, or open."""
    if len(contract.shape) != 4 or contract.is_open:
        return None
    rows, columns = (int(dim) for dim in contract.shape[2:])
    return Rect(0, rows, 0, columns)


def rows(rect: Rect) -> int:
    """How many it has."""
    return rect.bottom - rect.top


def columns(rect: Rect) -> int:
    """How many it has."""
    return rect.right - rect.left


def area(rect: Rect) -> int:
    """Elements a channel."""
    return rows(rect) * columns(rect)


def overlap(one: Rect, other: Rect) -> Rect | None:
    """What both hold; None where that is nothing."""
    top, bottom = max(one.top, other.top), min(one.bottom, other.bottom)
    left, right = max(one.left, other.left), min(one.right, other.right)
    return Rect(top, bottom, left, right) if top < bottom and left < right else None


def hull(one: Rect, other: Rect) -> Rect:
    """The smallest that holds both."""
    return Rect(
        min(one.top, other.top),
        max(one.bottom, other.bottom),
        min(one.left, other.left),
        max(one.right, other.right),
    )


def holds(one: Rect, other: Rect) -> bool:
    """Does one hold all of the other?"""
    return overlap(one, other) == other


def uncovered(wanted: Rect, parts: Iterable[Rect]) -> str:
    """How these parts fail to cover it exactly once, in words; empty where they do."""
    found: list[Rect] = []
    for part in parts:
        if not holds(wanted, part):
            return f"{part} lies outside of {wanted}"
        for other in found:
            if overlap(part, other) is not None:
                return f"{part} and {other} overlap"
        found.append(part)
    missing = area(wanted) - sum(map(area, found))
    return f"{missing} of {area(wanted)} elements of {wanted} are in none" if missing else ""
