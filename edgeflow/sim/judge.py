"""The invariants of the design, checked around every event; each has the name it has there.

E1 claims never fall        E2 no lease from a replay    E3 an old will changes nothing
E4 in the end one leader and one plan per deployment     F1 plan ids rise     F2 one id, one hash
F3 no compute for a plan not held     F4 one plan for all segments of an attempt
F5 few plans at once        R1 READY obliges until a newer plan is committed
D1 one outcome per frame    D2 by its deadline           D3 a result is the whole model's
D4 queues are bounded       D5 nothing runs too late     D7 at most 3 attempts, none for a late no
D8 goodput returns          B1 no bundle is kept for ever
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgeflow.events import (
    BuildSegment,
    Deliver,
    Effect,
    Event,
    Heard,
    RunSegment,
    SegmentKey,
    SendSignal,
    Signal,
    Tick,
)
from edgeflow.messages import Board, Claim, Failure, Leader, Load, PlanId, Refusal, State
from edgeflow.node import NodeCore
from edgeflow.outcome import ATTEMPTS_MAX
from edgeflow.sim.toy import Value, Values, whole
from edgeflow.stage import QUEUED_BYTES_MAX, QUEUED_FRAMES_MAX

EPSILON_S = 0.5
"""An outcome comes by its deadline and this: a tick, and what a frozen machine adds is excused."""
PLANS_MAX = 6
"""Held for one deployment: two committed, one preparing, and some of leaders who died over them."""
STORY_LINES = 400


class Violation(AssertionError):  # noqa: N818 - it is what was violated, not an error of ours
    """An invariant does not hold."""


class Watched(Protocol):
    """What the judge sees of a machine."""

    core: NodeCore
    built: dict[SegmentKey, BuildSegment]
    bundles: dict[int, Values]
    outcomes: dict[int, int]
    submitted: dict[int, tuple[float, Value]]
    is_alive: bool

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def session(self) -> int:
        """Of this life."""

    def clock_s(self) -> float:
        """Its own time."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the core knew before an event."""

    highest: Claim | None
    lease_s: float
    fences: Mapping[str, PlanId]
    held: Mapping[str, tuple[PlanId, str]]
    """Hash of each plan -> its id and step."""
    peer: tuple[object, ...] | None
    frame: tuple[object, ...] | None


