"""Tensors cut and stitched: what comes out was in there, once and in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.layout.parcel import ParcelError, Placed, covered_area, parcel, take
from edgeflow.messages import Rect

MAP = np.arange(2 * 3 * 6 * 5, dtype=np.float32).reshape(2, 3, 6, 5)


def part(top: int, bottom: int, left: int = 0, right: int = 5) -> dict[str, Placed]:
    rect = Rect(top, bottom, left, right)
    return {"map": Placed(MAP[:, :, top:bottom, left:right].copy(), rect)}


def test_a_whole_tensor_is_taken_as_it_lies() -> None:
    assert take([parcel({"map": MAP})], "map") is MAP


def test_a_rectangle_is_cut_out_of_the_whole_in_c_order() -> None:
    cut = take([parcel({"map": MAP})], "map", Rect(1, 4, 2, 5))
    assert np.array_equal(cut, MAP[:, :, 1:4, 2:5])
    assert cut.flags.c_contiguous


def test_parts_are_stitched_in_their_places_whatever_their_order() -> None:
    parts = [part(4, 6), part(0, 2), part(2, 4, 0, 2), part(2, 4, 2, 5)]
    assert np.array_equal(take(parts, "map"), MAP)
    assert np.array_equal(take(parts, "map", Rect(1, 5, 1, 3)), MAP[:, :, 1:5, 1:3])


def test_parts_that_hold_more_than_is_wanted_are_cut() -> None:
    assert np.array_equal(take([part(0, 4), part(3, 6)], "map", Rect(2, 5, 0, 5)), MAP[:, :, 2:5])


def test_a_gap_is_an_error_that_says_what_is_there() -> None:
    with pytest.raises(ParcelError, match=r"map\[0:6,0:5\] is not at hand: there is 0:2,0:5, 3:6"):
        take([part(0, 2), part(3, 6)], "map", Rect(0, 6, 0, 5))
    with pytest.raises(ParcelError, match="other is not at hand"):
        take([part(0, 6)], "other")


def test_overlapping_parts_do_not_hide_a_gap() -> None:
    with pytest.raises(ParcelError, match="not at hand"):
        take([part(0, 4), part(0, 4, 0, 3), part(5, 6)], "map", Rect(0, 6, 0, 5))


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4), max_size=6))
def test_the_covered_area_counts_each_element_once(
    corners: list[tuple[int, int, int, int]],
) -> None:
    rects = [Rect(min(a, b), max(a, b) + 1, min(c, d), max(c, d) + 1) for a, b, c, d in corners]
    seen = np.zeros((6, 6), dtype=bool)
    for rect in rects:
        seen[rect.top : rect.bottom, rect.left : rect.right] = True
    assert covered_area(rects) == seen.sum()
