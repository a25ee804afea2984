"""Measuring teaches quickly, and is not fooled by one bad sample."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.estimation.link import WINDOW, LinkEstimate
from edgeflow.estimation.ratio import RatioEstimate

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
    assert 0 < found.deviation_s < 0.1 * found.seconds(found.typical_bytes)


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
    assert found.steps == 1


def test_small_messages_that_waited_for_a_slow_radio_do_not_pass_for_its_delay() -> None:
    """It was slowed to 4 Mbit/s, and is what another link's frames take as well."""
    link, quick = LinkEstimate(), 100e6 / 8
    for _ in range(WINDOW):
        link = link.add(1024, 0.003).add(65_536, 0.003 + 65_536 / quick)
    link = link.restarted(19_543, 0.356)
    for nbytes, seconds in ((1024, 0.110), (8192, 0.018), (8192, 0.033), (8192, 0.019)):
        link = link.add(nbytes, seconds)
    link = link.add(36_712, 0.075)
    assert link.bytes_per_s == pytest.approx(4e6 / 8, rel=0.15)
    assert link.seconds(150_000) == pytest.approx(0.003 + 150_000 / 5e5, rel=0.15)


def test_a_link_that_got_longer_is_known_once_all_small_messages_say_so() -> None:
    link, rate = LinkEstimate(), 50e6 / 8
    for delay_s, rounds in ((0.002, WINDOW), (0.05, 12)):
        for _ in range(rounds):
            link = link.add(1024, delay_s).add(65_536, delay_s + 65_536 / rate)
            assert link.seconds(65_536) < delay_s + 65_536 / rate + 0.005
    assert link.delay_s == pytest.approx(0.05, rel=0.1)
    assert link.bytes_per_s == pytest.approx(rate, rel=0.2)


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


SLOW_FRAMES = 150_000
"""Bytes of a tensor: 28 ms on the links below."""


def noisy(chance: random.Random) -> float:
    """What a sample is multiplied by: up to 20 % either way, and one in twenty is an outlier."""
    outlier = math.exp(chance.uniform(math.log(2), math.log(10)))
    return chance.uniform(0.8, 1.2) * (outlier if chance.random() < 0.05 else 1.0)


def probed(chance: random.Random) -> LinkEstimate:
    """A link of 50 Mbit/s and 4 ms, as its probes and thirty messages showed it."""
    found = LinkEstimate()
    for size in (1 << 10, 64 << 10, 1 << 10, 256 << 10, *[SLOW_FRAMES] * 30):
        found = found.add(size, (0.004 + size / 6.25e6) * noisy(chance))
    return found


def frames_until_seen(factor: float, sizes: tuple[int, ...], seed: int) -> int:
    """Messages of SLOW_FRAMES until the rate's step is in the estimate, within 30 %."""
    chance = random.Random(seed)
    found, frames = probed(chance), 0
    true_s = 0.004 + SLOW_FRAMES / (6.25e6 * factor)
    for at in range(99):
        size = sizes[at % len(sizes)]
        found = found.add(size, (0.004 + size / (6.25e6 * factor)) * noisy(chance))
        frames += size == SLOW_FRAMES
        if abs(math.log(found.seconds(SLOW_FRAMES) / true_s)) < 0.3:
            break
    return frames


@pytest.mark.parametrize("sizes", [(SLOW_FRAMES,), (SLOW_FRAMES, 1000)])
@pytest.mark.parametrize(
    ("factor", "usual", "most"), [(0.08, 2, 5), (0.5, 3, 6), (2.0, 3, 10), (12.0, 3, 6)]
)
def test_a_step_of_the_rate_is_seen_within_a_few_noisy_frames(
    factor: float, usual: int, most: int, sizes: tuple[int, ...]
) -> None:
    seen = sorted(frames_until_seen(factor, sizes, seed) for seed in range(300))
    assert seen[150] <= usual
    assert sum(frames <= 5 for frames in seen) >= 270
    assert seen[293] <= most


