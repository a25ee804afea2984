"""More frames than the fleet can answer: refused at once, and nothing computed in vain."""

from __future__ import annotations

from collections import deque

import pytest
from msgspec.structs import replace

from edgeflow.events import Deliver, Effect
from edgeflow.frames.pace import (
    FALLBACK_FACTOR,
    FLIGHTS_KNOWN,
    GAPS_KNOWN,
    OVERLOAD_S,
    STANDING_S,
    TIMEOUT_FACTOR,
    TIMEOUT_P99_FACTOR,
    TIMEOUT_S_MIN,
    Pace,
    Window,
)
from edgeflow.frames.tally import RETRIES_PER_RESULT, RETRIES_START, Tally
from edgeflow.messages import Frame
from tests.core.asking import SPEC
from tests.core.sources import Source, cancels, held, outcomes


@pytest.fixture
def source() -> Source:
    return Source()


class Fleet:
    """One node that takes `seconds` a frame, one after the other, and hears cancels."""

    def __init__(self, source: Source, seconds: float) -> None:
        self.source, self.seconds = source, seconds
        self.queue: deque[tuple[float, Frame]] = deque()
        self.free_s = 0.0
        self.computed = self.results = self.refused = 0
        self.latencies_s: list[float] = []

    def play(self, offered_fps: float, for_s: float, deadline_s: float = 30.0) -> None:
        """Frames at a rate for so long; a hundredth of a second at a time."""
        begin_s = self.source.now_s
        submitted = 0
        while self.source.now_s < begin_s + for_s:
            while submitted < (self.source.now_s - begin_s) * offered_fps:
                submitted += 1
                self.hear(self.source.submit(deadline_s))
                self.take()
            self.hear(self.source.wait(0.01))
            self.land()
            self.take()

    def hear(self, effects: list[Effect]) -> None:
        over = {(frame, attempt) for _, frame, attempt, _ in cancels(effects)}
        self.queue = deque(
            (end_s, each)
            for end_s, each in self.queue
            if (each.frame, each.attempt) not in over or end_s <= self.free_s
        )
        for effect in effects:
            if isinstance(effect, Deliver) and effect.code:
                self.refused += effect.code == "overload"
            elif isinstance(effect, Deliver):
                self.results += 1
                self.latencies_s.append(effect.seconds)

    def take(self) -> None:
        for frame in self.source.pump():
            self.free_s = max(self.free_s, self.source.now_s) + self.seconds
            self.queue.append((self.free_s, frame))

    def land(self) -> None:
        while self.queue and self.queue[0][0] <= self.source.now_s + 1e-9:
            self.computed += 1
            self.hear(self.source.result(self.queue.popleft()[1]))


def test_under_five_times_its_capacity_a_fleet_answers_at_its_capacity(source: Source) -> None:
    fleet = Fleet(source, 0.1)
    fleet.play(offered_fps=50, for_s=30)
    assert fleet.results >= 0.97 * 300
    assert fleet.computed == fleet.results
    assert max(fleet.latencies_s[50:]) < OVERLOAD_S + 1.0
    assert fleet.refused > 1000


def test_after_an_overload_all_is_as_before_within_five_seconds(source: Source) -> None:
    fleet = Fleet(source, 0.1)
    fleet.play(offered_fps=50, for_s=20)
    fleet.play(offered_fps=7, for_s=5)
    fleet.refused, fleet.latencies_s = 0, []
    fleet.play(offered_fps=7, for_s=10)
    assert fleet.refused == 0
    assert max(fleet.latencies_s) < 0.25


def test_a_queue_that_stands_is_shorter_than_one_of_a_burst(source: Source) -> None:
    fleet = Fleet(source, 0.1)
    fleet.play(offered_fps=50, for_s=5)
    burst_s = max(fleet.latencies_s)
    fleet.play(offered_fps=50, for_s=5)
    fleet.latencies_s = []
    fleet.play(offered_fps=50, for_s=60)
    assert burst_s > OVERLOAD_S
    assert max(fleet.latencies_s) < STANDING_S + 0.7


