"""Measuring teaches quickly, and is not fooled by one bad sample."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.estimate import WINDOW, LinkEstimate, RatioEstimate

SIZES = (1_000, 64_000, 250_000, 1_000_000)


def link(delay_s: float, bytes_per_s: float, count: int, noise: float = 0.0) -> LinkEstimate:
    return feed(LinkEstimate(), delay_s, bytes_per_s, count, noise)


def feed(
    found: LinkEstimate, delay_s: float, bytes_per_s: float, count: int, noise: float = 0.0
) -> LinkEstimate:
    rng = random.Random(count)
    for at in range(count):
        size = SIZES[at % len(SIZES)]
        seconds = (delay_s + size / bytes_per_s) * (1 + rng.uniform(-noise, noise))
        found = found.add(size, seconds)
    return found


def test_two_sizes_tell_delay_and_rate_apart() -> None:
    found = LinkEstimate().add(1_000, 0.0101).add(1_001_000, 0.1101)
    assert found.delay_s == pytest.approx(0.01)
    assert found.bytes_per_s == pytest.approx(1e7)
    assert found.samples == 2


def test_noise_of_a_tenth_leaves_an_estimate_within_a_tenth() -> None:
    found = link(0.005, 2e6, 24, noise=0.1)
    assert found.seconds(500_000) == pytest.approx(0.255, rel=0.1)
    assert 0 < found.variance_s2 < 0.01**2 * 100


def test_one_outlier_changes_nothing_much() -> None:
    found = link(0.005, 2e6, 12, noise=0.02)
    assert found.add(1_000_000, 9.0).seconds(10**6) == pytest.approx(found.seconds(10**6), rel=0.03)
    assert len(found.add(1_000_000, 9.0).window) == len(found.window) + 1


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 8.0])
def test_a_step_of_the_rate_is_followed_within_five_large_messages(factor: float) -> None:
    found = link(0.002, 4e6, 24, noise=0.03)
    for _ in range(5):
        found = found.add(500_000, 0.002 + 500_000 / (4e6 * factor))
    assert found.seconds(500_000) == pytest.approx(0.002 + 0.125 / factor, rel=0.1)


def test_a_step_is_followed_though_small_messages_do_not_show_it() -> None:
    found = link(0.002, 4e6, 24, noise=0.01)
    for at in range(10):
        size = 500_000 if at % 2 else 100
        found = found.add(size, 0.002 + size / 1e6)
    assert found.bytes_per_s == pytest.approx(1e6, rel=0.05)


def test_small_messages_alone_leave_the_rate_unknown() -> None:
    found = LinkEstimate().add(100, 0.003).add(100, 0.004).add(120, 0.003)
    assert (found.delay_s, found.bytes_per_s) == (0.003, 0.0)


def test_more_frames_of_one_size_move_what_they_consist_of() -> None:
    found = link(0.01, 1e7, 8)
    for _ in range(2 * WINDOW):
        found = found.add(1_000_000, 0.31)
    assert found.delay_s == pytest.approx(0.01)
    assert found.bytes_per_s == pytest.approx(1e6 / 0.3)


def test_a_slow_start_of_one_small_message_is_delay() -> None:
    found = link(0.01, 1e7, 8)
    for _ in range(2 * WINDOW):
        found = found.add(1_000, 0.05)
    assert found.delay_s == pytest.approx(0.05, rel=0.01)
    assert found.bytes_per_s == pytest.approx(1e7)


@given(
    st.lists(
        st.tuples(
            st.integers(-5, 1 << 40), st.floats(allow_nan=True, allow_infinity=True, width=32)
        ),
        max_size=60,
    )
)
def test_whatever_was_measured_estimates_stay_usable(samples: list[tuple[int, float]]) -> None:
    found, ratio = LinkEstimate(), RatioEstimate()
    for size, seconds in samples:
        found, ratio = found.add(size, seconds), ratio.add(seconds)
    assert math.isfinite(found.delay_s)
    assert found.delay_s >= 0
    assert 0 <= found.bytes_per_s < math.inf
    assert len(found.window) <= WINDOW
    assert 0 < ratio.ratio < math.inf


def test_a_ratio_ignores_one_hiccup_and_follows_a_step_within_three_samples() -> None:
    found = RatioEstimate()
    for at in range(20):
        found = found.add(1.5 + 0.02 * (at % 3))
    assert found.ratio == pytest.approx(1.52, rel=0.02)
    assert found.add(12.0).ratio == pytest.approx(found.ratio, rel=0.02)
    for _ in range(3):
        found = found.add(3.0)
    assert found.ratio == pytest.approx(3.0)
    assert found.variance == 0.0


def test_light_messages_of_a_busy_node_leave_the_rate_as_it_was() -> None:
    """Halos take as long as both nodes are busy; a slow link would be the wrong conclusion."""
    link = LinkEstimate()
    for size, seconds in ((1024, 0.001), (262144, 0.0031), (1024, 0.001), (262144, 0.0031)):
        link = link.add(size, seconds)
    before = link.bytes_per_s
    chance = random.Random(7)
    for _ in range(WINDOW + 6):
        link = link.add(chance.choice((9000, 28672, 57344)), 0.009 + 0.004 * chance.random())
    assert link.bytes_per_s == pytest.approx(before, rel=0.01)
    assert 0.009 <= link.delay_s <= 0.013


def test_heavy_messages_of_one_size_still_tell_a_slower_rate() -> None:
    link = LinkEstimate()
    for size, seconds in ((1024, 0.001), (262144, 0.0031), (1024, 0.001), (262144, 0.0031)):
        link = link.add(size, seconds)
    for _ in range(5):
        link = link.add(600_000, 0.5)
    assert link.seconds(600_000) == pytest.approx(0.5, rel=0.05)
    assert link.bytes_per_s < 1.4e6


def test_small_messages_in_a_crowd_do_not_make_a_link_infinitely_fast() -> None:
    link = LinkEstimate()
    for size, seconds in ((1024, 0.3), (262144, 0.12), (1024, 0.25), (262144, 0.11)) * 3:
        link = link.add(size, seconds)
    assert link.samples == 12
    assert link.bytes_per_s <= 2.1 * 262144 / 0.11
