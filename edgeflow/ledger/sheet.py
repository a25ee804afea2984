"""The records of a ledger by frame: what the judge reads its figures from.

    submit, outcome, outcome, … of a frame ─▶ its first outcome by time; the others are duplicates
    outcome of no frame, or before its submit ─▶ unknown

Invariant: any order of the same records gives the same sheet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from edgeflow.ledger.records import AnyRecord, End, Expected, Head, Outcome, Submit, Torn


class Gap(Struct, frozen=True):
    """A time without a good answer."""

    after_s: float
    """From the first submit to its start."""
    long_s: float


class Use(Struct, frozen=True):
    """What a plan answered; first and last answer in seconds after the first submit."""

    answers: int
    first_s: float
    last_s: float


@dataclass(slots=True)
class Sheet:
    """The records by frame. A frame's first outcome counts."""

    submits: dict[int, Submit] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    expected: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    duplicated: int = 0
    unknown: int = 0
    torn: int = 0
    ended: bool = False
    first_s: float = 0.0
    """The first submit."""
    answered_s: float = 0.0
    """The last outcome of a frame that was submitted."""
    last_s: float = 0.0
    """The last record of all."""

    @classmethod
    def of(cls, records: Iterable[AnyRecord]) -> Sheet:
        """All of them, in any order."""
        sheet, outcomes = cls(), []
        for record in records:
            if isinstance(record, Outcome):
                outcomes.append(record)
            else:
                sheet._enter(record)
        # By time, not by line; what else is told apart decides a tie.
        outcomes.sort(key=lambda each: (each.at_s, each.code, each.sha256 or "", each.plan))
        for outcome in outcomes:
            submit = sheet.submits.get(outcome.frame)
            if submit is None or outcome.at_s < submit.at_s:
                sheet.unknown += 1
            elif sheet.outcomes.setdefault(outcome.frame, outcome) is not outcome:
                sheet.duplicated += 1
        sheet._set_times()
        return sheet

    def _enter(self, record: Head | Expected | Submit | End | Torn) -> None:
        match record:
            case Submit():
                self.submits[record.frame] = record
            case Expected():
                self.expected[record.input].add(record.sha256)
            case End():
                self.ended, self.last_s = True, max(self.last_s, record.at_s)
            case Torn():
                self.torn += 1
            case Head():
                pass  # says who and how; no figure depends on it

    def _set_times(self) -> None:
        submits_s = [submit.at_s for submit in self.submits.values()]
        self.first_s = min(submits_s, default=0.0)
        self.answered_s = max((each.at_s for each in self.outcomes.values()), default=self.first_s)
        self.last_s = max(self.last_s, self.answered_s, *submits_s)

    @property
    def results(self) -> list[tuple[Submit, Outcome]]:
        """Frames that are no error, by the time of their outcome."""
        found = [(self.submits[at], each) for at, each in self.outcomes.items() if not each.code]
        return sorted(found, key=lambda pair: (pair[1].at_s, pair[1].frame))

    def is_wrong(self, submit: Submit, outcome: Outcome) -> bool:
        """The right answers to its input are known, and this is another one."""
        return submit.input in self.expected and outcome.sha256 not in self.expected[submit.input]

    def inconsistent(self) -> int:
        """Inputs with several answers."""
        answers: defaultdict[str, set[str | None]] = defaultdict(set)
        for submit, outcome in self.results:
            answers[submit.input].add(outcome.sha256)
        return sum(len(found) > 1 for found in answers.values())

    def gaps(self, good_s: list[float]) -> list[Gap]:
        """Between good answers, before the first and after the last."""
        if not self.submits:
            return []
        marks_s = [self.first_s, *good_s, self.last_s]
        return [
            Gap(round(start_s - self.first_s, 6), round(end_s - start_s, 6))
            for start_s, end_s in pairwise(marks_s)
        ]

    def plans(self) -> dict[str, Use]:
        """What each plan answered."""
        times_s: defaultdict[str, list[float]] = defaultdict(list)
        for _, outcome in self.results:
            times_s[outcome.plan].append(round(outcome.at_s - self.first_s, 6))
        return {plan: Use(len(seen), seen[0], seen[-1]) for plan, seen in times_s.items()}
