"""How one array differs from another of its shape and dtype: in bits, in size, in rounding.

Another order of summing moves a float by some units in the last place of the largest terms, which
may cancel to something small: so rounding is measured against the array's largest element.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeflow.audit import ulp_distance
from edgeflow.model.graph import Array

CLOSE = 5e-5
"""The share of the largest element by which one may be off. Rounding alone came to 4e-6 over the
networks of the zoo; wrong rows come to 1e-2 and more. Lower would accuse deeper ones."""


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
    """Everywhere within CLOSE, and not a number in the same places."""


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
    share = gap / largest if largest else float(gap > 0)
    return Difference(
        elements=wanted.size,
        mismatches=mismatches,
        max_abs_diff=gap,
        max_rel_diff=share,
        max_ulp=ulp_distance(made, wanted),
        is_close=share <= CLOSE and bool((np.isnan(ours) == np.isnan(theirs)).all()),
    )
