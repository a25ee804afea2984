"""Planted bugs: each must be caught by some seed, or the simulator proves nothing."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from edgeflow.sim import run_seed

SEEDS_MAX = 60


@dataclass(frozen=True)
class Mutant:
    """One expression of the core, as it should not be. `place` is module:Class.method."""

    place: str
    right: str
    wrong: str
    violates: tuple[str, ...]


MUTANTS = {
    "the fence lets the same id in again": Mutant(
        "holding:Holdings._apply", "not plan.id > fence", "not plan.id >= fence", ("F1",)
    ),
    "a retained claim renews a lease": Mutant(
        "election:Election.on_leader", "if retained or message.beat", "if message.beat", ("E2",)
    ),
    "a duplicate heartbeat is a sign of life": Mutant(
        "membership:Membership.on_load", "message.seq <= peer.load.seq", "False", ("E2",)
    ),
    "the will of an old connection counts": Mutant(
        "membership:Membership.on_state",
        "peer is None or message.connection < peer.connection",
        "peer is None",
        ("E3",),
    ),
    "a second result is delivered too": Mutant(
        "outcome:Outcomes.end",
        "self.frames.pop(frame.id, None)",
        "self.frames.get(frame.id, None)",
        ("D1", "Traceback"),
    ),
    "frames are computed only once COMMIT was heard": Mutant(
        "holding:Holdings.ready",
        'held.step != "ready"',
        'held.step != "ready" or held.plan.id != self.committed.get(held.plan.deployment)',
        ("R1",),
    ),
    "a plan is retired as soon as a newer one is prepared": Mutant(
        "holding:Holdings._is_over",
        "board.committed is not None and held.plan.id < board.committed.id",
        "named and held.plan.id < max(plan.id for plan in named)",
        ("R1",),
    ),
    "a tile runs before its halo is there": Mutant(
        "stage:Stage.on_frame",
        "len(work.got) < len(segment.inputs)",
        "len({patch.name for patch in work.got}) < len({patch.name for patch in segment.inputs})",
        ("Traceback",),
    ),
    "a result is delivered without one of its tiles": Mutant(
        "inflight:Inflight._on_outputs",
        "set(attempt.got) != attempt.way.split.outputs",
        "{p.name for p in attempt.got} != {p.name for p in attempt.way.split.outputs}",
        ("Traceback",),
    ),
    "what waited too long is run all the same": Mutant(
        "stage:Stage.next", "if now_s >= work.expires_s:", "if False:", ("D5",)
    ),
}


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The method, compiled from its source with one expression exchanged."""
    module_name, _, path = mutant.place.partition(":")
    class_name, _, method = path.partition(".")
    module = importlib.import_module(f"edgeflow.{module_name}")
    owner = getattr(module, class_name)
    original: Callable[..., object] = getattr(owner, method)
    source = inspect.getsource(original)
    assert source.count(mutant.right) == 1, f"{mutant.right!r} is not in {mutant.place} any more"
    body = "class Planted:\n" + textwrap.indent(
        textwrap.dedent(source.replace(mutant.right, mutant.wrong)), "    "
    )
    scope: dict[str, object] = {}
    flags = compile("from __future__ import annotations", "", "exec").co_flags
    exec(compile(body, f"<mutant of {mutant.place}>", "exec", flags), module.__dict__, scope)
    setattr(owner, method, vars(scope["Planted"])[method])
    try:
        yield
    finally:
        setattr(owner, method, original)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str, record_property: Callable[[str, object], None]) -> None:
    mutant = MUTANTS[name]
    with planted(mutant):
        for seed in range(SEEDS_MAX):
            outcome = run_seed(seed, nodes=3 + seed % 6)
            if outcome.violation.startswith(mutant.violates):
                record_property("caught", f"seed {seed}: {outcome.violation}")
                return
    pytest.fail(f"{SEEDS_MAX} seeds did not notice {mutant.wrong!r}")
