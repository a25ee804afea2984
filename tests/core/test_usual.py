"""When a frame is overdue."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from edgeflow.frames.usual import OVERDUE, Usual
from edgeflow.plans.heldplan import Way
from tests.core.test_explore import MIXED, OTHER, RUNNING


def after(*flights_s: float) -> Usual:
    usual = Usual()
    for flight_s in flights_s:
        usual.add(flight_s)
    return usual


def test_nothing_is_overdue_before_the_first_answer() -> None:
    assert not Usual().is_overdue(1e9)


def test_of_steady_frames_one_that_is_a_little_slower_is_not_overdue() -> None:
    usual = after(*[0.1] * 50)
    assert usual.seconds == pytest.approx(0.1)
    assert not usual.is_overdue(0.1 * OVERDUE - 0.001)
    assert usual.is_overdue(0.1 * OVERDUE + 0.001)


def test_of_noisy_frames_hardly_one_is_overdue_and_twice_the_usual_is() -> None:
    dice, usual, overdue = random.Random(1), Usual(), 0
    for _ in range(5000):
        flight_s = 0.1 * dice.gauss(1.0, 0.1)
        overdue += usual.is_overdue(flight_s)
        usual.add(flight_s)
    assert overdue <= 25, "one in 200"
    assert usual.is_overdue(0.2)


def test_one_bad_second_does_not_hide_the_next_one() -> None:
    usual = after(*[0.1] * 50)
    for _ in range(3):
        assert usual.is_overdue(0.3)
        usual.add(3.0)


def test_what_has_become_slower_for_good_is_usual_after_some_frames() -> None:
    usual = after(*[0.1] * 50, *[0.4] * 12)
    assert not usual.is_overdue(0.4)


def test_only_the_running_way_makes_what_is_usual_and_another_plan_starts_anew() -> None:
    usual = Usual()
    for _ in range(20):
        usual.count(RUNNING, 0.1)
        usual.count(OTHER, 0.9)
    assert usual.seconds == pytest.approx(0.1)
    later = replace(
        RUNNING.plan, id=replace(RUNNING.plan.id, seq=2), variants=(MIXED.line, RUNNING.line)
    )
    usual.count(Way(later, 0, MIXED.split, "cam-1"), 0.3)
    usual.count(RUNNING, 0.1)
    assert usual.seconds == 0.3, "a frame of the plan before says nothing any more"


def test_the_first_frame_says_little_of_the_second() -> None:
    assert not after(0.1).is_overdue(0.3)
    assert after(0.1).is_overdue(0.5)
