"""How one array differs from another of its shape and dtype: in bits, in size, in rounding.

Two floats may differ by an order of summing: by RTOL of the element and, where large numbers cancel
to a small one, by ATOL of the largest of the array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeflow.audit import ulp_distance
from edgeflow.graph import Array

RTOL, ATOL = 1e-4, 1e-5
"""Shares: of an element, and of the array's largest one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Between what was made and what was wanted."""

    elements: int
    mismatches: int
    """Elements that differ in any bit."""
    max_abs_diff: float
    max_rel_diff: float
    """The largest difference, as a share of the largest element that was wanted."""
    max_ulp: int
    is_close: bool
    """Within RTOL and ATOL everywhere."""


def difference(made: Array, wanted: Array) -> Difference:
    """How `made` differs from `wanted`; both have the same shape and dtype."""
    bits = f"u{wanted.dtype.itemsize}"
    differs = np.ascontiguousarray(made).view(bits) != np.ascontiguousarray(wanted).view(bits)
    mismatches = int(differs.sum())
    if not mismatches:
        return Difference(wanted.size, 0, 0.0, 0.0, 0, True)
    ours, theirs = made.astype(np.float64), wanted.astype(np.float64)
    largest = float(np.nan_to_num(np.abs(theirs)).max())
    gap = float(np.nan_to_num(np.abs(ours - theirs)).max())
    return Difference(
        elements=wanted.size,
        mismatches=mismatches,
        max_abs_diff=gap,
        max_rel_diff=gap / largest if largest else float(gap > 0),
        max_ulp=ulp_distance(made, wanted),
        is_close=np.allclose(ours, theirs, rtol=RTOL, atol=ATOL * largest, equal_nan=True),
    )
