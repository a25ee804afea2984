"""A node's events once more, through the same core: does it do the same again?

    log ─▶ Head ─▶ a new NodeCore ─▶ Step, Step, … ─▶ effects, compared with what was noted then
                                                 └─▶ the promises that one node alone can break

Invariant: the verdict depends on the log alone; the same log gives the same one on any machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeflow.events import Deliver, Effect, Event
from edgeflow.messages import Claim, PlanId
from edgeflow.mind.eventlog import Cut, End, Found, Gap, Head, Step, effects_check
from edgeflow.mind.node import NodeCore

VIOLATIONS_MAX = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the core did something else than it did then."""

    number: int
    """Of the event, from 1."""
    at_s: float
    """Since the first event."""
    event: Event
    effects: tuple[Effect, ...]
    """What it asks for now."""
    error: str = ""
    """Or what it raised."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event again, just handled."""

    number: int
    at_s: float
    event: Event
    effects: tuple[Effect, ...]
    core: NodeCore


@dataclass(slots=True)
class Replay:
    """All that was found; `seen` is called after each event."""

    seen: Callable[[Moment], None] | None = None
    head: Head | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    events: int = 0
    first_s: float = 0.0
    span_s: float = 0.0
    ended: str = "the log ends without a word: the process died, or still runs"
    difference: Difference | None = None
    violations: list[str] = field(default_factory=list)
    _core: NodeCore | None = None
    _judge: Judge = field(default_factory=lambda: Judge())

    def run(self, records: Iterable[Found], until_s: float = float("inf")) -> None:
        """Up to the end, the first gap, the first difference, or `until_s` after the first event.

        EventLogError, from the records, where the log is damaged there.
        """
        for record in records:
            if isinstance(record, Step):
                if self._is_over(record, until_s) or not self._step(record):
                    return
            elif isinstance(record, Head):
                self.head, self._core = record, NodeCore(record.caps)
            elif isinstance(record, Gap):
                self.ended = f"a gap: {record.dropped} events were lost, what follows is unknown"
                return
            elif isinstance(record, Cut):
                self.ended = f"the file is cut at byte {record.at_byte}, within a record"
            elif isinstance(record, End):
                self.ended = record.why

    def _is_over(self, step: Step, until_s: float) -> bool:
        if not self.events:
            self.first_s = step.at_s
        if step.at_s - self.first_s <= until_s:
            return False
        self.ended = f"stopped after {until_s:g} s, as asked"
        return True

    def _step(self, step: Step) -> bool:
        """Whether the core did what it did then."""
        core, event = self._core, step.event
        assert core is not None  # `read` gives the Head first
        self.events += 1
        self.span_s = step.at_s - self.first_s
        self.kinds[type(event).__name__] += 1
        try:
            effects = tuple(core.handle(event, step.at_s))
        except Exception as error:  # whatever it is, it is what the log was written to find
            text = f"{type(error).__name__}: {error}"
            self.difference = Difference(self.events, self.span_s, event, (), text)
            return False
        if len(self.violations) < VIOLATIONS_MAX:
            broken = self._judge.look(core, effects)
            self.violations += [f"event {self.events} at {self.span_s:.3f} s: {b}" for b in broken]
        if self.seen is not None:
            self.seen(Moment(self.events, self.span_s, event, effects, core))
        if step.effects and effects_check(effects) != step.effects:
            self.difference = Difference(self.events, self.span_s, event, effects)
        return self.difference is None


@dataclass(slots=True)
class Judge:
    """Promises that one node's own events can show as broken: E1, F1, F2, D1."""

    highest: Claim | None = None
    fences: dict[str, PlanId] = field(default_factory=dict)
    hashes: dict[PlanId, str] = field(default_factory=dict)
    delivered: set[int] = field(default_factory=set)

    def look(self, core: NodeCore, effects: Iterable[Effect]) -> list[str]:
        """What is broken after an event, in words."""
        broken = [*self._election(core), *self._plans(core)]
        for effect in effects:
            if isinstance(effect, Deliver):
                if effect.token in self.delivered:
                    broken.append(f"D1: frame {effect.token} ended twice")
                self.delivered.add(effect.token)
        return broken

    def _election(self, core: NodeCore) -> list[str]:
        before, self.highest = self.highest, core.parts.election.highest
        fell = before is not None and (self.highest is None or self.highest < before)
        return ["E1: the highest claim fell"] if fell else []

    def _plans(self, core: NodeCore) -> list[str]:
        broken = []
        holdings = core.parts.holdings
        for name, fence in holdings.fences.items():
            if name in self.fences and fence < self.fences[name]:
                broken.append(f"F1: the fence of {name} fell")
            self.fences[name] = fence
        for plan_hash, held in holdings.plans.items():
            if self.hashes.setdefault(held.plan.id, plan_hash) != plan_hash:
                broken.append(f"F2: plan {held.plan.id} has two hashes")
        return broken
