"""What is told at once, and what waits for the next heartbeat."""

from __future__ import annotations

import random

import pytest

from edgeflow.estimation.alert import REST_S, Alert
from edgeflow.estimation.link import LinkEstimate
from edgeflow.estimation.neighbour import Neighbour
from edgeflow.estimation.ratio import RatioEstimate

MODEL = "a" * 64
FRAME = 150_000


def link(chance: random.Random, frames: int = 20) -> Neighbour:
    """Of 4 ms and 50 Mbit/s, through noise of 20 %."""
    found = Neighbour(1, is_up=True)
    for size in (1 << 10, 64 << 10, 1 << 10, 256 << 10, *[FRAME] * frames):
        found.estimate = sent(found.estimate, size, 1.0, chance)
    return found


def sent(known: LinkEstimate, size: int, slower: float, chance: random.Random) -> LinkEstimate:
    return known.add(size, (0.004 + slower * size / 6.25e6) * chance.uniform(0.8, 1.2))


@pytest.fixture
def chance() -> random.Random:
    return random.Random(3)


def test_a_step_of_a_link_is_told_at_once_and_once(chance: random.Random) -> None:
    cloud = link(chance)
    alert = Alert({"cloud": cloud}, {})
    alert.on_told(1.0, 0.0)
    told_after = 0
    while not alert.is_due(1.0, 1.0):
        cloud.estimate = sent(cloud.estimate, FRAME, 3.0, chance)
        told_after += 1
    assert told_after <= 3
    assert not alert.is_due(1.0, 0.9 * REST_S)
    alert.on_told(1.0, 1.0)
    assert not alert.is_due(1.0, 2.0)


def test_noise_is_not_worth_a_heartbeat() -> None:
    """Of 2,000 noisy frames on each of 5 links and nodes, told each second: at most five are."""
    news = 0
    for seed in range(5):
        chance = random.Random(seed)
        cloud, ratios = link(chance), {MODEL: RatioEstimate()}
        alert = Alert({"cloud": cloud}, ratios)
        for at in range(2000):
            if at % 2 == 0:
                alert.on_told(1.0, float(at))
            cloud.estimate = sent(cloud.estimate, FRAME, 1.0, chance)
            ratios[MODEL] = ratios[MODEL].add(chance.uniform(0.8, 1.2))
            news += alert.is_due(1.0, at + 0.5)
    assert news <= 5


def test_a_step_of_compute_is_told_at_once(chance: random.Random) -> None:
    ratios = {MODEL: RatioEstimate()}
    alert = Alert({}, ratios)
    for _ in range(10):
        ratios[MODEL] = ratios[MODEL].add(chance.uniform(0.9, 1.1))
    assert not alert.is_due(1.0, 0.0)
    alert.on_told(1.0, 0.0)
    for _ in range(3):
        ratios[MODEL] = ratios[MODEL].add(2.0 * chance.uniform(0.9, 1.1))
    assert alert.is_due(1.0, 1.0)


def test_the_first_frames_of_a_model_are_told_at_once_where_they_surprise() -> None:
    ratios = {MODEL: RatioEstimate()}
    alert = Alert({}, ratios)
    alert.on_told(1.0, 0.0)
    ratios[MODEL] = ratios[MODEL].add(2.0)
    assert alert.is_due(1.0, 1.0)


def test_a_link_that_comes_up_is_measured_or_goes_down_is_news(chance: random.Random) -> None:
    cloud = Neighbour(1)
    alert = Alert({"cloud": cloud}, {})
    assert not alert.is_due(1.0, 0.0)
    cloud.is_up = True
    assert alert.is_due(1.0, 0.0)
    alert.on_told(1.0, 0.0)
    for size in (1 << 10, 64 << 10, 1 << 10):
        cloud.estimate = sent(cloud.estimate, size, 1.0, chance)
    assert not alert.is_due(1.0, 1.0)
    cloud.estimate = sent(cloud.estimate, 256 << 10, 1.0, chance)
    assert alert.is_due(1.0, 1.0)
    alert.on_told(1.0, 1.0)
    cloud.is_up = False
    assert alert.is_due(1.0, 2.0)


def test_a_forecast_of_heat_is_news() -> None:
    alert = Alert({}, {})
    alert.on_told(1.0, 0.0)
    assert not alert.is_due(1.1, 1.0)
    assert alert.is_due(1.6, 1.0)
