"""Planted bugs: each must be caught by some seed, or the simulator proves nothing.

`scripts/bench mutants` plays many seeds of each and writes the table. Here each begins with a seed
that is known to catch it, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice

import pytest

from edgeflow.bench.planting.plant import caught_by, planted
from edgeflow.bench.planting.table import MUTANTS
from edgeflow.errors import UsageError

SEEDS_MAX = 40


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str, record_property: Callable[[str, object], None]) -> None:
    mutant = MUTANTS[name]
    for seed in islice(count(mutant.seed), SEEDS_MAX):
        if violation := caught_by(mutant, seed):
            record_property("caught", f"seed {seed}: {violation}")
            return
    pytest.fail(f"{SEEDS_MAX} seeds from {mutant.seed} on did not notice {mutant.wrong!r}")


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 20


def test_a_mutant_whose_place_changed_says_so() -> None:
    mutant = next(iter(MUTANTS.values()))
    gone = type(mutant)(mutant.place, "no such words", "", ("D",), 0)
    with pytest.raises(UsageError, match="the core changed"), planted(gone):
        pass
