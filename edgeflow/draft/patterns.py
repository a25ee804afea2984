"""Ops that came in pieces and go on whole: silu, hardswish, gelu, layer norm.

    x ──▶ sigmoid ──▶ mul ──▶        becomes        x ──▶ silu ──▶
    └─────────────────▲

A pattern is an expression. A name in it stands for any tensor, the same at each place; a number for
a constant, and a `Number` for any constant, remembered. add and mul take their sides either way; to
divide by a constant is a product.

Invariant: what is replaced is read by nobody else, and the product computes the same to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from edgeflow.draft.steps import Step
from edgeflow.model.graph import Attribute

CLOSE = 1e-5
"""Relative: constants are written with seven digits."""


@dataclass(frozen=True, slots=True)
class Number:
    """Any constant, called so."""

    name: str


@dataclass(frozen=True, slots=True)
class Made:
    """What an op of this kind makes of its parts."""

    kind: str
    parts: tuple[Part, ...]
    attrs: Mapping[str, float] = field(default_factory=dict)
    """Those that must be so; of others nothing is said."""


Part = str | float | Number | Made


def _made(kind: str) -> Callable[..., Made]:
    return lambda *parts, **attrs: Made(kind, parts, attrs)


add, sub, mul, div = (_made(kind) for kind in ("add", "sub", "mul", "div"))
sigmoid, hardsigmoid, clamp, erf, tanh, mean, sqrt = (
    _made(kind) for kind in ("sigmoid", "hardsigmoid", "clamp", "erf", "tanh", "mean", "sqrt")
)

_RAMP = clamp(add("x", 3.0), low=0.0, high=6.0)
_ERF = add(erf(mul("x", math.sqrt(0.5))), 1.0)
_CUBE = add("x", mul(mul(mul("x", "x"), "x"), 0.044715))
_TANH = add(tanh(mul(_CUBE, math.sqrt(2 / math.pi))), 1.0)
_AWAY = sub("x", mean("x"))
_SPREAD = sqrt(add(mean(mul(_AWAY, _AWAY)), Number("eps")))


@dataclass(slots=True)
class Found:
    """What the parts of a pattern turned out to be."""

    tensors: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    """All that the product replaces, by name, the last op too."""

    def copy(self) -> Found:
        """To try one way, and then another."""
        return Found(dict(self.tensors), dict(self.numbers), dict(self.steps))


Attrs = Callable[[Found], dict[str, Attribute] | None]
"""Those of the product; None where it would not be the same after all."""


def _none(found: Found) -> dict[str, Attribute]:
    return {}


def _halves(gate: Made) -> tuple[Made, ...]:
    """x / 2 · gate, in the orders in which people write it."""
    return (
        mul(mul("x", gate), 0.5),
        mul(mul("x", 0.5), gate),
        mul("x", mul(gate, 0.5)),
    )


def _gelu(approximate: str) -> Attrs:
    return lambda found: {"approximate": approximate}


def _layer_norm(found: Found) -> dict[str, Attribute] | None:
    """All means must go over the same last dimensions, and keep them."""
    means = [step for step in found.steps.values() if step.kind == "mean"]
    rank, dims = len(means[0].output.shape), len(_axes(means[0]))
    last = tuple(range(rank - dims, rank))
    if any(_axes(step) != last or not step.attrs["keepdim"] for step in means):
        return None
    return {"dims": dims, "eps": found.numbers["eps"]}


def _axes(step: Step) -> tuple[int, ...]:
    axes = step.attrs["axes"]
    assert isinstance(axes, tuple)
    return tuple(sorted(int(axis) for axis in axes))


PATTERNS: tuple[tuple[str, tuple[Made, ...], Attrs], ...] = (
    ("hardswish", (mul(mul("x", _RAMP), 1 / 6),), _none),
    ("hardsigmoid", (mul(_RAMP, 1 / 6),), _none),
    ("hardswish", (mul("x", hardsigmoid("x")),), _none),
    ("silu", (mul("x", sigmoid("x")),), _none),
    ("gelu", _halves(_ERF), _gelu("none")),
    ("gelu", _halves(_TANH), _gelu("tanh")),
    ("layer_norm", (div(_AWAY, _SPREAD),), _layer_norm),
)
"""Kind of the product, the ways to write it, its attributes; in the order of trial."""


def whole(steps: list[Step], outputs: tuple[str, ...]) -> tuple[list[Step], dict[str, str]]:
    """The steps with every pattern replaced, and the new names of tensors whose name changed."""
    names: dict[str, str] = {}
    for kind, ways, attrs in PATTERNS:
        made, readers = {step.name: step for step in steps}, _readers(steps)
        for step in steps:
            for way in ways if step.name in made else ():
                found = _at(way, step, made)
                wanted = attrs(found) if found else None
                if not found or wanted is None or not _is_closed(found, step, readers, outputs):
                    continue
                for name in found.steps.keys() - {step.name}:
                    del made[name]
                source = found.tensors["x"]
                made[step.name] = Step(step.name, kind, (source,), {}, wanted, step.output)
                readers[source].add(step.name)
                names[step.name] = min(found.steps, key=len)
                break
        steps = list(made.values())
    return steps, {old: new for old, new in names.items() if old != new}


def _readers(steps: list[Step]) -> dict[str, set[str]]:
    readers: dict[str, set[str]] = {}
    for step in steps:
        for source in step.inputs:
            readers.setdefault(source, set()).add(step.name)
    return readers


def _is_closed(
    found: Found, last: Step, readers: dict[str, set[str]], outputs: tuple[str, ...]
) -> bool:
    """Does nobody outside read what lies inside?"""
    inner = found.steps.keys() - {last.name}
    return not any(
        name in outputs or not readers.get(name, set()) <= found.steps.keys() for name in inner
    )


def _at(way: Made, step: Step, made: dict[str, Step]) -> Found | None:
    """What the pattern's parts are, where it ends in this step."""
    fits = list(_match(way, step.name, made, Found()))
    return fits[0] if fits and fits[0].tensors["x"] not in fits[0].steps else None