@dataclass(slots=True)
class Judge:
    """Watches every event of every node."""

    now_s: Callable[[], float]
    hashes: dict[PlanId, str] = field(default_factory=dict)
    beats: dict[tuple[str, int], set[tuple[Claim, int]]] = field(default_factory=dict)
    has_frozen: set[str] = field(default_factory=set)
    lines: deque[tuple[float, str, Event | str]] = field(
        default_factory=lambda: deque(maxlen=STORY_LINES)
    )
    events: int = 0
    results: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, line: Event | str) -> None:
        """A line of the story; made readable only when somebody reads it."""
        self.lines.append((self.now_s(), name, line))

    def story(self) -> Iterable[str]:
        """The last things that happened, one a line."""
        for at_s, name, line in self.lines:
            text = f"* {line}" if isinstance(line, str) else repr(line)
            yield f"{at_s:8.3f} {name:8} {text}"[:300]

    def watch(self, machine: Watched, event: Event) -> list[Effect]:
        """Hand the event to the core, and compare before with after."""
        self.events += 1
        if not isinstance(event, Tick):
            self.note(machine.name, event)
        before = _before(machine, event)
        effects = machine.core.handle(event, machine.clock_s())
        highest = machine.core.parts.election.highest
        if before.highest is not None:
            fell = highest is None or highest < before.highest
            self.need(not fell, "E1", f"{machine.name}: highest claim fell")
        if isinstance(event, Heard) and isinstance(event.message, Leader):
            self._leases(machine, event, event.message, before.lease_s)
        is_same = before.peer is None or _peer(machine, event) == before.peer
        name = "E2" if isinstance(getattr(event, "message", None), Load) else "E3"
        self.need(is_same, name, f"{machine.name}: an old word of a peer counted")
        is_same = before.frame is None or _frame(machine, event) == before.frame
        self.need(is_same, "D7", f"{machine.name}: a late refusal counted")
        self._plans(machine, before, event)
        self._queues(machine)
        for effect in effects:
            if isinstance(effect, RunSegment):
                self._runs(machine, effect)
            elif isinstance(effect, SendSignal) and isinstance(effect.message, Refusal):
                self._refuses(machine, effect.message)
        return effects

    def on_outcome(self, machine: Watched, effect: Deliver, values: dict[str, Value]) -> None:
        """One frame ended."""
        token = effect.token
        self.need(machine.outcomes[token] == 1, "D1", f"{machine.name}: frame {token} ended twice")
        deadline_s, image = machine.submitted[token]
        late_s = self.now_s() - deadline_s
        excused = machine.name in self.has_frozen
        self.need(late_s <= EPSILON_S or excused, "D2", f"frame {token} is {late_s:.2f} s late")
        if effect.code:
            self.errors[effect.code] = self.errors.get(effect.code, 0) + 1
            return
        self.results += 1
        self.need(values == {"head": whole(image)}, "D3", f"frame {token}: a wrong result")

    def need(self, holds: bool, name: str, text: str) -> None:
        """Violation where it does not hold."""
        if not holds:
            raise Violation(f"{name}: {text} at {self.now_s():.3f} s")

    def _leases(self, machine: Watched, event: Heard, message: Leader, before_s: float) -> None:
        seen = self.beats.setdefault((machine.name, machine.session), set())
        key = (message.claim, message.beat)
        if event.retained or key in seen:
            grew = machine.core.parts.election.expires_s > before_s
            self.need(not grew, "E2", f"{machine.name}: an old beat renewed a lease")
        if not event.retained:
            seen.add(key)

    def _plans(self, machine: Watched, before: Before, event: Event) -> None:
        holdings = machine.core.parts.holdings
        for name, fence in holdings.fences.items():
            fell = name in before.fences and fence < before.fences[name]
            self.need(not fell, "F1", f"{machine.name}: the fence of {name} fell")
        for plan_hash, held in holdings.plans.items():
            if plan_hash in before.held:
                continue
            plan = held.plan
            fence_before = before.fences.get(plan.deployment)
            rises = fence_before is None or plan.id > fence_before
            self.need(rises, "F1", f"{machine.name} applied {plan.id} at the fence {fence_before}")
            known = self.hashes.setdefault(plan.id, plan_hash)
            self.need(known == plan_hash, "F2", f"{plan.id} has two hashes")
            few = sum(1 for _ in holdings.of(plan.deployment)) <= PLANS_MAX
            self.need(few, "F5", f"{machine.name} holds too many plans of {plan.deployment}")
        for plan_hash, (plan_id, step) in before.held.items():
            if plan_hash not in holdings.plans and step == "ready":
                allowed = isinstance(event, Heard) and _may_retire(event.message, plan_id)
                self.need(allowed, "R1", f"{machine.name} retired {plan_id} too early")

    def _queues(self, machine: Watched) -> None:
        stage = machine.core.parts.stage
        small = stage.queued_bytes <= QUEUED_BYTES_MAX and len(stage) <= QUEUED_FRAMES_MAX + 1
        self.need(small, "D4", f"{machine.name} queues {stage.queued_bytes} bytes")
        for frame in machine.core.parts.inflight.frames.values():
            self.need(frame.spent <= ATTEMPTS_MAX, "D7", f"frame {frame.id}: {frame.spent}")

    def _runs(self, machine: Watched, effect: RunSegment) -> None:
        parts = machine.core.parts
        held = parts.holdings.plans.get(effect.key.hash)
        ok = held is not None and held.step == "ready" and effect.key in machine.built
        self.need(ok, "F3", f"{machine.name} runs a plan that it does not hold")
        work = parts.stage.running
        assert work is not None
        named = (work.frame.hash, work.frame.variant)
        same = named == work.way.route == (effect.key.hash, effect.key.variant)
        self.need(same, "F4", f"{machine.name}: frame {work.frame.frame} mixes plans")
        in_time = machine.clock_s() < work.expires_s
        self.need(in_time, "D5", f"{machine.name}: frame {work.frame.frame} runs too late")

    def _refuses(self, machine: Watched, refusal: Refusal) -> None:
        if refusal.code == "not-held":
            held = machine.core.parts.holdings.of(refusal.deployment)
            ready = any(each.plan.id == refusal.plan and each.step == "ready" for each in held)
            self.need(not ready, "R1", f"{machine.name} refuses a plan that it holds ready")


def _before(machine: Watched, event: Event) -> Before:
    parts = machine.core.parts
    plans = parts.holdings.plans
    return Before(
        parts.election.highest,
        parts.election.expires_s,
        dict(parts.holdings.fences),
        {plan_hash: (held.plan.id, held.step) for plan_hash, held in plans.items()},
        _peer(machine, event),
        _frame(machine, event),
    )


def _may_retire(message: object, plan_id: PlanId) -> bool:
    """Whether this board ends a READY plan: it retires it, or commits or prepares past it."""
    if not isinstance(message, Board):
        return False
    newer = message.preparing
    return (
        (message.retired is not None and plan_id <= message.retired)
        or (message.committed is not None and plan_id < message.committed.id)
        or (newer is not None and plan_id < newer.id and plan_id.claim == message.claim)
    )


def _peer(machine: Watched, event: Event) -> tuple[object, ...] | None:
    """What is known of the node of a stale will or heartbeat; None for anything else."""
    if not isinstance(event, Heard) or not isinstance(event.message, State | Load):
        return None
    message = event.message
    peer = machine.core.parts.membership.peers.get(message.node)
    if peer is None or message.node == machine.name:
        return None
    if isinstance(message, Load):
        seq = peer.load.seq if peer.load is not None else -1
        is_old = (message.session, message.seq) <= (peer.session, seq)
    else:
        is_old = (message.session, message.connection) < (peer.session, peer.connection)
        is_old = is_old and message.state == "lost"
    if not is_old:
        return None
    return (peer.session, peer.connection, peer.state, peer.will_heard, peer.heard_s)


def _frame(machine: Watched, event: Event) -> tuple[object, ...] | None:
    """The attempts of the frame that a late refusal speaks of; None for anything else."""
    if not isinstance(event, Signal) or not isinstance(event.message, Refusal | Failure):
        return None
    frame = machine.core.parts.inflight.frames.get(event.message.frame)
    if frame is None or not frame.flying or event.message.attempt == frame.sent:
        return None
    return (frame.flying, frame.sent, frame.spent)