def test_short_bursts_are_not_refused(source: Source) -> None:
    fleet = Fleet(source, 0.1)
    for _ in range(10):
        fleet.play(offered_fps=40, for_s=0.5)
        fleet.play(offered_fps=0, for_s=2.0)
    assert (fleet.refused, fleet.results) == (0, 200)


def fill(source: Source, gap_s: float, window: int = 1) -> list[Frame]:
    """A window that is full, and as many gaps as need be known."""
    assert source.plan is not None
    source.plan.plan = replace(source.plan.plan, predicted_s=10.0)
    for _ in range(GAPS_KNOWN + window + 2):
        source.submit()
    flying = deque(source.pump(window))
    for _ in range(GAPS_KNOWN + 1):
        source.wait(gap_s)
        source.result(flying.popleft())
        flying += source.pump(window)
    return list(flying)


def test_a_refusal_says_its_numbers(source: Source) -> None:
    fill(source, 1.0)
    for _ in range(3):
        assert source.submit() == []
    (said, *_) = source.submit()
    assert isinstance(said, Deliver)
    assert said.code == "overload"
    assert "4 frames wait and one is answered every 1 s: 4 s is more than 3 s" in said.text


def test_a_frame_that_would_miss_its_own_deadline_is_refused(source: Source) -> None:
    fill(source, 0.5)
    source.submit()
    assert outcomes(source.submit(deadline_s=1.4)) == ["overload"]
    assert outcomes(source.submit(deadline_s=2.0)) == []


def test_as_many_as_may_fly_may_always_wait(source: Source) -> None:
    fill(source, 2.0, window=4)
    waiting = sum(not frame.flying for frame in source.inflight.frames.values())
    for _ in range(4 - waiting):
        assert source.submit() == []
    assert outcomes(source.submit()) == ["overload"]


@pytest.mark.parametrize(
    ("change", "flying"),
    [
        ({}, 8),
        ({"policy": "partnner"}, 1),
        ({"policy": "profile-first"}, 1),
        ({"policy": "partnner", "placement": "fc @cam"}, 8),
    ],
)
def test_one_frame_flies_where_frames_are_compared_and_as_many_are_taken_as_else(
    source: Source, change: dict[str, str], flying: int
) -> None:
    window = Window.of(replace(SPEC, window_frames=8, **change))
    assert window.frames == flying
    pace, waiting = Pace(before_s=100.0), 16 - flying
    pace.on_window(window, True, 0, source.now_s)
    assert not pace.overload(waiting - 1, 1e9, source.now_s)
    assert pace.overload(waiting, 1e9, source.now_s)


def test_while_no_plan_is_usable_frames_wait_however_long(source: Source) -> None:
    fill(source, 1.0)
    source.plan = None
    source.pump()
    for _ in range(20):
        assert source.submit() == []


def test_the_pace_of_one_way_is_believed_until_another_has_its_own(source: Source) -> None:
    sent = fill(source, 1.0)
    source.plan = held(2)
    source.result(sent[0])
    (flying,) = source.pump(window=1)
    assert ["overload"] in [outcomes(source.submit()) for _ in range(20)]
    for _ in range(GAPS_KNOWN + 1):
        source.wait(0.01)
        source.result(flying)
        (flying,) = source.pump(window=1)
        source.submit()
    for _ in range(20):
        assert source.submit() == []


def test_a_result_along_the_last_way_teaches_nothing_about_this_one(source: Source) -> None:
    source.submit()
    source.submit()
    (before,) = source.pump(window=1)
    source.plan = held(2)
    source.pump(window=2)
    source.wait(0.5)
    source.result(before)
    pace = source.inflight.paces["job"]
    assert (list(pace.flights_s), list(pace.gaps_s)) == ([], [])


def test_room_in_the_window_is_no_overload(source: Source) -> None:
    fill(source, 1.0)
    for _ in range(2):
        source.submit()
    source.pump(window=50)
    assert source.submit() == []


def test_gaps_count_only_while_there_is_always_work(source: Source) -> None:
    for _ in range(10):
        source.submit()
        (sent,) = source.pump(window=1)
        source.wait(5.0)
        source.result(sent)
        source.pump(window=1)
        source.wait(0.1)
    assert list(source.inflight.paces["job"].gaps_s) == []


