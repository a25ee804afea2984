"""What was built for plans that are over stays a while, where there is room."""

from __future__ import annotations

from edgeflow.events import DropSegment, SegmentKey
from edgeflow.plans.leftovers import LEFT_MAX, LINGER_S, Leftovers

KEYS = [SegmentKey(f"{at:064d}", 0, 0) for at in range(LEFT_MAX + 3)]
FREE, MEMORY = 1 << 30, 2 << 30


def test_what_was_built_stays_for_a_while() -> None:
    left = Leftovers()
    left.add(KEYS[:2])
    assert left.tick(FREE, MEMORY, 100.0) == []
    assert left.tick(FREE, MEMORY, 99.9 + LINGER_S) == []
    assert left.tick(FREE, MEMORY, 100.0 + LINGER_S) == [DropSegment(key) for key in KEYS[:2]]
    assert left.tick(FREE, MEMORY, 101.0 + LINGER_S) == []


def test_a_machine_that_is_short_of_memory_keeps_nothing() -> None:
    left = Leftovers()
    left.add(KEYS[:1])
    assert left.tick(FREE, MEMORY, 1.0) == []
    assert left.tick(MEMORY // 5, MEMORY, 2.0) == [DropSegment(KEYS[0])]


def test_where_nobody_knows_what_is_free_nothing_is_kept() -> None:
    left = Leftovers()
    left.add(KEYS[:1])
    assert left.tick(0, 0, 1.0) == [DropSegment(KEYS[0])]


def test_the_oldest_go_where_there_are_too_many() -> None:
    left = Leftovers()
    left.add(KEYS[:3])
    left.tick(FREE, MEMORY, 1.0)
    left.add(KEYS[3:])
    assert left.tick(FREE, MEMORY, 2.0) == [DropSegment(key) for key in KEYS[:3]]
