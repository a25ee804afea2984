"""Planted bugs: each must be caught by some seed, or the simulator proves nothing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import pytest

from edgeflow.sim import run_seed

SEEDS_MAX = 60


@dataclass(frozen=True)
class Mutant:
    """One line of the core, as it should not be."""

    module: str
    owner: str
    method: str
    right: str
    wrong: str
    violates: tuple[str, ...]


MUTANTS = {
    "fence_lets_the_same_id_in_again": Mutant(
        "edgeflow.holding",
        "Holdings",
        "_apply",
        "not plan.id > fence",
        "not plan.id >= fence",
        ("F1",),
    ),
    "retained_claim_renews_a_lease": Mutant(
        "edgeflow.election",
        "Election",
        "on_leader",
        "if retained or message.beat",
        "if message.beat",
        ("E2",),
    ),
    "second_result_is_delivered_too": Mutant(
        "edgeflow.inflight",
        "Inflight",
        "_end",
        "self.frames.pop(frame.id, None)",
        "self.frames.get(frame.id, None)",
        ("D1", "Traceback"),
    ),
}


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The method, compiled from its source with one expression exchanged."""
    module: ModuleType = importlib.import_module(mutant.module)
    owner = getattr(module, mutant.owner)
    original: Callable[..., object] = getattr(owner, mutant.method)
    source = inspect.getsource(original)
    assert source.count(mutant.right) == 1, f"{mutant.right!r} is not in {mutant.method} any more"
    body = "class Planted:\n" + source.replace(mutant.right, mutant.wrong)
    scope: dict[str, object] = {}
    flags = compile("from __future__ import annotations", "", "exec").co_flags
    exec(compile(body, f"<mutant of {mutant.method}>", "exec", flags), module.__dict__, scope)  # noqa: S102
    setattr(owner, mutant.method, vars(scope["Planted"])[mutant.method])
    try:
        yield
    finally:
        setattr(owner, mutant.method, original)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    with planted(mutant):
        for seed in range(SEEDS_MAX):
            outcome = run_seed(seed)
            if outcome.violation.startswith(mutant.violates):
                print(f"{name}: seed {seed}: {outcome.violation}")
                return
    pytest.fail(f"{SEEDS_MAX} seeds did not notice {mutant.wrong!r}")
