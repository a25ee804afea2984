"""One wrong expression in one function of the core, for a while.

    source of the function ─▶ `right` exchanged for `wrong` ─▶ compiled ─▶ put in its place ─▶ back

Invariant: outside `planted` the core is as it is written.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgeflow.errors import UsageError
from edgeflow.sim import run_seed


@dataclass(frozen=True, slots=True)
class Mutant:
    """One expression of the core, as it should not be."""

    place: str
    """module:Class.method, or module:function, below `edgeflow`."""
    right: str
    wrong: str
    violates: tuple[str, ...]
    """How violations begin that count as caught."""
    seed: int
    """The first one that catches it, as far as is known: the suite begins there."""
    groups: tuple[str, ...] = ()
    """Of faults; empty: all."""


def caught_by(mutant: Mutant, seed: int) -> str:
    """The violation that a seed shows of it; empty where it shows none."""
    with planted(mutant):
        outcome = run_seed(seed, groups=mutant.groups) if mutant.groups else run_seed(seed)
    violation = outcome.violation
    if violation.startswith("Traceback"):
        violation = f"Traceback: {violation.strip().splitlines()[-1]}"
    return violation if violation.startswith(mutant.violates) else ""


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The function, compiled from its source with one expression exchanged."""
    module_name, _, path = mutant.place.partition(":")
    module = importlib.import_module(f"edgeflow.{module_name}")
    owner_name, _, name = path.rpartition(".")
    owner: Any = getattr(module, owner_name) if owner_name else module
    original: Callable[..., object] = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(mutant.right) != 1:
        raise UsageError(
            f"{mutant.right!r} is not once in {mutant.place}: the core changed, so must the mutant"
        )
    body = "class Planted:\n" + textwrap.indent(source.replace(mutant.right, mutant.wrong), "    ")
    scope: dict[str, Any] = {}
    flags = compile("from __future__ import annotations", "", "exec").co_flags
    exec(compile(body, f"<mutant of {mutant.place}>", "exec", flags), module.__dict__, scope)
    bad = vars(scope["Planted"])[name]
    owners = [owner] if owner_name else _users(original, name)
    for each in owners:
        setattr(each, name, bad)
    try:
        yield
    finally:
        for each in owners:
            setattr(each, name, original)


def _users(function: Callable[..., object], name: str) -> list[Any]:
    """Every module of ours that knows a function by its name."""
    ours = [each for key, each in sys.modules.items() if key.startswith("edgeflow.")]
    return [each for each in ours if vars(each).get(name) is function]
