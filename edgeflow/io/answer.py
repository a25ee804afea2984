"""What a submitter gets: a frame's one outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeflow.model.graph import Array


@dataclass(frozen=True, slots=True)
class Answer:
    """With its tensors; `code` is empty for a result."""

    code: str
    text: str
    outputs: Mapping[str, Array]
    seconds: float
    attempts: int
    plan: str
