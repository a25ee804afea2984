"""What a caller gets for a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeflow.io.answer import Answer
from edgeflow.model.graph import Array


@dataclass(frozen=True, slots=True)
class InferResult:
    """One frame's outcome."""

    index: int
    """In the order of submission."""
    outputs: Mapping[str, Array]
    """By the model's output names, read-only; empty with an error."""
    latency_s: float
    """From submit to outcome, on this node's clock."""
    attempts: int
    plan: str
    code: str = ""
    """Empty for a result, else the error's; README.md lists them."""
    text: str = ""

    @property
    def ok(self) -> bool:
        """It is a result."""
        return not self.code

    @property
    def output(self) -> Array:
        """The only output of a model that has one."""
        (array,) = self.outputs.values()
        return array


def result_of(index: int, found: Answer) -> InferResult:
    """A frame's outcome as its submitter sees it."""
    return InferResult(
        index, found.outputs, found.seconds, found.attempts, found.plan, found.code, found.text
    )
