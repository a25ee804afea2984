"""The steps themselves: an op with its weights in hand, and what collects them.

nodes ──convert──▶ Builder.steps ──passes──▶ steps ──finish──▶ Graph
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight
from edgeflow.model.ops import infer, opset_of
from edgeflow.modelfile import array_sha256

PASSING = {"erf": "tanh"}
"""Kinds that no Graph has: a pattern must take them (`edgeflow.draft.patterns`). Each has the shape
of the kind beside it."""


@dataclass
class Step:
    """An op with its weights in hand."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: dict[str, Array]
    attrs: dict[str, Attribute]
    output: Contract

    def renamed(self, names: Mapping[str, str]) -> Step:
        """The same with tensors called by their new names."""
        name = names.get(self.name, self.name)
        inputs = tuple(names.get(source, source) for source in self.inputs)
        return replace(self, name=name, inputs=inputs, output=replace(self.output, name=name))


@dataclass
class Builder:
    """Collects steps; each gets a unique name near the one asked for."""

    inputs: list[Contract] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    contracts: dict[str, Contract] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    place: str = ""
    """Where in the model the node stands that is being converted."""

    def add_input(self, contract: Contract) -> str:
        """A tensor that the user brings."""
        name = self._unique(contract.name)
        self.inputs.append(replace(contract, name=name))
        self.contracts[name] = self.inputs[-1]
        return name

    def emit(
        self,
        kind: str,
        inputs: Iterable[str],
        attrs: Mapping[str, Attribute] | None = None,
        weights: Mapping[str, Array | None] | None = None,
    ) -> str:
        """Append a step; returns the name of its tensor."""
        name = self._unique(self.place or kind)
        sources = tuple(inputs)
        arrays = {role: array for role, array in (weights or {}).items() if array is not None}
        known = {role: Contract(role, a.dtype.name, a.shape) for role, a in arrays.items()}
        try:
            contracts = tuple(self.contracts[source] for source in sources)
            dtype, shape = infer(PASSING.get(kind, kind), attrs or {}, contracts, known)
        except ValueError as error:
            raise ModelError(f"cannot make {name} ({kind}): {error}") from None
        output = Contract(name, dtype, shape)
        self.contracts[name] = output
        self.steps.append(Step(name, kind, sources, arrays, dict(attrs or {}), output))
        return name

    def _unique(self, wish: str) -> str:
        base = clean(wish)
        name, count = base, self._counts.get(base, 1)
        while name in self.contracts:
            count += 1
            name = f"{base}_{count}"
        self._counts[base] = count
        return name


def clean(wish: str) -> str:
    """A legal name near `wish`: `_blocks.0._conv` becomes `blocks.0.conv`."""
    parts = (re.sub(r"[^A-Za-z0-9_]", "_", part).strip("_") for part in wish.split("."))
    return ".".join(part for part in parts if part)[:150].strip(".") or "op"


def finish(
    name: str,
    inputs: Iterable[Contract],
    steps: Iterable[Step],
    outputs: tuple[str, ...],
    recipe: Mapping[str, Any] | None = None,
    labels: Iterable[str] = (),
) -> Graph:
    """The Graph of these steps; weights are named `<op>.<role>`.

    ModelError where one is of a kind that only patterns take.
    """
    ops, weights, arrays = [], {}, {}
    for step in steps:
        if step.kind in PASSING:
            raise ModelError(f"{step.name}: {step.kind} is in the op set only as a part of gelu")
        roles = {}
        for role, array in step.weights.items():
            roles[role] = f"{step.name}.{role}"
            little = np.ascontiguousarray(array).reshape(array.shape)
            arrays[roles[role]] = little
            weights[roles[role]] = Weight(
                roles[role], array.dtype.name, array.shape, array_sha256(array)
            )
        ops.append(Op(step.name, step.kind, step.inputs, roles, step.attrs, step.output))
    return Graph(
        name=name,
        opset=opset_of(ops),
        inputs=tuple(inputs),
        outputs=outputs,
        ops=tuple(ops),
        weights=weights,
        recipe=dict(recipe or {}),
        labels=tuple(labels),
        arrays=arrays,
    )
