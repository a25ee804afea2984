"""Histories under faults: no invariant is ever violated, and a seed is a history."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from edgeflow.sim import Outcome, run_seed
from edgeflow.sim.script import ALL, GROUPS

BUDGET_S = float(os.environ.get("EDGEFLOW_SIM_SECONDS", "30"))
"""For each half of the seeds, so that two processes share them."""
SEEDS_MIN = 30


def sound(outcome: Outcome) -> Outcome:
    """The outcome, or a failed test with its story."""
    lines = [*map(str, outcome.script), *outcome.story[-80:]]
    assert not outcome.violation, "\n".join([f"seed {outcome.seed}: {outcome.violation}", *lines])
    return outcome


@pytest.mark.timeout(600)
@pytest.mark.parametrize("half", [0, 1])
def test_no_seed_violates_an_invariant(half: int, capsys: pytest.CaptureFixture[str]) -> None:
    started_s, played, faults, results = time.monotonic(), 0, 0, 0
    while played < SEEDS_MIN or time.monotonic() - started_s < BUDGET_S:
        outcome = sound(run_seed(2 * played + half))
        faults, results = faults + outcome.faults, results + outcome.results
        played += 1
    seconds = time.monotonic() - started_s
    with capsys.disabled():
        sys.stdout.write(
            f"\n{played} seeds, {faults} faults, {results} results, 0 violations,"
            f" {played / seconds:.1f} seeds/s\n"
        )
    assert faults > played
    assert results > 10 * played


@pytest.mark.parametrize("group", ALL)
def test_each_group_of_faults_is_survived_alone(group: str) -> None:
    for seed in (1000, 1001):
        assert sound(run_seed(seed, groups=(group,))).faults > 3


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_the_broker_alone_changes_no_leader_and_costs_no_frame(seed: int) -> None:
    outcome = sound(run_seed(seed, groups=("broker-loss",)))
    assert outcome.results > 50
    assert not outcome.errors


@pytest.mark.parametrize("seed", range(4))
def test_plan_switches_alone_cost_no_frame(seed: int) -> None:
    outcome = sound(run_seed(seed, groups=("switch",)))
    assert outcome.results > 50
    assert not outcome.errors


def test_every_kind_of_fault_has_somebody_who_makes_it() -> None:
    from edgeflow.sim.history import History

    history = History(0, 4, script=())
    known = history.faults.kinds()
    assert {kind for kinds in GROUPS.values() for kind in kinds} == set(known)


def test_the_same_seed_gives_the_same_history_in_another_process() -> None:
    program = (
        "from edgeflow.sim.history import History;"
        "h = History(5, 7); h.play(); j = h.world.judge;"
        "import hashlib; story = '|'.join(j.story());"
        "import sys; sys.stdout.write(f'{j.events} {j.results}'"
        " + hashlib.sha256(story.encode()).hexdigest())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1]
