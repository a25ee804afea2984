"""How late this node's own loop is, and what that does to its time-outs."""

from __future__ import annotations

import pytest

from edgeflow.estimation.lag import HALF_S, LAG_S_MAX, SENT_MAX, USUAL_S, Lag


def test_a_loop_in_time_has_no_lag() -> None:
    lag = Lag()
    for number in range(20):
        assert lag.on_tick(number * 0.1) == pytest.approx(0.0)
    assert lag.seconds(2.0) == pytest.approx(0.0)


def test_a_loop_that_is_always_late_a_little_lags_so_much() -> None:
    lag, now_s = Lag(), 0.0
    for _ in range(50):
        now_s += 0.3
        lag.on_tick(now_s)
    assert lag.seconds(now_s) == pytest.approx(0.2)


def test_an_inbox_that_is_seconds_behind_shows_in_our_own_heartbeat() -> None:
    lag = Lag()
    lag.on_sent(1, 10.0)
    lag.on_sent(2, 11.0)
    assert lag.on_echo(1, 12.5)
    assert lag.seconds(12.5) == pytest.approx(2.5 - USUAL_S)


def test_a_heartbeat_on_its_usual_way_is_no_lag() -> None:
    lag = Lag()
    lag.on_sent(1, 10.0)
    assert lag.on_echo(1, 10.0 + USUAL_S)
    assert lag.seconds(10.1) == 0.0


def test_a_heartbeat_counts_once_and_never_after_a_later_one() -> None:
    lag = Lag()
    for seq in (1, 2, 3):
        lag.on_sent(seq, 10.0)
    assert lag.on_echo(2, 10.1)
    assert not lag.on_echo(2, 12.0)
    assert not lag.on_echo(1, 12.0)
    assert lag.seconds(12.0) == 0.0
    assert lag.on_echo(3, 12.0)


def test_one_that_takes_too_long_is_given_up() -> None:
    lag = Lag()
    for seq in range(SENT_MAX + 1):
        lag.on_sent(seq, float(seq))
    assert not lag.on_echo(0, 99.0)


def test_lag_rises_at_once_falls_slowly_and_has_a_cap() -> None:
    lag = Lag()
    lag.on_tick(0.0)
    lag.on_tick(1.1)
    assert lag.seconds(1.1) == pytest.approx(1.0)
    lag.on_tick(1.2)
    assert lag.seconds(1.1 + HALF_S) == pytest.approx(0.5)
    lag.on_tick(60.0)
    assert lag.seconds(60.0) == LAG_S_MAX
