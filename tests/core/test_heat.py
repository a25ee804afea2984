"""What heat will do to a machine, and what it will not."""

from __future__ import annotations

import math
import random

import pytest

from edgeflow.estimation.heat import (
    COOL_C,
    HELD_S,
    SAMPLES_MAX,
    SHARE_MIN,
    SHARE_USUAL,
    WINDOW_S,
    Heat,
)
from edgeflow.events import Sampled

LIMIT_C = 80.0


def sample(
    temperature_c: float, throttled: bool = False, clock: float | None = None, busy: float = 90.0
) -> Sampled:
    return Sampled(
        busy,
        0,
        temperature_c,
        throttled,
        headroom_c=LIMIT_C - temperature_c,
        clock_share=clock,
    )


def warm_up(
    heat: Heat, from_c: float, to_c: float, seconds: int, constant_s: float = 80.0, seed: int = 0
) -> list[int]:
    """Newton's law, read in whole degrees with a little noise; when it was thought to be hot."""
    chance, hot = random.Random(seed), []
    begin_s = round(heat.now_s)
    for at in range(1, seconds + 1):
        now_c = to_c + (from_c - to_c) * math.exp(-at / constant_s)
        heat.add(sample(float(round(now_c + chance.gauss(0, 0.4)))), begin_s + at)
        if heat.slower_soon > 1:
            hot.append(at)
    return hot


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("constant_s", [40.0, 80.0, 160.0])
def test_a_machine_on_its_way_over_its_limit_is_known_before(constant_s: float, seed: int) -> None:
    reached_s = constant_s * math.log(55 / 15)
    hot = warm_up(Heat(), 40.0, 95.0, 400, constant_s, seed)
    assert hot
    assert reached_s - 70 < hot[0] < reached_s - 5


@pytest.mark.parametrize("seed", range(20))
def test_a_machine_that_stays_below_its_limit_is_let_be(seed: int) -> None:
    assert warm_up(Heat(), 40.0, 74.0, 900, seed=seed) == []
    assert warm_up(Heat(), 72.0, 72.0, 900, seed=seed) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_die_that_warms_up_at_once_and_no_further_is_let_be(seed: int) -> None:
    heat = Heat()
    assert warm_up(heat, 45.0, 45.0, 60, seed=seed) == []
    assert warm_up(heat, 45.0, 60.0, 120, constant_s=8.0, seed=seed) == []


def test_a_machine_that_cools_is_hot_until_it_is_cool_and_not_only_on_its_way() -> None:
    heat = Heat()
    for at in range(60):
        heat.add(sample(60.0 + at / 3), float(at))
    hot = []
    for at in range(60):
        heat.add(sample(79.0 - 0.4 * at), 60.0 + at)
        hot.append(heat.is_hot)
    cool_at = math.ceil((79.0 - LIMIT_C + COOL_C) / 0.4)
    assert hot == [at < cool_at for at in range(60)]


def test_hot_lasts_until_it_is_cool() -> None:
    heat = Heat()
    assert warm_up(heat, 40.0, 95.0, 80)
    hot = warm_up(heat, 75.0, 60.0, 300)
    cooled_s = 80 * math.log((75.0 - 60.0) / (LIMIT_C - COOL_C - 60.0))
    assert hot == list(range(1, len(hot) + 1))
    assert len(hot) > cooled_s - 10
    assert heat.slower_soon == 1.0


def test_a_machine_that_lives_next_to_its_limit_is_believed_after_a_while() -> None:
    heat = Heat()
    assert warm_up(heat, 40.0, 80.5, 300)
    for at in range(301, 700):
        heat.add(sample(80.0 + at % 2), float(at))
        if at > 440:
            assert heat.slower_soon == 1.0
    assert heat.is_hot


def test_a_clock_that_is_slow_near_the_limit_means_throttled() -> None:
    for near_c, clock, busy, is_slow in (
        (78.0, 0.5, 90.0, True),
        (70.0, 0.5, 90.0, False),
        (78.0, 0.95, 90.0, False),
        (78.0, 0.5, 3.0, False),
    ):
        heat = Heat()
        heat.add(sample(near_c, clock=clock, busy=busy), 1.0)
        assert (heat.throttled_share == clock) is is_slow


def test_how_slow_throttled_is_was_seen_last_time() -> None:
    heat = Heat()
    for at in range(100):
        heat.add(sample(81.0, throttled=True, clock=0.4), float(at))
    assert heat.is_hot
    assert heat.slower_soon == 1.0  # It is slow already, and measured so.
    for at in range(100, 100 + round(HELD_S) + 2):
        heat.add(sample(80.0, clock=1.0), float(at))
    assert heat.slower_soon == pytest.approx(1 / 0.4)


def test_the_clock_of_an_idle_machine_says_nothing() -> None:
    heat = Heat()
    heat.add(sample(81.0, throttled=True, clock=0.2, busy=3.0), 1.0)
    assert heat.throttled_share == SHARE_USUAL
    heat.add(sample(81.0, throttled=True, clock=0.0), 2.0)
    assert heat.throttled_share == SHARE_MIN


def test_where_nothing_is_known_nothing_is_forecast() -> None:
    heat = Heat()
    for at in range(200):
        heat.add(Sampled(90.0, 0, 99.0, False), float(at))
        heat.add(Sampled(90.0, 0, None, False, headroom_c=math.nan), at + 0.5)
    assert heat.slower_soon == 1.0


def test_few_samples_or_samples_with_a_gap_are_no_forecast() -> None:
    heat = Heat()
    for at in range(10):
        heat.add(sample(60.0 + 2 * at), float(at))
    assert heat.slower_soon == 1.0
    heat.add(sample(79.9), 55.0)
    assert heat.slower_soon == 1.0


def test_samples_are_bounded_though_time_stands_still() -> None:
    heat = Heat()
    for _ in range(3 * SAMPLES_MAX):
        heat.add(sample(50.0), 1.0)
    assert len(heat.headrooms) == SAMPLES_MAX
    heat.add(sample(50.0), 2.0 + WINDOW_S)
    assert len(heat.headrooms) == 1
