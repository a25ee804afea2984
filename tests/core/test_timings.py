"""Timing layers: shapes from timed runs, levels from the first, and what others learn from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeflow.cluster.membership import LAYER_TIMES_MAX, Membership
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost, Workload
from edgeflow.estimation.timings import LEVEL_RUNS, RUNS_MAX, Timings, is_news
from edgeflow.messages import EDGE, LayerTimes, Rates
from edgeflow.sim.toy import MODEL, TOY

RATES = Rates(1e9, 1e9, 1e9, 1e-6)
LAYERS = [layer.name for layer in TOY.layers]


def node(name: str, speed: float = 1.0, layers_s: tuple[float, ...] = ()) -> NodeCost:
    rates = Rates(1e9 * speed, 1e9 * speed, 1e9 * speed, 1e-6 / speed)
    return NodeCost(name, EDGE, rates, layers_s=layers_s)


def prior(speed: float = 1.0) -> np.ndarray:
    return Workload.of(TOY).prior(node("any", speed))


def test_the_mean_of_many_runs_is_the_shape() -> None:
    timings = Timings()
    # Under a quota the kernel stops one layer or the other for 9 ms.
    for at in range(30):
        timings.add(["a", "b"], [0.001 + 0.009 * (at % 3 == 0), 0.002 + 0.009 * (at % 3 != 0)])
    assert timings.mean("a") / timings.mean("b") == pytest.approx(4 / 8, rel=0.1)


def test_load_moves_no_level() -> None:
    timings = Timings()
    for _ in range(LEVEL_RUNS):
        timings.add(["a", "b"], [0.001, 0.003])
    for _ in range(3 * RUNS_MAX):
        timings.add(["a", "b"], [0.005, 0.015])
    assert timings.mean("a") == pytest.approx(0.001)
    assert timings.mean("b") == pytest.approx(0.003)


def test_a_cold_first_run_is_one_of_several() -> None:
    timings = Timings()
    timings.add(["a", "b"], [0.050, 0.003])
    for _ in range(4 * RUNS_MAX):
        timings.add(["a", "b"], [0.001, 0.003])
    assert timings.mean("a") + timings.mean("b") < 0.012
    assert timings.mean("a") < timings.mean("b")


def test_a_layer_that_joins_later_comes_at_the_level_of_the_others() -> None:
    timings = Timings()
    for _ in range(LEVEL_RUNS):
        timings.add(["a"], [0.001])
    timings.add(["a", "b"], [0.004, 0.008])
    assert timings.mean("b") == pytest.approx(0.002)


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, 1.0], [-1.0, 1.0], [1.0]])
def test_what_is_no_time_is_left_out(bad: list[float]) -> None:
    timings = Timings()
    timings.add(["a", "b"], bad)
    assert timings.blended({"a": 1.0, "b": 1.0}) == {}


def test_a_clock_that_stood_still_gives_no_zero() -> None:
    timings = Timings()
    timings.add(["a", "b"], [0.0, 0.0])
    timings.add(["a", "b"], [0.001, 0.001])
    found = timings.blended({"a": 1.0, "b": 1.0})
    assert all(value > 0 and math.isfinite(value) for value in found.values())


def test_the_prior_counts_as_one_run_at_the_level_that_was_timed() -> None:
    timings = Timings()
    timings.add(["a", "b"], [3.0, 1.0])
    assert timings.blended({"a": 10.0, "b": 10.0}) == {"a": 2.5, "b": 1.5}
    for _ in range(RUNS_MAX):
        timings.add(["a", "b"], [3.0, 1.0])
    assert timings.blended({"a": 10.0, "b": 10.0})["a"] == pytest.approx(3.0, rel=0.02)


def test_only_news_is_told() -> None:
    assert is_news((), (1.0, 2.0))
    assert is_news((1.0, 0.0), (1.0, 2.0))
    assert not is_news((1.0, 2.0), (1.05, 2.0))
    assert is_news((1.0, 2.0), (1.3, 2.0))


def test_a_timed_node_is_believed_and_load_comes_on_top() -> None:
    timed = tuple(2 * value for value in prior().tolist())
    costs = Workload.of(TOY).seconds(node("edge-1", layers_s=timed))
    assert costs == pytest.approx(np.array(timed))
    slowed = NodeCost("edge-1", EDGE, RATES, ratio=3.0, layers_s=timed)
    assert Workload.of(TOY).seconds(slowed) == pytest.approx(3 * np.array(timed))


def test_a_node_that_never_ran_it_learns_from_another_how_wrong_rates_are() -> None:
    wrong = np.linspace(0.5, 3.0, len(LAYERS))
    timed = tuple((prior() * wrong).tolist())
    cluster = Cluster(
        {"edge-1": node("edge-1", layers_s=timed), "edge-2": node("edge-2", 4.0)},
        {("edge-1", "edge-2"): LinkCost(0.0, 1e9)},
        "edge-1",
    )
    assert CostModel(TOY, cluster).layers_s("edge-2") == pytest.approx(prior(4.0) * wrong)


def test_a_node_that_timed_some_layers_scales_the_others_by_their_share() -> None:
    seconds = prior()
    first = np.zeros(len(LAYERS))
    first[0] = 2 * seconds[0]
    found = Workload.of(TOY).seconds(node("edge-1", layers_s=tuple(first.tolist())))
    share = seconds[0] / seconds.sum()
    assert found[0] == pytest.approx(2 * seconds[0])
    assert found[1:] == pytest.approx(seconds[1:] * 2**share)


def test_times_of_another_model_are_not_taken_for_this_ones() -> None:
    assert Workload.of(TOY).seconds(node("edge-1", layers_s=(1.0,))) == pytest.approx(prior())


def test_what_others_say_is_kept_by_name_and_bounded() -> None:
    members = Membership("edge-9", 1)
    for at in range(LAYER_TIMES_MAX + 5):
        members.on_layer_times(LayerTimes(f"edge-{at}", 1, MODEL, (1e6, 0.0)))
    assert len(members.layer_times) == LAYER_TIMES_MAX
    assert members.layers_s("edge-3", MODEL) == ()
    assert members.layers_s(f"edge-{LAYER_TIMES_MAX}", MODEL) == (1.0, 0.0)
