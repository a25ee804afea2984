"""What a source tells of the frames that it had answered: counts, and what each plan took."""

from __future__ import annotations

import pytest

from edgeflow.events import Effect, Publish
from edgeflow.frames.pace import OVERLOAD_S
from edgeflow.frames.tally import FLIGHTS_TOLD, RATE_S, SOON_S, WAYS_KEPT, YOUNG_FRAMES, Tally
from edgeflow.messages import Lately, Metrics
from tests.core.sources import Source, held

FIRST = "1.1@edge-9"


def lately(source: Source) -> tuple[Lately, ...]:
    return source.inflight.metrics("job", source.now_s).lately


def answered(source: Source, seconds: float = 0.5) -> None:
    """One frame, there and back."""
    source.submit()
    (sent,) = source.pump()
    source.now_s += seconds
    source.result(sent)


def news(source: Source, policy: str = "mincut") -> list[Metrics]:
    effects: list[Effect] = source.inflight.news(lambda _: policy, source.now_s)
    return [
        each.message
        for each in effects
        if isinstance(each, Publish) and isinstance(each.message, Metrics)
    ]


@pytest.fixture
def source() -> Source:
    return Source()


def test_the_last_flights_under_a_plan_are_told_with_their_count(source: Source) -> None:
    for at in range(FLIGHTS_TOLD + 2):
        answered(source, 0.5 + at)
    (told,) = lately(source)
    assert (told.plan, told.variant, told.frames) == (FIRST, 0, FLIGHTS_TOLD + 2)
    assert told.flights_s == pytest.approx([2.5 + at for at in range(FLIGHTS_TOLD)])


def test_a_flight_that_is_not_the_first_attempt_is_counted_and_not_measured(
    source: Source,
) -> None:
    source.submit()
    (sent,) = source.pump()
    source.fail(sent)
    (again,) = source.pump()
    source.now_s += 0.5
    source.result(again)
    (told,) = lately(source)
    assert (told.frames, told.flights_s) == (1, ())


def test_each_plan_has_flights_of_its_own_and_the_one_in_use_is_the_last(source: Source) -> None:
    answered(source)
    source.plan = held(2, "stem..head @edge-2")
    answered(source, 0.25)
    answered(source, 0.25)
    assert [(each.plan, each.frames) for each in lately(source)] == [(FIRST, 1), ("1.2@edge-9", 2)]
    source.plan = held(1)
    answered(source)
    assert [each.plan for each in lately(source)] == ["1.2@edge-9", FIRST]


def test_only_the_last_few_plans_are_told_of(source: Source) -> None:
    for seq in range(1, WAYS_KEPT + 3):
        source.plan = held(seq)
        answered(source)
    told = [each.plan for each in lately(source)]
    assert told == [f"1.{seq}@edge-9" for seq in range(3, WAYS_KEPT + 3)]


def test_each_result_of_a_young_plan_is_told_soon_and_of_an_old_one_with_the_heartbeat(
    source: Source,
) -> None:
    told = 0
    for _ in range(YOUNG_FRAMES + 5):
        answered(source)
        told += len(news(source))
        assert news(source) == []
    assert told == YOUNG_FRAMES


def test_a_policy_that_measures_hears_of_every_result(source: Source) -> None:
    for _ in range(YOUNG_FRAMES + 5):
        answered(source)
        (message,) = news(source, "partnner")
    assert message.results == YOUNG_FRAMES + 5


def test_fast_results_are_told_together(source: Source) -> None:
    answered(source)
    assert len(news(source)) == 1
    answered(source, SOON_S / 3)
    answered(source, SOON_S / 3)
    assert news(source) == []
    source.now_s += SOON_S
    (message,) = news(source)
    assert message.lately[0].frames == 3


def test_the_rate_is_that_of_a_second_however_often_it_is_told() -> None:
    tally = Tally()
    tally.metrics("job", "cam-1", 0, 0, 100.0)
    for at in range(1, 21):
        tally.on_result(0.1)
        told = tally.metrics("job", "cam-1", 0, 0, 100.0 + at * RATE_S / 4)
    assert told.fps == pytest.approx(4.0)


def test_an_error_alone_is_no_news(source: Source) -> None:
    """Before the first result there is no plan to tell of."""
    source.submit(deadline_s=OVERLOAD_S)
    source.wait(OVERLOAD_S)
    assert news(source) == []
