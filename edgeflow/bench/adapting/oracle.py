"""What each plan takes under each condition, measured by hand in the same lab: the oracle.

    (model, condition, placement line) ─▶ milliseconds of some frames ─▶ median ─▶ the best
    close to the best                  ─▶ more frames, in another lab

It lies on disk as JSON and grows: what was measured once is not measured again, and what a policy
ran that nobody had thought of is added later.

Invariant: a table is of one machine; figures of another are refused.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeflow.errors import UsageError

FRAMES_MIN = 5
"""Frames that a median is made of, at least."""

CLOSE, FRAMES_SURE = 1.1, 24
"""A plan that comes so close to the best is measured again, so many frames of it, in another lab:
after a dozen it is chance which of two is the best, and whether the other is within 5 % of it."""

Times = dict[str, list[float]]


@dataclass(slots=True)
class Table:
    """See the module."""

    path: Path
    machine: str
    times_ms: dict[str, dict[str, Times]] = field(default_factory=dict)
    """Model -> condition -> line -> milliseconds."""

    @classmethod
    def load(cls, path: Path, machine: str) -> Table:
        """The table on disk, or an empty one. UsageError where it is of another machine."""
        if not path.exists():
            return cls(path, machine)
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if told["machine"] != machine:
            raise UsageError(
                f"{path} was measured on {told['machine']}: name another folder by --out"
            )
        return cls(path, machine, told["times_ms"])

    def add(self, model: str, condition: str, line: str, times_ms: list[float]) -> None:
        """More frames of a plan."""
        self._of(model, condition).setdefault(line, []).extend(round(ms, 2) for ms in times_ms)

    def save(self) -> None:
        """All or nothing."""
        beside = self.path.with_suffix(".new")
        beside.write_text(
            json.dumps({"machine": self.machine, "times_ms": self.times_ms}, indent=1)
        )
        beside.replace(self.path)

    def known(self, model: str, condition: str) -> frozenset[str]:
        """Lines that were measured often enough."""
        times = self._of(model, condition)
        return frozenset(line for line, each in times.items() if len(each) >= FRAMES_MIN)

    def seconds(self, model: str, condition: str, line: str) -> float | None:
        """Median of a plan; None where it was not measured."""
        times_ms = self._of(model, condition).get(line, [])
        return statistics.median(times_ms) / 1e3 if len(times_ms) >= FRAMES_MIN else None

    def ranking(self, model: str, condition: str) -> list[tuple[float, str]]:
        """(median seconds, line) of all that were measured, the best first."""
        lines = self.known(model, condition)
        return sorted((self.seconds(model, condition, line) or 0.0, line) for line in lines)

    def unsure(self, model: str, condition: str) -> tuple[str, ...]:
        """The best and what comes close to it, as far as they were measured too seldom; none where
        the best stands alone."""
        ranking, times = self.ranking(model, condition), self._of(model, condition)
        close = [line for seconds, line in ranking if seconds <= CLOSE * ranking[0][0]]
        seldom = [line for line in close if len(times[line]) < FRAMES_SURE]
        return tuple(seldom) if len(close) > 1 else ()

    def best_s(self, model: str, condition: str) -> float | None:
        """Median of the best plan; None where none was measured."""
        ranking = self.ranking(model, condition)
        return ranking[0][0] if ranking else None

    def _of(self, model: str, condition: str) -> Times:
        return self.times_ms.setdefault(model, {}).setdefault(condition, {})
