"""The cut under the planner, against every cut there is."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.planning import flow
from edgeflow.planning.flow import FIRST, SINK, SOURCE, Arcs, cheapest_cut

Arc = tuple[int, int, float]
VERTICES = FIRST + 4
CAPACITIES = st.one_of(
    st.sampled_from((0.0, 1.0, 3.0, math.inf)), st.floats(1e-9, 1e6), st.floats(0.1, 10)
)
NETS = st.lists(
    st.tuples(st.integers(0, VERTICES - 1), st.integers(0, VERTICES - 1), CAPACITIES), max_size=16
)


def arcs(net: list[Arc]) -> Arcs:
    tail, head, capacity = (np.array([arc[at] for arc in net]) for at in range(3))
    return Arcs(tail.astype(np.intp), head.astype(np.intp), capacity.astype(np.float64))


def price(net: list[Arc], side: tuple[bool, ...]) -> float:
    return sum((c for a, b, c in net if side[b] and not side[a]), 0.0)


def cheapest(net: list[Arc]) -> float:
    """Of all ways to put the other vertices on the sink's side."""
    return min(
        price(net, (False, True, *rest)) for rest in product((False, True), repeat=VERTICES - FIRST)
    )


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(NETS, st.floats(1.01, 1e3))
def test_the_cut_is_the_cheapest_and_its_bound_meets_it(net: list[Arc], loose: float) -> None:
    net = [(a, b, c) for a, b, c in net if a != b] + [(SOURCE, SINK, 0.001)]
    best = cheapest(net)
    limit = loose * best if math.isfinite(best) else 1e7
    found = cheapest_cut(arcs(net), VERTICES, limit)
    if math.isinf(best):
        assert found is None
        return
    assert found is not None
    assert found.price == pytest.approx(best, rel=1e-9)
    assert best * (1 - 1e-8) <= found.bound <= best * (1 + 1e-12)
    assert price(net, tuple(found.sink_side[:VERTICES].tolist())) == pytest.approx(found.price)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(NETS)
def test_no_cut_is_found_below_the_cheapest(net: list[Arc]) -> None:
    net = [(a, b, c) for a, b, c in net if a != b] + [(SOURCE, SINK, 0.5)]
    best = cheapest(net)
    if math.isfinite(best):
        assert cheapest_cut(arcs(net), VERTICES, 0.999 * best) is None


def test_capacities_far_apart_are_told_apart_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "PASSES", 1)
    net = [(SOURCE, FIRST, 1.000001), (FIRST, SINK, 1.0), (SOURCE, SINK, 1.0)]
    found = cheapest_cut(arcs(net), VERTICES, 4.0)
    assert found is not None
    assert found.price == 2.0
    assert 2.0 - 1e-7 < found.bound <= 2.0
