"""The invariants about frames, by their names in the design.

D1 one outcome per frame, whatever became of it          D2 by its deadline, on its own node's clock
D3 a result is the whole model's answer                  D4 everything queued is bounded, everywhere
D5 nothing starts too late, or after its cancel was heard
V1 an attempt leaves only along a way whose nodes are here, by links that are up
D7 at most 3 attempts, retries within the budget         Q1 two deaths are enough
D6 and D8 are judged over a whole history: `edgeflow.sim.verdict`

Invariant: looks only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.events import Deliver, Event, SegmentFailed, Signal, Tensors
from edgeflow.frames.relay import ERRANDS_MAX
from edgeflow.frames.stage import QUEUED_BYTES_MAX, QUEUED_FRAMES_MAX, key_of
from edgeflow.frames.tally import RETRIES_PER_RESULT, RETRIES_START
from edgeflow.messages import Cancel, Failure, Frame
from edgeflow.sim.shadow import FrameKey, Watched
from edgeflow.sim.toy import SMALL, Toy, Value

ATTEMPTS_MAX = 3
PARKED_FRAMES_MAX, PARKED_BYTES_MAX = 256, 256 << 20
"""The promises, in their own words: a core that changes its own numbers has to change them here."""
EPSILON_S = 0.5
"""An outcome comes by its deadline and this; where its node stood still, this after it woke."""
WINDOW_FRAMES = 4
"""Frames in flight of one deployment at most: what its wish says, which is the default here."""


def name_of(frame: Frame) -> FrameKey:
    """The same for all attempts and segments."""
    return frame.deployment, frame.source, frame.source_session, frame.frame


class Violation(AssertionError):  # noqa: N818 - it is what was violated, not an error of ours
    """An invariant does not hold."""


@dataclass(slots=True)
class FrameJudge:
    """Watches every frame of every node."""

    need: Callable[[bool, str, str], None]
    toy: Toy = SMALL
    results: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    ended: dict[int, tuple[float, str]] = field(default_factory=dict)
    """Token -> when its frame ended on its node's clock, and the code."""
    deaths: dict[FrameKey, set[int]] = field(default_factory=dict)
    """By poisonous frame: attempts that killed workers."""

    def on_arrival(self, machine: Watched, event: Event, now_s: float) -> None:
        """A piece of a frame, or the cancel of one, came in."""
        message = getattr(event, "message", None)
        if isinstance(event, Tensors) and isinstance(message, Frame):
            key, ends_s = key_of(message), now_s + message.budget_s
            machine.shadow.budgets.setdefault(key, ends_s)
        elif isinstance(event, Signal) and isinstance(message, Cancel):
            name = (message.deployment, message.source, message.source_session, message.frame)
            known = machine.shadow.cancelled.get(name, 0)
            machine.shadow.cancelled[name] = max(known, message.attempt)

        self._on_death(machine, event)

    def _on_death(self, machine: Watched, event: Event) -> None:
        """A source is about to hear that a worker died over its frame."""
        message, work = getattr(event, "message", None), machine.core.parts.stage.running
        if isinstance(event, SegmentFailed) and work is not None:
            is_own = work.frame.source == machine.name and event.code == "worker-died"
            frame, attempt = (work.frame.frame, work.frame.attempt) if is_own else (0, 0)
        elif isinstance(message, Failure) and message.code == "worker-died":
            frame, attempt = message.frame, message.attempt
        else:
            return
        machine.shadow.deaths.setdefault(frame, set()).add(attempt)

    def after_death(self, machine: Watched) -> None:
        """It has heard: a frame that cost two workers their lives is given up."""
        frames = machine.core.parts.inflight.frames
        dear = [frame for frame in frames if len(machine.shadow.deaths.get(frame, ())) > 1]
        self.need(not dear, "Q1", f"{machine.name}: frames {dear} go on after two deaths")

    def on_event(self, machine: Watched, is_tick: bool) -> None:
        """After every event what is counted anyway; after a tick all is counted anew."""
        parts = machine.core.parts
        stage, inflight = parts.stage, parts.inflight
        if stage.queued_bytes > QUEUED_BYTES_MAX or len(stage) > QUEUED_FRAMES_MAX + 1:
            self.need(False, "D4", f"{machine.name} queues {stage.queued_bytes} bytes")
        if inflight.parked_bytes > PARKED_BYTES_MAX:
            self.need(False, "D4", f"{machine.name} keeps {inflight.parked_bytes} bytes of input")
        if len(inflight.frames) > PARKED_FRAMES_MAX + WINDOW_FRAMES * len(inflight.tallies):
            self.need(False, "D4", f"{machine.name} keeps {len(inflight.frames)} frames")
        if len(parts.relay.errands) > ERRANDS_MAX:
            self.need(False, "D4", f"{machine.name} waits for {len(parts.relay.errands)} frames")
        if is_tick:
            self._count(machine)

    def on_run(self, machine: Watched, frame: Frame, expires_s: float, now_s: float) -> None:
        """A segment starts."""
        ends_s = min(expires_s, machine.shadow.budgets.get(key_of(frame), expires_s))
        self.need(now_s < ends_s, "D5", f"{machine.name}: frame {frame.frame} runs too late")
        wanted = frame.attempt > machine.shadow.cancelled.get(name_of(frame), 0)
        self.need(wanted, "D5", f"{machine.name}: frame {frame.frame} was cancelled and runs")

    def on_sent(self, machine: Watched, frame: Frame, now_s: float) -> None:
        """Inputs of a segment leave; those of a new attempt where all its nodes are known to be."""
        parts = machine.core.parts
        open_ = parts.inflight.frames.get(frame.frame) if frame.source == machine.name else None
        if open_ is None or (open_.sent, open_.last.sent_s) != (frame.attempt, now_s):
            return
        way = open_.last.way
        for node in way.nodes:
            is_here = parts.membership.is_here(node, way.plan.sessions[node], now_s)
            self.need(is_here, "V1", f"frame {frame.frame} is sent where {node} is lost")
        is_linked = way.peers <= parts.neighbours.linked()
        self.need(is_linked, "V1", f"frame {frame.frame} is sent without a link")

    def on_poisoned(self, frame: Frame) -> None:
        """This frame kills the worker that runs it."""
        self.deaths.setdefault(name_of(frame), set()).add(frame.attempt)

    def on_outcome(self, machine: Watched, effect: Deliver, values: dict[str, Value]) -> None:
        """One frame ended."""
        token = effect.token
        self.need(machine.outcomes[token] == 1, "D1", f"{machine.name}: frame {token} ended twice")
        deadline_s, image = machine.submitted[token]
        now_s = machine.clock_s()
        late_s = now_s - max(deadline_s, machine.woke_s)
        self.need(late_s <= EPSILON_S, "D2", f"frame {token} is {late_s:.2f} s late")
        self.ended[token] = now_s, effect.code
        if effect.code:
            self.errors[effect.code] = self.errors.get(effect.code, 0) + 1
            return
        self.results += 1
        self.need(values == self.toy.whole(image), "D3", f"frame {token}: a wrong result")

    def _count(self, machine: Watched) -> None:
        """What the node says it keeps is what it keeps; retries are within the budget."""
        parts, shadow = machine.core.parts, machine.shadow
        inflight = parts.inflight
        if not inflight.frames:
            self.need(inflight.parked_bytes == 0, "D4", f"{machine.name} counts bytes of no frame")
            shadow.spent.clear()
            return
        kept, spent, flying = 0, {}, dict.fromkeys(inflight.tallies, 0)
        for frame in inflight.frames.values():
            kept += frame.size_bytes
            flying[frame.deployment] += frame.flying
            spent[frame.id] = frame.spent
            if frame.spent >= ATTEMPTS_MAX:
                self.need(False, "D7", f"{machine.name}: frame {frame.id} is tried too often")
            more = frame.spent - shadow.spent.get(frame.id, 0)
            if more:
                name = frame.deployment
                shadow.retries[name] = shadow.retries.get(name, 0) + more
        shadow.spent = spent
        self.need(kept == inflight.parked_bytes, "D4", f"{machine.name} keeps {kept} bytes")
        most = max(flying.values())
        self.need(most <= WINDOW_FRAMES, "D4", f"{machine.name}: {most} frames of one job fly")
        for name, retries in shadow.retries.items():
            tally = inflight.tallies[name]
            budget = RETRIES_START + RETRIES_PER_RESULT * tally.results
            self.need(retries <= budget, "D7", f"{machine.name}: {retries} retries of {name}")
