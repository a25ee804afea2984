"""Cuts that are tried on real frames, one after the other; no cost model chooses among them.

    a plan is needed ─▶ open: trying one ──measured, or it cannot be prepared──▶ trying the next
                          ^                                        nothing left to try │
                          │                                                            ▼
                          └──drifted by DRIFT, another server──── settled on the best ◀┘

A trial is a switch like any other: prepared first, so that no frame is lost. Where what was asked
for is not what runs in the end, it could not be prepared, and counts as infinite. Of frames that
nobody sends nothing is learned: a search waits for them. One flies at a time
(`edgeflow.frames.pace`), so that none takes longer for those that a slow trial left behind. A
search that ends where it began was in vain, and the next one waits for twice as many frames.

Invariant: where a plan breaks, the best cut that is known and works stands in.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from edgeflow.errors import EdgeflowError
from edgeflow.planning import PlanningError, Proposal
from edgeflow.policy.cuts import Cuts
from edgeflow.policy.placed import placed
from edgeflow.policy.question import Choice, Question

DRIFT = 0.25
"""A settled cut is doubted once its frames take so much more than they did, or were so much more.
Lower searches again because of noise; higher keeps a cut that is not the best any more."""
DRIFT_FRAMES = 5
"""The median of so many frames tells."""
REST_FRAMES, REST_FRAMES_MAX = 5, 320
"""A settled search is not opened again before so many frames; twice as many after one in vain."""
LATE_S = 20.0
"""A trial that answers nothing for so long while frames wait counts as that long."""
IDLE_S = 10.0
"""A search that no frame fed for so long lets what stands in for lost nodes be prepared."""


@dataclass(slots=True)
class Search(ABC):
    """Of one deployment; which cut is next and how many frames it gets is left to its heirs."""

    name = "search"
    measures = True

    cuts: Cuts | None = None
    took_s: dict[int, float] = field(default_factory=dict)
    """Measured seconds of each cut that was tried, in that order; infinite where it failed."""
    is_open: bool = True
    asked: int | None = None
    """The cut that is wanted to run; None: nothing was asked for yet."""
    before: int | None = None
    """What was settled on before the search was opened again."""
    expected_s: float = 0.0
    """What frames of the settled cut took; 0: not known yet."""
    frames: int = 0
    """Measured since the search was opened."""
    counted: tuple[str, int] = ("", 0)
    """A plan, and how many of its frames do not count: they came before the trial."""
    counted_s: float = -math.inf
    """Since when its frames count, or could be sent at all."""
    rest_frames: int = REST_FRAMES
    fed_s: float = -math.inf
    """When something was learned last."""
    nodes: frozenset[str] = frozenset()
    generation: int = 0

    @abstractmethod
    def enough(self, taken_s: Sequence[float]) -> bool:
        """Whether so many frames tell what the cut takes."""

    @abstractmethod
    def following(self) -> int | None:
        """What to try next; None where enough is known."""

    def late_s(self) -> float:
        """How long a trial may leave frames waiting without an answer."""
        return LATE_S

    def first(self, question: Question) -> Proposal:
        """The best that is known, or what is tried first; PlanningError where nothing works."""
        found, nodes = Cuts.of(question, question.shunned), frozenset(question.cluster.nodes)
        if self.cuts is None or found.lines != self.cuts.lines:
            self._open(found)
        elif self.asked is not None and self.generation == question.spec.generation:
            self.took_s.setdefault(self.asked, math.inf)
        self.nodes, self.generation = nodes, question.spec.generation
        for place in self._known():
            if (proposal := self._proposal(question, place)) is not None:
                self.asked = place
                return proposal
        choice = self._ask(question, None)
        if choice is None:
            raise PlanningError(f"{self.name}: none of {len(found.lines)} cuts can be run")
        return choice.proposal

    def review(self, question: Question) -> Choice | None:
        """The next trial, or the best once all is tried."""
        assert question.plan is not None
        self._look_around(question)
        assert self.cuts is not None
        running = self.cuts.place_of(question.plan.variants[0])
        taken_s = self._taken_s(question)
        if question.is_draining:
            self.counted_s = question.now_s  # the trial's own frames are not sent yet
        if self.asked is None:
            pass
        elif running != self.asked:
            self.took_s[self.asked] = math.inf
        elif self.is_open:
            is_late = not taken_s and question.waiting > 0
            waited_s = question.now_s - max(question.since_s, self.counted_s)
            if is_late and waited_s > self.late_s():
                taken_s = (waited_s,)
            elif not self.enough(taken_s):
                return None
            self.took_s[self.asked] = median(taken_s)
            self.frames, self.fed_s = self.frames + len(taken_s), question.now_s
        elif self._has_drifted(question, taken_s):
            self._reopen(question)
            return None
        else:
            return None
        return self._ask(question, running)

    def is_searching(self, now_s: float) -> bool:
        """Whether what runs is only tried, and frames come."""
        return self.is_open and now_s - self.fed_s < IDLE_S

    def _look_around(self, question: Question) -> None:
        """Another server may be better where nodes came or went."""
        nodes = frozenset(question.cluster.nodes)
        if self.cuts is None or nodes != self.nodes:
            found = Cuts.of(question)
            if self.cuts is None or found.lines != self.cuts.lines:
                self._open(found)
            self.nodes, self.generation = nodes, question.spec.generation

    def _open(self, found: Cuts) -> None:
        """Nothing is known of these."""
        self.cuts, self.took_s, self.is_open, self.frames = found, {}, True, 0
        self.asked = self.before = None
        self.rest_frames = REST_FRAMES

    def _reopen(self, question: Question) -> None:
        """Nothing is known any more, nor of the cut that runs: the frames that told of the drift
        came while things changed, some before and some after."""
        self.took_s, self.before, self.frames = {}, self.asked, 0
        self.is_open, self.fed_s = True, question.now_s
        self._count_from_now(question)

    def _ask(self, question: Question, running: int | None) -> Choice | None:
        """The next trial that can be run, or the best cut; None where that runs already."""
        while True:
            place = self.following() if self.is_open else None
            is_trial = place is not None
            if place is None:
                place = next(iter(self._known()), None)
                self._close(place)
            if place is None:
                return None
            self.asked = place
            if place == running:
                self._count_from_now(question)
                return None
            if (proposal := self._proposal(question, place)) is not None:
                self.counted = "", 0
                if is_trial:
                    self.fed_s = question.now_s
                return Choice(proposal, self._why(place, is_trial), self._kind(is_trial))
            self.took_s[place] = math.inf

    def _close(self, place: int | None) -> None:
        """Settle on this one; a search that ends where it began was in vain."""
        if self.is_open:
            is_vain = place is not None and place == self.before
            self.rest_frames = (
                min(2 * self.rest_frames, REST_FRAMES_MAX) if is_vain else REST_FRAMES
            )
        self.is_open, self.expected_s = False, 0.0

    def _known(self) -> list[int]:
        """Cuts that were measured, the best first."""
        finite = (place for place, took_s in self.took_s.items() if math.isfinite(took_s))
        return sorted(finite, key=lambda place: (self.took_s[place], place))

    def _has_drifted(self, question: Question, taken_s: Sequence[float]) -> bool:
        """Whether the settled cut takes something else than it did."""
        if len(taken_s) < DRIFT_FRAMES:
            return False
        assert self.asked is not None
        now_s, was_s = median(taken_s[-DRIFT_FRAMES:]), self.expected_s
        if not was_s:
            self.expected_s = now_s
            was_s = min(now_s, self.took_s[self.asked])  # Only slower is news: trials start cold.
        is_off = now_s > was_s * (1 + DRIFT) or was_s > now_s * (1 + DRIFT)
        return is_off and self._frames_of(question) >= self.rest_frames

    def _frames_of(self, question: Question) -> int:
        """Measured of the running plan since it was asked for."""
        assert question.plan is not None
        lately = question.measured.get(str(question.plan.id))
        if lately is None:
            return 0
        name, before = self.counted
        return lately.frames - (before if name == lately.plan else 0)

    def _taken_s(self, question: Question) -> Sequence[float]:
        """What the latest of them took."""
        assert question.plan is not None
        count = self._frames_of(question)
        lately = question.measured.get(str(question.plan.id))
        return lately.flights_s[-count:] if lately is not None and count > 0 else ()

    def _count_from_now(self, question: Question) -> None:
        """Frames before this one were measured under other conditions, or for another trial."""
        assert question.plan is not None
        lately = question.measured.get(str(question.plan.id))
        self.counted = str(question.plan.id), lately.frames if lately is not None else 0
        self.counted_s = question.now_s

    def _proposal(self, question: Question, place: int) -> Proposal | None:
        """A cut as a plan; None where it cannot be run, or breaks what has to be kept."""
        assert self.cuts is not None
        try:
            return placed(question, self.cuts.placements[place], self.name)
        except EdgeflowError:
            return None

    def _kind(self, is_trial: bool) -> str:
        return "explored" if is_trial else "better"

    def _why(self, place: int, is_trial: bool) -> str:
        assert self.cuts is not None
        count = len(self.cuts.lines)
        if is_trial:
            return f"{self.name} tries cut {place} of {count}: only its frames tell what it takes"
        took_ms = self.took_s[place] * 1e3
        return (
            f"measured {took_ms:.1f} ms, the least of {len(self.took_s)} cuts tried of {count},"
            f" with {self.frames} frames"
        )
