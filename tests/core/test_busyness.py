"""How busy a node is: shares of its time by deployment, and what frames waited."""

from __future__ import annotations

import math

import pytest

from edgeflow.estimation.busyness import LEAST, MEAN_S, Busyness


def worked(seconds: float, start_s: float = 100.0, name: str = "job") -> tuple[Busyness, float]:
    """Half of the time on one deployment, ten jobs a second."""
    busyness, now_s = Busyness(), start_s
    while now_s < start_s + seconds:
        busyness.on_start(name, 0.02, now_s)
        busyness.on_end(now_s + 0.05)
        now_s += 0.1
    return busyness, now_s


def test_the_share_is_what_ran_of_the_last_seconds() -> None:
    busyness, now_s = worked(30.0)
    assert busyness.busy(now_s) == {"job": pytest.approx(0.5, abs=0.01)}


def test_after_one_mean_the_share_has_gone_63_percent_of_a_step() -> None:
    busyness, now_s = worked(MEAN_S)
    assert busyness.busy(now_s)["job"] == pytest.approx(0.5 * (1 - math.exp(-1)), abs=0.02)


def test_a_job_that_still_runs_counts() -> None:
    busyness = Busyness()
    busyness.on_start("long", 0.0, 50.0)
    assert busyness.busy(50.0 + 5 * MEAN_S)["long"] == pytest.approx(1.0, abs=0.01)


def test_two_deployments_have_a_share_each_and_together_no_more_than_all() -> None:
    busyness, now_s = Busyness(), 10.0
    for _ in range(200):
        busyness.on_start("a", 0.0, now_s)
        busyness.on_end(now_s + 0.075)
        busyness.on_start("b", 0.075, now_s + 0.075)
        busyness.on_end(now_s + 0.1)
        now_s += 0.1
    found = busyness.busy(now_s)
    assert found == {"a": pytest.approx(0.75, abs=0.02), "b": pytest.approx(0.25, abs=0.02)}
    assert sum(found.values()) <= 1.0


def test_what_ended_long_ago_is_forgotten() -> None:
    busyness, now_s = worked(30.0)
    assert busyness.busy(now_s + 20 * MEAN_S) == {}
    assert busyness.shares == {}


def test_the_wait_is_the_mean_of_the_last_frames_and_0_once_none_comes() -> None:
    busyness, now_s = worked(30.0)
    assert busyness.wait_s(now_s) == pytest.approx(0.02)
    assert busyness.wait_s(now_s + 2 * MEAN_S) == pytest.approx(0.02), "a mean does not fade"
    for _ in range(100):
        busyness.on_start("job", 0.5, now_s)
        busyness.on_end(now_s + 0.05)
        now_s += 0.1
    assert busyness.wait_s(now_s) == pytest.approx(0.5, rel=0.1)
    assert busyness.wait_s(now_s - MEAN_S * math.log(LEAST / 100)) == 0.0


def test_a_clock_that_goes_back_changes_nothing() -> None:
    busyness, now_s = worked(30.0)
    before = busyness.busy(now_s)
    assert busyness.busy(now_s - 5.0) == before
