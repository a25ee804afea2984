"""What came of each frame, compared with the undivided network.

An answer is right where it differs by no more than rounding (`difference.CLOSE`): all nodes run on
one machine with one thread, but a tile may be summed in another order than the whole map, and a
segment on another engine too. Whose bits differ at all are counted beside.

Invariant: a frame counts once as result, error or lost; a second outcome counts as a duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeflow.api import InferResult
from edgeflow.audit.difference import difference
from edgeflow.demo.pictures import Photograph, best_label
from edgeflow.model.graph import Array, Graph


@dataclass(frozen=True, slots=True)
class Seen:
    """One outcome, for the screen."""

    photograph: str
    label: str
    confidence: float
    result: InferResult


@dataclass(slots=True)
class Tally:
    """Counts over the live frames."""

    graph: Graph
    wholes: Mapping[str, Mapping[str, Array]]
    """By photograph: the outputs of the undivided network in this process."""
    submitted: int = 0
    results: int = 0
    errors: int = 0
    duplicates: int = 0
    mismatches: int = 0
    inexact: int = 0
    """Results of which any bit differs, the mismatches among them."""
    judged: int = 0
    """Results of photographs with an undisputed label that the network knows."""
    labels_right: int = 0
    retried: int = 0
    latencies_s: list[float] = field(default_factory=list)
    plans: Counter[str] = field(default_factory=Counter)
    error_texts: list[str] = field(default_factory=list)
    _answered: set[int] = field(default_factory=set)

    @property
    def lost(self) -> int:
        """Submitted, and never answered."""
        return self.submitted - len(self._answered)

    def count(self, photograph: Photograph, result: InferResult) -> Seen:
        """Take one outcome in."""
        if result.index in self._answered:
            self.duplicates += 1
        self._answered.add(result.index)
        if not result.ok:
            self.errors += 1
            self.error_texts.append(f"{result.code}: {result.text}")
            return Seen(photograph.name, result.code, 0.0, result)
        self.results += 1
        self.retried += result.attempts > 1
        self.latencies_s.append(result.latency_s)
        self.plans[result.plan] += 1
        whole = self.wholes[photograph.name]
        self.mismatches += not same(result.outputs, whole)
        self.inexact += not equal(result.outputs, whole)
        label, confidence = best_label(self.graph, result.output)
        if photograph.right and photograph.right in self.graph.labels:
            self.judged += 1
            self.labels_right += label == photograph.right
        return Seen(photograph.name, label, confidence, result)


def same(outputs: Mapping[str, Array], whole: Mapping[str, Array]) -> bool:
    """All outputs are there, and differ by rounding at most."""
    return outputs.keys() == whole.keys() and all(
        outputs[name].shape == array.shape
        and outputs[name].dtype == array.dtype
        and difference(outputs[name], array).is_close
        for name, array in whole.items()
    )


def equal(outputs: Mapping[str, Array], whole: Mapping[str, Array]) -> bool:
    """Bit for bit, as far as numbers tell."""
    return outputs.keys() == whole.keys() and all(
        np.array_equal(outputs[name], array) for name, array in whole.items()
    )


def quantile_ms(latencies_s: list[float], part: float) -> float:
    """The latency that `part` of the frames stay below, in ms; 0 without frames."""
    return round(float(np.quantile(latencies_s, part)) * 1e3, 1) if latencies_s else 0.0
