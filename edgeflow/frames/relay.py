"""Submitting to a deployment whose source is another node.

    submitted ──link up──▶ sent to the source ──Outcome──▶ delivered
        '── too many, deadline, source lost, withdrawn: Error ─^

The source gives the one outcome; this side only adds an error of its own where none can come any
more, or nobody waits for one: then the source is told. It never sends a frame twice.

Invariant: one Deliver per Submitted (D1), by its deadline and one tick (D2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.events import Bundle, Deliver, Effect, SendSignal, SendTensors, Submitted
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.waking import Waking
from edgeflow.messages import Outcome, Submit, Withdraw

ERRANDS_MAX = 256
"""Frames under way to other sources; one more is refused at once, as its source would."""


@dataclass(slots=True)
class Errand:
    """One frame at somebody else's source."""

    event: Submitted
    source: str
    submitted_s: float
    deadline_s: float
    is_sent: bool = False


@dataclass(slots=True)
class Relay:
    """Every frame submitted here for another source."""

    bundles: Bundles
    errands: dict[int, Errand] = field(default_factory=dict)
    """By token, which is the frame's number for the source too."""
    waking: Waking = field(default_factory=Waking)

    def submit(
        self, event: Submitted, source: str, deadline_s: float, linked: frozenset[str], now_s: float
    ) -> list[Effect]:
        """Accept a frame; it leaves as soon as there is a link."""
        if len(self.errands) >= ERRANDS_MAX:
            text = f"{ERRANDS_MAX} frames are on their way already"
            return [Deliver(event.token, "overload", text, (), (), 0.0, 0, "")]
        self.bundles.hold(event.bundle)
        self.errands[event.token] = Errand(event, source, now_s, now_s + deadline_s)
        return self.tick(linked, now_s)

    def tick(self, linked: frozenset[str], now_s: float) -> list[Effect]:
        """Send what can be sent; end what cannot be answered any more."""
        effects: list[Effect] = []
        looks_first = self.waking.looks_first()
        for token, errand in list(self.errands.items()):
            if now_s >= errand.deadline_s:
                if looks_first:
                    continue
                what = "answer from" if errand.is_sent else "link to"
                effects += self._end(token, "deadline", f"no {what} {errand.source}", now_s)
            elif not errand.is_sent and errand.source in linked:
                errand.is_sent = True
                event = errand.event
                budget_s = errand.deadline_s - now_s
                message = Submit(event.deployment, token, budget_s, event.tensors)
                effects.append(SendTensors(errand.source, message, (event.bundle,)))
        return effects

    def withdraw(self, token: int, now_s: float) -> list[Effect]:
        """The submitter cancelled a frame, if it is one of these."""
        errand = self.errands.get(token)
        if errand is None:
            return []
        told = [SendSignal(errand.source, Withdraw(errand.event.deployment, token))]
        effects = self._end(token, "cancelled", "its submitter cancelled it", now_s)
        return [*effects, *(told if errand.is_sent else [])]

    def on_outcome(self, message: Outcome, bundle: Bundle, now_s: float) -> list[Effect]:
        """The source's answer; a second one finds nothing to answer."""
        errand = self.errands.get(message.frame)
        if errand is None:
            return []
        if message.code:
            return self._end(message.frame, message.code, message.text, now_s)
        names = tuple(head.name for head in message.tensors)
        bundles = (bundle,) * len(names)
        return self._end(message.frame, "", "", now_s, bundles, names, message)

    def on_link_down(self, peer: str, now_s: float) -> list[Effect]:
        """A source that was cut off may have computed or not: the submitter must know."""
        effects: list[Effect] = []
        for token, errand in list(self.errands.items()):
            if errand.source == peer and errand.is_sent:
                effects += self._end(token, "source-lost", f"the link to {peer} broke", now_s)
        return effects

    def _end(
        self,
        token: int,
        code: str,
        text: str,
        now_s: float,
        bundles: tuple[Bundle, ...] = (),
        names: tuple[str, ...] = (),
        message: Outcome | None = None,
    ) -> list[Effect]:
        errand = self.errands.pop(token)
        attempts, plan = (message.attempts, message.plan) if message else (0, "")
        seconds = now_s - errand.submitted_s
        outcome = Deliver(token, code, text, bundles, names, seconds, attempts, plan)
        return [outcome, *self.bundles.drop(errand.event.bundle)]
