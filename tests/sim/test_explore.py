"""A node that was left because it was busy is found again once it is idle, by trials alone."""

from __future__ import annotations

import math

import pytest

from edgeflow.frames import explore
from edgeflow.frames.belief import WORTH
from edgeflow.sim.weather import Report, Weather, run_weather

BUSY_S, IDLE_S = 15.0, 35.0
SCRIPT = ((BUSY_S, "load cloud-1 0.8"), (IDLE_S, "load cloud-1 0"))


def played(seed: int) -> Report:
    report = run_weather(Weather(seed, minutes=1.5, events=SCRIPT))
    assert (report.lost, report.failed) == (0, 0)
    return report


@pytest.mark.parametrize("seed", range(2))
def test_a_node_that_got_idle_is_used_again(seed: int) -> None:
    report = played(seed)
    assert report.convergence(BUSY_S, IDLE_S).frames <= 8, "trials keep no step from being seen"
    assert report.convergence(IDLE_S).frames <= 60
    tried = [each for each in report.frames if each.is_trial]
    usual_s = sorted(each.latency_s for each in report.frames)[len(report.frames) // 2]
    extra_s = sum(max(0.0, each.latency_s - usual_s) for each in tried)
    spent_s = sum(each.latency_s for each in report.frames)
    assert 0 < extra_s <= 0.02 * spent_s + (explore.CREDIT + WORTH) * 2 * usual_s


def test_without_trials_nobody_ever_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "NO_TRIALS", explore.NO_TRIALS | {"mincut"})
    report = played(0)
    assert not any(each.is_trial for each in report.frames)
    assert report.convergence(IDLE_S).frames == math.inf
