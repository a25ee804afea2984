"""Norms put together again: what files spell as a norm, a product and a sum.

    layer norm ─▶ mul ─▶ add                              ──▶ layer norm with scale and shift
    reshape ─▶ norm of every row ─▶ reshape ─▶ mul ─▶ add ──▶ group norm with scale and shift

Invariant: what is replaced is read by nobody else, and the product computes the same to rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgeflow.draft.steps import Step
from edgeflow.model.graph import Array


def affine(norm: Step, step: Step) -> Step | None:
    """A product or a sum behind a norm becomes its scale or its shift."""
    role = {"mul": "scale", "add": "shift"}.get(step.kind)
    weight = step.weights.get("right", step.weights.get("left"))
    if role is None or weight is None or step.output.shape != norm.output.shape:
        return None
    if role in norm.weights or "shift" in norm.weights or norm.kind not in _WEIGHT_SHAPES:
        return None
    shape = _WEIGHT_SHAPES[norm.kind](norm)
    padded = (1,) * (len(norm.output.shape) - weight.ndim) + weight.shape
    if padded != shape:
        return None
    flat = [dim for dim in shape if dim != 1] if norm.kind == "group_norm" else _last(norm)
    weights = {**norm.weights, role: weight.reshape(flat or [1])}
    return replace(norm, name=step.name, weights=weights, output=step.output)


def _last(norm: Step) -> list[int]:
    dims = norm.attrs["dims"]
    assert isinstance(dims, int)
    return [int(dim) for dim in norm.output.shape[len(norm.output.shape) - dims :]]


def _of_layer(norm: Step) -> tuple[int, ...]:
    last = _last(norm)
    return (1,) * (len(norm.output.shape) - len(last)) + tuple(last)


def _of_group(norm: Step) -> tuple[int, ...]:
    return tuple(int(dim) if axis == 1 else 1 for axis, dim in enumerate(norm.output.shape))


_WEIGHT_SHAPES = {"layer_norm": _of_layer, "group_norm": _of_group}
"""What a scale looks like beside the norm's output."""


def regrouped(split: Step, norm: Step, back: Step) -> Step | None:
    """Groups laid out as rows, each normed by itself, and laid back."""
    kinds = (split.kind, norm.kind, back.kind) == ("reshape", "group_norm", "reshape")
    if not kinds or len(split.output.shape) != 3 or len(back.output.shape) < 3:
        return None
    (n, groups, row), shape = split.output.shape, back.output.shape
    assert isinstance(groups, int)
    assert isinstance(row, int)
    fits = norm.attrs["groups"] == groups and shape[0] == n and int(shape[1]) % groups == 0
    neutral = _is_all(norm.weights.get("scale"), 1) and _is_all(norm.weights.get("shift"), 0)
    if not (fits and neutral and math.prod(int(dim) for dim in shape[1:]) == groups * row):
        return None
    attrs = {"groups": groups, "eps": norm.attrs["eps"]}
    return Step(back.name, "group_norm", split.inputs, {}, {**attrs}, back.output)


def _is_all(weight: Array | None, value: float) -> bool:
    return weight is None or bool((weight == value).all())