@pytest.mark.parametrize("factor", [0.2, 0.5, 2.0, 5.0])
def test_a_step_of_compute_is_seen_within_five_noisy_frames(factor: float) -> None:
    late = 0
    for seed in range(500):
        chance, found = random.Random(seed), RatioEstimate()
        for _ in range(30):
            found = found.add(1.3 * noisy(chance))
        for _ in range(5):
            found = found.add(1.3 * factor * noisy(chance))
        late += abs(math.log(found.ratio / (1.3 * factor))) > 0.3
    assert late <= 15


def test_noise_alone_is_no_step() -> None:
    """At most one in 10,000 samples; with outliers, 15."""
    for most, is_wild in ((1, False), (15, True)):
        chance, ratio, found = random.Random(4), RatioEstimate(), probed(random.Random(4))
        for at in range(10_000):
            factor = noisy(chance) if is_wild else chance.uniform(0.8, 1.2)
            size = 1000 if at % 5 == 4 else SLOW_FRAMES
            ratio = ratio.add(factor)
            found = found.add(size, (0.004 + size / 6.25e6) * factor)
        assert ratio.steps <= most
        assert found.steps <= most
        assert ratio.ratio == pytest.approx(1.0, rel=0.15)
        assert found.seconds(SLOW_FRAMES) == pytest.approx(0.028, rel=0.15)


def test_a_leap_is_believed_the_second_time_and_an_outlier_is_not() -> None:
    found = link(0.004, 6e6, 24, noise=0.1)
    once = found.add(SLOW_FRAMES, 0.5)
    assert once.seconds(SLOW_FRAMES) == pytest.approx(found.seconds(SLOW_FRAMES), rel=0.1)
    assert once.add(SLOW_FRAMES, 0.45).seconds(SLOW_FRAMES) == pytest.approx(0.475, rel=0.05)
    apart = once.add(SLOW_FRAMES, 0.15)
    assert apart.steps == 0


def test_messages_of_a_slow_link_tell_its_rate_though_they_are_small() -> None:
    found = LinkEstimate()
    for size in (1 << 10, 64 << 10, 1 << 10, 256 << 10):
        found = found.add(size, 0.01 + size / 5e5)
    for _ in range(4):
        found = found.add(25_000, 0.01 + 25_000 / 5e4)
    assert found.bytes_per_s == pytest.approx(5e4, rel=0.05)


def test_the_deviation_is_that_of_the_estimate() -> None:
    """Over many links the estimates differ from the truth by about what they say."""
    wrong, said = [], []
    for seed in range(300):
        chance, found, ratio = random.Random(seed), LinkEstimate(), RatioEstimate()
        for size in (1 << 10, 64 << 10, 1 << 10, 256 << 10, *[SLOW_FRAMES] * 20):
            found = found.add(size, (0.004 + size / 6.25e6) * chance.gauss(1, 0.1))
            ratio = ratio.add(chance.gauss(1, 0.1))
        assert found.typical_bytes == SLOW_FRAMES
        wrong.append((found.seconds(SLOW_FRAMES) - 0.028) / 0.028)
        said.append(found.deviation_s / 0.028)
        assert ratio.deviation == pytest.approx(0.1 * 1.25 / math.sqrt(24), rel=0.6)
    measured = math.sqrt(sum(each**2 for each in wrong) / len(wrong))
    assert sum(said) / len(said) == pytest.approx(measured, rel=0.3)


def test_after_a_step_an_estimate_is_less_certain_and_as_noisy_as_before() -> None:
    chance, found = random.Random(2), RatioEstimate()
    for _ in range(40):
        found = found.add(chance.uniform(0.8, 1.2))
    after = found
    for _ in range(3):
        after = after.add(3 * chance.uniform(0.8, 1.2))
    assert after.steps == 1
    assert after.deviation > 2 * found.deviation
    assert after.noise == pytest.approx(found.noise, rel=0.1)
