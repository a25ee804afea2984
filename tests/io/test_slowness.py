"""A node that is told to be slow is as slow beside busy neighbours as alone."""

from __future__ import annotations

import time

import pytest

from edgeflow.io.slowness import Work


def spin(cpu_s: float) -> None:
    """Compute for so long."""
    end_s = time.thread_time() + cpu_s
    while time.thread_time() < end_s:
        pass


def test_the_time_that_a_neighbour_took_is_not_stretched() -> None:
    work = Work(8.0)
    spin(0.01)
    time.sleep(0.03)  # somebody else has the core
    took_s = work.sleep(work.stretch())
    assert took_s == pytest.approx(0.08, abs=0.03)


def test_of_an_engine_with_threads_of_its_own_the_wall_clock_is_stretched() -> None:
    work = Work(4.0, alone=False)
    time.sleep(0.02)
    assert work.stretch() == 4.0
    assert work.sleep(work.stretch()) >= 0.08


def test_work_that_waited_longer_than_it_should_take_is_not_slowed_down() -> None:
    work = Work(2.0)
    time.sleep(0.03)
    assert work.stretch() == 1.0


def test_without_a_factor_nothing_is_stretched() -> None:
    work = Work()
    spin(0.002)
    assert work.stretch() == 1.0
