"""What `edgeflow replay --show` picks out of a log: who led, which plans were held, one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edgeflow.errors import UsageError
from edgeflow.events import Deliver, Effect, Event, Submitted, Tell
from edgeflow.mind.replay import Moment

Line = dict[str, Any]
View = Callable[[Moment], Iterator[Line]]


def view_of(text: str) -> View | None:
    """The view of that name; None for no name. UsageError where there is none of that name."""
    word, _, number = text.partition(" ")
    if not text:
        return None
    if text == "elections":
        return Elections().look
    if text == "plans":
        return Plans().look
    if word == "frame" and number.strip().isdecimal():
        return Frame(int(number)).look
    raise UsageError(f'--show {text!r}: write elections, plans, or "frame N"')


@dataclass(slots=True)
class Elections:
    """Whom the node follows, as it changes."""

    before: tuple[object, ...] = (None, None)

    def look(self, moment: Moment) -> Iterator[Line]:
        """A line where the leader, or the highest claim, is another."""
        election = moment.core.parts.election
        leader = election.mine or election.leader
        now = (leader, election.mine is not None)
        if now != self.before:
            self.before = now
            who = f"{leader.node}, term {leader.term}" if leader is not None else "nobody"
            yield _line(moment, "leads" if election.mine is not None else f"follows {who}")


@dataclass(slots=True)
class Plans:
    """Which plans the node holds, how far each is, and which one its frames use."""

    before: dict[str, str] = field(default_factory=dict)

    def look(self, moment: Moment) -> Iterator[Line]:
        """A line for each plan whose step is another, or that is gone."""
        holdings = moment.core.parts.holdings
        active = set(holdings.active.values())
        now = {}
        for plan_hash, held in holdings.plans.items():
            step = f"{held.step}{', in use' if plan_hash in active else ''}"
            now[plan_hash] = f"{held.plan.deployment} plan {held.plan.id}: {step}"
            if self.before.get(plan_hash) != now[plan_hash]:
                yield _line(moment, f"{now[plan_hash]} {held.why}".strip())
        for plan_hash, words in self.before.items():
            if plan_hash not in now:
                yield _line(moment, f"{words.partition(':')[0]}: gone")
        self.before = now


@dataclass(slots=True)
class Frame:
    """Every event and effect that names a frame by this number, or by its token."""

    number: int

    def look(self, moment: Moment) -> Iterator[Line]:
        """A line for each."""
        if self._names(moment.event):
            yield _line(moment, f"hears {moment.event!r}")
        for effect in moment.effects:
            if self._names(effect):
                yield _line(moment, f"  asks for {effect!r}")

    def _names(self, what: Event | Effect) -> bool:
        if isinstance(what, Submitted | Deliver):
            return what.token == self.number
        if isinstance(what, Tell):
            return False
        return getattr(getattr(what, "message", None), "frame", None) == self.number


def _line(moment: Moment, what: str) -> Line:
    return {"number": moment.number, "at_s": round(moment.at_s, 6), "what": what}