def _match(
    part: Part, operand: str | float, made: dict[str, Step], found: Found
) -> Iterator[Found]:
    if isinstance(part, Made):
        step = made.get(operand) if isinstance(operand, str) else None
        if step is not None and _is_like(part, step):
            yield from _match_parts(part, step, made, found)
    elif isinstance(part, str):
        if isinstance(operand, str) and found.tensors.get(part, operand) == operand:
            new = found.copy()
            new.tensors[part] = operand
            yield new
    elif isinstance(operand, float):
        if isinstance(part, float) and math.isclose(part, operand, rel_tol=CLOSE):
            yield found
        elif isinstance(part, Number) and found.numbers.get(part.name, operand) == operand:
            new = found.copy()
            new.numbers[part.name] = operand
            yield new


def _is_like(part: Made, step: Step) -> bool:
    as_product = part.kind == "mul" and step.kind == "div" and _constant(step, "right") is not None
    given = step.attrs
    if not (part.kind == step.kind or as_product):
        return False
    return all(given.get(name) == value for name, value in part.attrs.items())


def _match_parts(part: Made, step: Step, made: dict[str, Step], found: Found) -> Iterator[Found]:
    operands = _operands(step)
    if len(operands) != len(part.parts):
        return
    orders = [operands]
    if part.kind in ("add", "mul") and len(operands) == 2:
        orders.append(operands[::-1])
    for order in orders:
        new = found.copy()
        new.steps[step.name] = step
        ways = [new]
        for piece, operand in zip(part.parts, order, strict=True):
            ways = [fit for way in ways for fit in _match(piece, operand, made, way)]
        yield from ways


def _operands(step: Step) -> list[str | float]:
    """Tensors and constants from left to right; a constant of many numbers is NaN."""
    left, right = _constant(step, "left"), _constant(step, "right")
    if step.kind == "div" and right is not None:
        right = 1 / right if right else math.nan
    before = [] if left is None else [left]
    return [*before, *step.inputs, *([] if right is None else [right])]


def _constant(step: Step, side: str) -> float | None:
    value = step.attrs.get(side)
    if isinstance(value, int | float):
        return float(value)
    weight = step.weights.get(side)
    if weight is None:
        return None
    alone = weight.size == 1 and weight.ndim <= len(step.output.shape)
    return float(weight.item()) if alone else math.nan
