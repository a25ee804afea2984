"""Right things made wrong: bytes, and trees as JSON and msgpack have them.

    tree ─▶ one to three of: drop · odd value · another's value · twice · nested · renamed · added
    bytes ─▶ one of: bits flipped · cut · doubled · noise put in · spliced with another

Invariant: the same random source gives the same mutants; what comes in is never changed.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

Tree = Any
"""What a JSON document is in Python."""
Slot = tuple[Any, Any]
"""A container, and the key or index of one value in it."""

LONG = 3000
"""Letters of a long name: above every limit of a name or sentence, and many fit into a message."""
DEEP = 200
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 1 << 31, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, -(1 << 63), 0.0, -0.5, 0.5, 1e308, -1e308, 5e-324, "", " ", "\0", "é", "a/b",
    "../../etc/passwd", "#", "+", "-1", "NaN", "x" * LONG, "0" * 64, [], {}, [[]], [None], {"": {}},
)  # fmt: skip
"""Values that somebody forgot to think of."""


def bytes_of(chance: random.Random, raw: bytes, other: bytes = b"") -> bytes:
    """`raw` with one thing wrong; `other` is what it may be spliced with."""
    made = bytearray(raw or b"\0")
    at = chance.randrange(len(made))
    end = min(len(made), at + chance.randint(1, 64))
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 8)):
                made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        case 1:
            del made[at:]
        case 2:
            del made[at:end]
        case 3:
            made[at:at] = made[at:end] * chance.randint(1, 8)
        case 4:
            made[at:end] = chance.randbytes(chance.randint(1, 64))
        case _:
            made[at:] = other[chance.randrange(len(other)) :] if other else b""
    return bytes(made)


def tree_of(
    chance: random.Random, tree: Tree, other: Tree = None, odd: Sequence[Any] = ODD
) -> Tree:
    """`tree` with one to three things wrong; `other` lends values."""
    made = copy.deepcopy(tree)
    lent = [container[key] for container, key in slots(other)]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = slots(made)
        if not places:
            return chance.choice(odd)
        container, key = chance.choice(places)
        change = chance.choice(_CHANGES)
        change(chance, container, key, chance.choice(lent) if lent else None, odd)
    return made


def slots(tree: Tree) -> list[Slot]:
    """Every place of a value in a tree, the outer first."""
    found: list[Slot] = []
    open_ = [tree]
    while open_:
        container = open_.pop()
        if isinstance(container, dict | list):
            keys = list(container) if isinstance(container, dict) else list(range(len(container)))
            found += [(container, key) for key in keys]
            open_ += [container[key] for key in keys]
    return found


def _drop(_chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    del container[key]


def _oddly(chance: random.Random, container: Any, key: Any, _lent: Any, odd: Any) -> None:
    container[key] = copy.deepcopy(chance.choice(odd))


def _lend(_chance: random.Random, container: Any, key: Any, lent: Any, _odd: Any) -> None:
    container[key] = copy.deepcopy(lent)


def _retype(_chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    value = container[key]
    match value:
        case str():
            container[key] = [value]
        case bool() | None:
            container[key] = str(value)
        case int() | float():
            container[key] = str(value)
        case list():
            container[key] = {str(at): each for at, each in enumerate(value)}
        case dict():
            container[key] = list(value.values())
        case _:
            container[key] = None


def _negate(chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    value = container[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        container[key] = chance.choice((-value - 1, value + 1, value + 0.5))


def _double(_chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    if isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[f"{key}2"[:99]] = container[key]


def _nest(chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    value: Any = container[key]
    is_list = chance.random() < 0.5
    for _ in range(chance.choice((1, 3, DEEP))):
        value = [value] if is_list else {"a": value}
    container[key] = value


def _rename(chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    if isinstance(container, dict):
        value = container.pop(key)
        container[chance.choice((str(key).upper(), f"{key} ", "", "__class__", "v"))] = value
    else:
        container.append(container[key])


def _multiply(chance: random.Random, container: Any, key: Any, _lent: Any, _odd: Any) -> None:
    if isinstance(container[key], list):
        container[key] = (container[key] or [0]) * chance.choice((2, 300))


_CHANGES: tuple[Callable[[random.Random, Any, Any, Any, Any], None], ...] = (
    _drop, _oddly, _oddly, _oddly, _lend, _retype, _negate, _double, _nest, _rename, _multiply,
)  # fmt: skip
