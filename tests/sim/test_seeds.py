"""Histories under faults: no invariant is ever violated, and a seed is a history."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from edgeflow.sim import run_seed

BUDGET_S = float(os.environ.get("EDGEFLOW_SIM_SECONDS", "45"))
SEEDS_MIN = 100


@pytest.mark.timeout(600)
def test_no_seed_violates_an_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    started_s, seed, faults, results = time.monotonic(), 0, 0, 0
    while seed < SEEDS_MIN or time.monotonic() - started_s < BUDGET_S:
        outcome = run_seed(seed, nodes=3 + seed % 6)
        faults, results = faults + outcome.faults, results + outcome.results
        story = "\n".join(outcome.story[-80:])
        assert not outcome.violation, f"seed {seed}: {outcome.violation}\n{story}"
        seed += 1
    seconds = time.monotonic() - started_s
    with capsys.disabled():
        sys.stdout.write(
            f"\n{seed} seeds, {faults} faults, {results} results, 0 violations,"
            f" {seed / seconds:.1f} seeds/s\n"
        )
    assert faults > seed
    assert results > 10 * seed


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
