"""What makes a list of steps lean: folded, merged, without dead ends, shortly named.

    pads ──▶ into convolutions      batch norms ──▶ into convolutions and linears
    sums ──▶ their biases           reshape, permute, reshape ──▶ channel shuffle
    reshape of reshape ──▶ reshape  patterns ──▶ the op that they are (`edgeflow.draft.patterns`)

Invariant: a pass takes steps in topological order and returns them so, with the same outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeflow.draft import norms, patterns
from edgeflow.draft.steps import Step
from edgeflow.model.graph import Array, Attribute

_FOLDS = {"conv2d": 0, "linear": 0, "conv_transpose2d": 1}
"""Where a batch norm may vanish, and which axis of the weight counts the output channels."""


@dataclass
class Program:
    """Steps and the tensors that must come out of them."""

    steps: list[Step]
    outputs: tuple[str, ...]

    def sole_reader(self) -> dict[str, bool]:
        """Whether a tensor is read once and is no output, by tensor."""
        reads = Counter(source for step in self.steps for source in step.inputs)
        return {name: n == 1 and name not in self.outputs for name, n in reads.items()}


def clean_up(program: Program) -> Program:
    """All passes, in the order in which they feed each other."""
    for step in (
        drop_dead,
        fold_pads,
        fold_batch_norms,
        fold_sums,
        merge_patterns,
        merge_group_norms,
        merge_shuffles,
        merge_reshapes,
        drop_dead,
        shorten_names,
    ):
        program = step(program)
    return program


def drop_dead(program: Program) -> Program:
    """Steps whose tensor nobody reads."""
    alive, kept = set(program.outputs), []
    for step in reversed(program.steps):
        if step.name in alive:
            kept.append(step)
            alive.update(step.inputs)
    return Program(kept[::-1], program.outputs)


def _fuse(program: Program, fuse: Callable[[Step, Step], Step | None]) -> Program:
    """Replace a step and the only reader of its tensor by `fuse(step, reader)`, where not None.

    The product keeps the reader's place and tensor.
    """
    alone, made = program.sole_reader(), dict[str, Step]()
    for step in program.steps:
        made[step.name] = step
        first = made.get(step.inputs[0])
        if first is None or len(step.inputs) != 1 or not alone[first.name]:
            continue
        product = fuse(first, step)
        if product is not None:
            del made[first.name]
            made[step.name] = product
    return Program(list(made.values()), program.outputs)


def fold_pads(program: Program) -> Program:
    """Zero padding in front of a convolution becomes its own, asymmetric if need be."""
    return _fuse(program, _fold_pad)


def _fold_pad(pad: Step, conv: Step) -> Step | None:
    if (pad.kind, conv.kind) != ("pad", "conv2d") or pad.attrs["mode"] != "constant":
        return None
    before, after = _ints(pad, "before"), _ints(pad, "after")
    planes = any(before[:2] + after[:2])
    if planes or pad.attrs["value"] != 0 or min(before + after) < 0:
        return None
    more = (*before[2:], *after[2:])
    padding = tuple(a + b for a, b in zip(_ints(conv, "padding"), more, strict=True))
    return replace(conv, inputs=pad.inputs, attrs={**conv.attrs, "padding": padding})


def _ints(step: Step, name: str) -> tuple[int, ...]:
    value = step.attrs[name]
    assert isinstance(value, tuple)
    return tuple(int(item) for item in value)


def _join(program: Program, fuse: Callable[[Step, Step], Step | None]) -> Program:
    """`_fuse`, with the product called after the first of the two."""
    names: dict[str, str] = {}

    def noted(first: Step, second: Step) -> Step | None:
        product = fuse(first, second)
        if product is not None:
            names[second.name] = names.pop(first.name, first.name)
        return product

    return renamed(_fuse(program, noted), names)


def fold_batch_norms(program: Program) -> Program:
    """A batch norm behind a convolution scales its weight and shifts its bias (in float64).

    The product is called after the convolution.
    """
    return _join(program, _fold_batch_norm)


def _fold_batch_norm(layer: Step, norm: Step) -> Step | None:
    if norm.kind != "batch_norm" or layer.kind not in _FOLDS:
        return None
    if layer.kind == "linear" and len(norm.output.shape) != 2:
        return None
    if layer.kind == "conv_transpose2d" and layer.attrs["groups"] != 1:
        return None
    weight, axis = layer.weights["weight"], _FOLDS[layer.kind]
    mean, var = (norm.weights[role].astype(np.float64) for role in ("mean", "var"))
    eps = norm.attrs["eps"]
    assert isinstance(eps, float)
    factor = norm.weights.get("scale", np.ones_like(mean)).astype(np.float64) / np.sqrt(var + eps)
    shift = norm.weights.get("shift", np.zeros_like(mean)).astype(np.float64) - mean * factor
    bias = layer.weights.get("bias", np.zeros_like(mean)).astype(np.float64) * factor + shift
    along = factor.reshape([-1 if index == axis else 1 for index in range(weight.ndim)])
    weights: dict[str, Array] = {
        "weight": (weight * along).astype(weight.dtype),
        "bias": bias.astype(weight.dtype),
    }
    return replace(layer, name=norm.name, weights=weights, output=norm.output)


def fold_sums(program: Program) -> Program:
    """A constant added to all that a convolution or a linear makes is its bias."""
    return _join(program, _fold_sum)


def _fold_sum(layer: Step, total: Step) -> Step | None:
    constant = total.weights.get("right", total.weights.get("left"))
    if total.kind != "add" or layer.kind not in _FOLDS or constant is None:
        return None
    rank = len(layer.output.shape)
    axis = rank - 1 if layer.kind == "linear" else 1
    sizes = (1,) * (rank - constant.ndim) + constant.shape
    if "bias" in layer.weights or layer.output.shape != total.output.shape:
        return None
    if sizes != tuple(d if at == axis else 1 for at, d in enumerate(layer.output.shape)):
        return None
    weights = {**layer.weights, "bias": constant.reshape(-1)}
    return replace(layer, name=total.name, weights=weights, output=total.output)


def merge_patterns(program: Program) -> Program:
    """What came in pieces, as the one op that it is."""
    steps, names = patterns.whole(program.steps, program.outputs)
    return _join(renamed(Program(steps, program.outputs), names), norms.affine)


def _fuse_three(
    program: Program, fuse: Callable[[Step, Step, Step], Step | None]
) -> tuple[Program, dict[str, str]]:
    """Replace three steps in a row by `fuse(…)`, where not None; the shortest of their names.

    Nobody else may read what the first two make. The product keeps the last one's place and tensor.
    """
    alone, made, names = program.sole_reader(), dict[str, Step](), dict[str, str]()
    for step in program.steps:
        made[step.name] = step
        middle = made.get(step.inputs[0])
        first = made.get(middle.inputs[0]) if middle else None
        if middle is None or first is None or not (alone[middle.name] and alone[first.name]):
            continue
        product = fuse(first, middle, step) if len(step.inputs) == 1 else None
        if product is not None:
            made[step.name] = product
            names[step.name] = min((first.name, middle.name, step.name), key=len)
    return drop_dead(Program(list(made.values()), program.outputs)), names


def merge_shuffles(program: Program) -> Program:
    """(N, g, C / g, H, W) transposed and flattened again is a channel shuffle by g."""
    return _fuse_three(program, _shuffle)[0]


def _shuffle(split: Step, permute: Step, flat: Step) -> Step | None:
    if not _is_shuffle(split, permute, flat):
        return None
    attrs: dict[str, Attribute] = {"groups": int(split.output.shape[1])}
    return replace(flat, kind="channel_shuffle", inputs=split.inputs, attrs=attrs)


def merge_group_norms(program: Program) -> Program:
    """A norm over rows that are groups, as the op that it is."""
    merged, names = _fuse_three(program, norms.regrouped)
    return _join(renamed(merged, names), norms.affine)


def _is_shuffle(split: Step, permute: Step, flat: Step) -> bool:
    kinds = (split.kind, permute.kind, flat.kind) == ("reshape", "permute", "reshape")
    if not kinds or _ints(permute, "axes") != (0, 2, 1, 3, 4):
        return False
    n, groups, each, *rest = split.output.shape
    return flat.output.shape == (n, int(groups) * int(each), *rest)


def merge_reshapes(program: Program) -> Program:
    """Of two reshapes in a row the last counts."""
    return _fuse(program, _merge_reshape)


def _merge_reshape(first: Step, second: Step) -> Step | None:
    if (first.kind, second.kind) != ("reshape", "reshape"):
        return None
    return replace(second, inputs=first.inputs)


def renamed(program: Program, names: dict[str, str]) -> Program:
    """With tensors, outputs among them, called by their new names."""
    steps = [step.renamed(names) for step in program.steps]
    return Program(steps, tuple(names.get(name, name) for name in program.outputs))


_PREFIXES = ("features.", "model.", "module.", "net.", "backbone.")
_SUFFIXES = (".conv", ".conv2d")


def shorten_names(program: Program) -> Program:
    """`features.stage1.unit1.conv1.conv` becomes `stage1.unit1.conv1`, where that stays unique."""
    names = [step.name for step in program.steps]
    sources = {source for step in program.steps for source in step.inputs}
    taken = set(names) | sources
    short: dict[str, str] = {}
    for name in names:
        wish = _short(name)
        if wish != name and wish and wish not in taken:
            taken.add(wish)
            short[name] = wish
    return renamed(program, short)


def _short(name: str) -> str:
    changed = True
    while changed:
        changed = False
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name, changed = name.removeprefix(prefix), True
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name