def test_one_long_pause_is_no_pace() -> None:
    pace = Pace(held())
    pace.gaps_s.extend([0.1] * 7 + [9.0])
    assert sum(pace.gaps_s) / 8 > 1.0
    assert pace.gap_s() == pytest.approx(0.1)


# --- bytes ----------------------------------------------------------------------------------------


def test_bytes_bound_the_window_too(source: Source) -> None:
    for _ in range(4):
        source.submit(size_bytes=400)
    sent = source.pump(window=10, window_bytes=1000)
    assert [each.frame for each in sent] == [1, 2]
    source.result(sent[0])
    assert [each.frame for each in source.pump(window=10, window_bytes=1000)] == [3]


def test_a_frame_larger_than_the_window_flies_alone(source: Source) -> None:
    source.submit(size_bytes=5000)
    source.submit(size_bytes=10)
    (sent,) = source.pump(window=10, window_bytes=1000)
    assert sent.frame == 1
    source.result(sent)
    assert [each.frame for each in source.pump(window=10, window_bytes=1000)] == [2]


# --- attempt time-outs ----------------------------------------------------------------------------


def flown(source: Source, flight_s: float) -> None:
    """So many flights that their 99th percentile is believed."""
    for _ in range(FLIGHTS_KNOWN):
        source.submit()
        (sent,) = source.pump()
        source.now_s += flight_s
        source.result(sent)


def timeout_s(source: Source) -> float:
    """Of the next attempt."""
    source.submit()
    (sent,) = source.pump()
    return source.inflight.frames[sent.frame].expires_s - source.now_s


def test_a_time_out_follows_the_flights_and_not_the_wait_before_them(source: Source) -> None:
    for _ in range(FLIGHTS_KNOWN):
        source.submit()
        source.now_s += 20.0  # parked, for want of a plan
        (sent,) = source.pump()
        source.now_s += 0.5
        source.result(sent)
    assert source.inflight.tallies["job"].quantile_s(0.5) == pytest.approx(20.5)
    assert timeout_s(source) == pytest.approx(TIMEOUT_P99_FACTOR * 0.5)


def test_a_time_out_is_never_shorter_than_a_pause_of_the_machine(source: Source) -> None:
    flown(source, 0.01)
    assert timeout_s(source) == pytest.approx(TIMEOUT_S_MIN)


def test_another_way_starts_with_its_prediction(source: Source) -> None:
    flown(source, 5.0)
    source.plan = held(2)
    assert timeout_s(source) == pytest.approx(TIMEOUT_S_MIN)


def test_a_fallback_may_take_longer_than_the_plan_was_predicted_to() -> None:
    pace, way = Pace(), held()
    way.plan = replace(way.plan, predicted_s=1.0)
    pace.take(way)
    assert pace.timeout_s(0) == TIMEOUT_FACTOR
    way.variant = 1
    assert pace.timeout_s(0) == TIMEOUT_FACTOR * FALLBACK_FACTOR
    assert pace.timeout_s(2) == TIMEOUT_FACTOR * FALLBACK_FACTOR * 3


def test_a_late_result_lengthens_the_time_outs_that_follow(source: Source) -> None:
    """Else a fleet that became slower would be asked three times for each frame."""
    flown(source, 0.4)
    source.submit()
    (first,) = source.pump()
    source.wait(2.0)
    source.pump()
    source.result(first)
    assert timeout_s(source) == pytest.approx(TIMEOUT_P99_FACTOR * 2.0)


# --- the retry budget -----------------------------------------------------------------------------


def test_each_result_earns_a_part_of_a_retry_up_to_the_first_budget() -> None:
    tally = Tally()
    for _ in range(int(RETRIES_START)):
        assert tally.take_retry()
    assert not tally.take_retry()
    for _ in range(round(1 / RETRIES_PER_RESULT)):
        tally.on_result(0.1)
    assert tally.take_retry()
    for _ in range(1000):
        tally.on_result(0.1)
    assert tally.retries == RETRIES_START
