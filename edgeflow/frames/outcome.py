"""How frames end at their source, and attempts: parked for another try, or with the one outcome.

    in flight ──refused, lost, too late──▶ given up: cancelled at its nodes ─▶ parked
        |                                       '── 3 attempts, or no retry left ─┐
        '── outputs, bad input, deadline, cancelled, poison ─▶ outcome ◀──────────┘

Invariants: a frame that got its outcome is not in `frames` any more; the bundles that it held are
dropped with it; whatever is still open of it is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeflow.events import Effect, Publish, Quarantine
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.openframe import Attempt, OpenFrame, answer, cancel
from edgeflow.frames.tally import Tally
from edgeflow.messages import Metrics

ATTEMPTS_MAX = 3
"""Tries at one frame: more would hide a broken fleet behind latency."""
DEATHS_MAX = 2
"""Worker processes that one frame may kill: once is chance, and a third shall live."""
BACKOFF_S = 0.1
"""A refused frame waits so long before it is tried again."""
SENTENCE_MAX = 2000
"""Characters of a text that crosses a wire."""


@dataclass(slots=True)
class Outcomes:
    """Frames without an outcome yet, of every deployment whose source this node is."""

    me: str
    session: int
    bundles: Bundles
    frames: dict[int, OpenFrame] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    next_id: int = 0
    parked_bytes: int = 0

    def new_id(self) -> int:
        """A frame number, never used before in this session."""
        self.next_id += 1
        return self.next_id

    def remove(self, deployment: str, text: str, now_s: float) -> list[Effect]:
        """The deployment is gone from here: so are its frames."""
        return self.end_all(self.of(deployment), "removed", text, now_s)

    def withdraw(self, token: int, now_s: float) -> list[Effect]:
        """The local submitter cancelled a frame, if it is one of these."""
        mine = [frame for frame in self.frames.values() if frame.token == token]
        return self.end_all(mine, "cancelled", "its submitter cancelled it", now_s)

    def withdraw_for(self, reply: tuple[str, int], now_s: float) -> list[Effect]:
        """A remote submitter did, by (its name, its number of the frame)."""
        mine = [frame for frame in self.frames.values() if frame.reply == reply]
        return self.end_all(mine, "cancelled", "its submitter cancelled it", now_s)

    def on_submitter_lost(self, node: str, now_s: float) -> list[Effect]:
        """Its frames have nobody to answer: a later session numbers its own from 1 again."""
        frames = self.frames.values()
        mine = [frame for frame in frames if frame.reply is not None and frame.reply[0] == node]
        return self.end_all(mine, "cancelled", f"{node} is gone", now_s)

    def metrics(self, deployment: str, now_s: float) -> Metrics:
        """Counts so far, and the rate since the last call."""
        mine = self.of(deployment)
        flying = sum(frame.flying for frame in mine)
        tally = self.tallies[deployment]
        return tally.metrics(deployment, self.me, flying, len(mine) - flying, now_s)

    def news(self, policy_of: Callable[[str], str], now_s: float) -> list[Effect]:
        """What was answered since the last message, where that is waited for; `policy_of` names a
        deployment's policy."""
        return [
            Publish(self.metrics(name, now_s))
            for name, tally in self.tallies.items()
            if tally.is_due(policy_of(name), now_s)
        ]

    def of(self, deployment: str) -> list[OpenFrame]:
        """Of one deployment, in the order in which they came."""
        return [frame for frame in self.frames.values() if frame.deployment == deployment]

    def park(self, frame: OpenFrame, retry_s: float) -> list[Effect]:
        """Give the last attempt up; there will be another one."""
        frame.flying, frame.retry_s = False, retry_s
        return cancel(frame, self.session, is_over=False) if frame.last.is_open else []

    def retry(self, frame: OpenFrame, code: str, text: str, now_s: float) -> list[Effect]:
        """Count an attempt; park the frame for the next, or end it."""
        frame.spent += 1
        tally = self.tallies[frame.deployment]
        if frame.spent >= ATTEMPTS_MAX:
            return self.end(frame, code, f"{text}; {ATTEMPTS_MAX} attempts", now_s)
        if not tally.take_retry():
            return self.end(frame, code, f"{text}; the retry budget is spent", now_s)
        return self.park(frame, now_s + (BACKOFF_S if code == "full" else 0.0))

    def poison(self, frame: OpenFrame, text: str, now_s: float) -> list[Effect]:
        """Not tried again: the next worker shall live. Its owner may look at the input."""
        name = f"{frame.deployment}-{frame.id}"
        nodes = list(dict.fromkeys(frame.deaths))
        whose = " and of ".join(nodes) + (" twice" if len(nodes) == 1 else "")
        said = (
            f"it killed the worker of {whose} and is not tried again; its input is"
            f" quarantine/{name}.npz in the state folder of {self.me}; {text}"
        )
        kept: list[Effect] = [Quarantine(frame.bundle, name)]
        return kept + self.end(frame, "poison", said[:SENTENCE_MAX], now_s)

    def end_all(
        self, frames: Iterable[OpenFrame], code: str, text: str, now_s: float
    ) -> list[Effect]:
        """One outcome for each of these."""
        return [effect for frame in list(frames) for effect in self.end(frame, code, text, now_s)]

    def end(
        self, frame: OpenFrame, code: str, text: str, now_s: float, winner: Attempt | None = None
    ) -> list[Effect]:
        """The one outcome."""
        tally = self.tallies[frame.deployment]
        if self.frames.pop(frame.id, None) is not None:
            self.parked_bytes -= frame.size_bytes
        if code:
            tally.errors += 1
        else:
            tally.on_result(now_s - frame.submitted_s)
        effects = answer(frame, code, text, winner, now_s)
        if frame.flying and winner is not frame.last and frame.last.is_open:
            effects += cancel(frame, self.session, is_over=True)
        return effects + self.bundles.drop(frame.bundle) + self.forget(frame)

    def forget(self, frame: OpenFrame) -> list[Effect]:
        """Its attempts, and what came of them."""
        effects: list[Effect] = []
        for attempt in frame.attempts.values():
            for bundle in attempt.got.values():
                effects += self.bundles.drop(bundle)
        frame.attempts.clear()
        return effects
