"""The invariants of the design, checked around every event; each has the name it has there.

E1 claims never fall        E2 no lease from a replay    E3 an old will changes nothing
E4 in the end one leader and one plan per deployment     F1 plan ids rise     F2 one id, one hash
F3 no compute for a plan not held     F4 one plan and variant for all segments of an attempt
F5 few plans at once        R1 READY obliges until a newer plan is committed
D1 … D8 are about frames: `edgeflow.sim.framejudge`      B1 no bundle is kept for ever

    event ─▶ what was known (Shadow) ─▶ core.handle ─▶ compared with what is known now ─▶ effects

Invariant: looks only; the core is as it would be without it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeflow.events import (
    Deliver,
    Effect,
    Event,
    Heard,
    Publish,
    RunSegment,
    SegmentFailed,
    SendSignal,
    SendTensors,
    Signal,
    Tensors,
    Tick,
)
from edgeflow.messages import (
    Availability,
    Board,
    Caps,
    Failure,
    Frame,
    Leader,
    Load,
    Metrics,
    PlanId,
    Refusal,
    State,
    Status,
)
from edgeflow.mind.node import FRAME_EVENTS
from edgeflow.sim.framejudge import FrameJudge, Violation
from edgeflow.sim.shadow import Watched
from edgeflow.sim.toy import SMALL, Toy, Value

__all__ = ["Judge", "Violation", "Watched"]

PLANS_MAX = 6
"""Held for one deployment: two committed, one preparing, and some of leaders who died over them."""
STORY_LINES = 400
LINE_CHARS = 240
CHATTER = (Load, Metrics, Status, Availability, Caps)
"""Said all the time: a story leaves it out."""
_CLAIM = re.compile(r"Claim\(term=(\d+), rank=\d+, node='([^']+)', session=(\d+)\)")
_PLAN = re.compile(r"PlanId\(claim=(\d+)@([^,]+), seq=(\d+)\)")
_REST = re.compile(r"([0-9a-f]{8})[0-9a-f]{56}|, v=1\b|message=|, session=\d+(?=, message)")


@dataclass(slots=True)
class Judge:
    """Watches every event of every node."""

    now_s: Callable[[], float]
    toy: Toy = SMALL
    hashes: dict[PlanId, str] = field(default_factory=dict)
    lines: deque[tuple[float, str, Event | str]] = field(
        default_factory=lambda: deque(maxlen=STORY_LINES)
    )
    events: int = 0
    frames: FrameJudge = field(init=False)

    def __post_init__(self) -> None:
        self.frames = FrameJudge(self.need, self.toy)

    @property
    def results(self) -> int:
        """Frames that ended well."""
        return self.frames.results

    @property
    def errors(self) -> dict[str, int]:
        """Frames that ended with an error, by code."""
        return self.frames.errors

    def note(self, name: str, line: Event | str) -> None:
        """A line of the story; made readable only when somebody reads it."""
        self.lines.append((self.now_s(), name, line))

    def story(self) -> Iterable[str]:
        """The last things that happened, one a line."""
        for at_s, name, line in self.lines:
            text = f"* {line}" if isinstance(line, str) else _brief(repr(line))
            yield f"{at_s:8.3f} {name:8} {text}"[:LINE_CHARS]

    def need(self, holds: bool, name: str, text: str) -> None:
        """Violation where it does not hold."""
        if not holds:
            raise Violation(f"{name}: {text} at {self.now_s():.3f} s")

    def watch(self, machine: Watched, event: Event) -> list[Effect]:
        """Hand the event to the core, and compare before with after."""
        self.events += 1
        kind, now_s = type(event), machine.clock_s()
        if kind is not Tick and not (kind is Heard and _is_chatter(event)):
            self.note(machine.name, event)
        known = _known(machine, event) if kind is Heard or kind is Signal else None
        is_word = kind is Tensors or kind is Signal or kind is SegmentFailed
        if is_word:
            self.frames.on_arrival(machine, event, now_s)
        effects = machine.core.handle(event, now_s)
        if known is not None:
            self._is_unmoved(machine, event, known)
        if is_word and machine.shadow.deaths:
            self.frames.after_death(machine)
        self._claims(machine, event)
        if kind not in FRAME_EVENTS:
            self._plans(machine, event)
        self.frames.on_event(machine, kind is Tick)
        for effect in effects:
            self._asks(machine, effect, now_s)
        return effects

    def on_outcome(self, machine: Watched, effect: Deliver, values: dict[str, Value]) -> None:
        """One frame ended."""
        self.frames.on_outcome(machine, effect, values)

    def _asks(self, machine: Watched, effect: Effect, now_s: float) -> None:
        if isinstance(effect, RunSegment):
            self._runs(machine, effect, now_s)
        elif isinstance(effect, SendSignal) and isinstance(effect.message, Refusal):
            self._refuses(machine, effect.message)
        elif isinstance(effect, SendTensors) and isinstance(effect.message, Frame):
            self.frames.on_sent(machine, effect.message, now_s)
        elif isinstance(effect, Publish) and isinstance(effect.message, Board):
            few = (effect.message.committed is not None) + len(effect.message.draining) <= 2
            self.need(few, "F5", f"{machine.name} has more than two committed plans")

    def _is_unmoved(self, machine: Watched, event: Event, known: tuple[object, ...]) -> None:
        """An old word of a peer, or a late no, changed nothing."""
        is_same = _known(machine, event) == known
        if isinstance(event, Signal):
            self.need(is_same, "D7", f"{machine.name}: a late refusal counted")
        elif isinstance(event, Heard):
            name = "E2" if isinstance(event.message, Load) else "E3"
            self.need(is_same, name, f"{machine.name}: an old word of a peer counted")

    def _claims(self, machine: Watched, event: Event) -> None:
        election, shadow = machine.core.parts.election, machine.shadow
        highest = election.highest
        if highest is not shadow.highest:
            fell = shadow.highest is not None and (highest is None or highest < shadow.highest)
            self.need(not fell, "E1", f"{machine.name}: highest claim fell")
            shadow.highest = highest
        if isinstance(event, Heard) and isinstance(event.message, Leader):
            beat = (event.message.claim, event.message.beat)
            if event.retained or beat in shadow.beats:
                grew = election.expires_s > shadow.lease_s
                self.need(not grew, "E2", f"{machine.name}: an old beat renewed a lease")
            if not event.retained:
                shadow.beats.add(beat)
        shadow.lease_s = election.expires_s

    def _plans(self, machine: Watched, event: Event) -> None:
        holdings, shadow = machine.core.parts.holdings, machine.shadow
        if not holdings.plans and not shadow.held:
            return
        for plan_hash, held in holdings.plans.items():
            if plan_hash not in shadow.held:
                self._applied(machine, held.plan.id, held.plan.deployment, plan_hash)
        if not shadow.held.keys() <= holdings.plans.keys():
            for plan_hash, (plan_id, step) in shadow.held.items():
                if plan_hash not in holdings.plans and step == "ready":
                    allowed = isinstance(event, Heard) and _may_retire(event.message, plan_id)
                    self.need(allowed, "R1", f"{machine.name} retired {plan_id} too early")
        fallen = [
            name
            for name, fence in shadow.fences.items()
            if (now := holdings.fences.get(name)) is not fence and (now is None or now < fence)
        ]
        self.need(not fallen, "F1", f"{machine.name}: the fence of {fallen} fell")
        shadow.fences = dict(holdings.fences)
        shadow.held = {each: (held.plan.id, held.step) for each, held in holdings.plans.items()}

    def _applied(self, machine: Watched, plan: PlanId, deployment: str, plan_hash: str) -> None:
        fence = machine.shadow.fences.get(deployment)
        rises = fence is None or plan > fence
        self.need(rises, "F1", f"{machine.name} applied {plan} at the fence {fence}")
        known = self.hashes.setdefault(plan, plan_hash)
        self.need(known == plan_hash, "F2", f"{plan} has two hashes")
        few = sum(1 for _ in machine.core.parts.holdings.of(deployment)) <= PLANS_MAX
        self.need(few, "F5", f"{machine.name} holds too many plans of {deployment}")

    def _runs(self, machine: Watched, effect: RunSegment, now_s: float) -> None:
        parts = machine.core.parts
        held = parts.holdings.plans.get(effect.key.hash)
        ok = held is not None and held.step == "ready" and effect.key in machine.built
        self.need(ok, "F3", f"{machine.name} runs a plan that it does not hold")
        work = parts.stage.running
        assert work is not None
        named = (work.frame.hash, work.frame.variant)
        same = named == work.way.route == (effect.key.hash, effect.key.variant)
        self.need(same, "F4", f"{machine.name}: frame {work.frame.frame} mixes plans")
        self.frames.on_run(machine, work.frame, work.expires_s, now_s)

    def _refuses(self, machine: Watched, refusal: Refusal) -> None:
        if refusal.code == "not-held":
            held = machine.core.parts.holdings.of(refusal.deployment)
            ready = any(each.plan.id == refusal.plan and each.step == "ready" for each in held)
            self.need(not ready, "R1", f"{machine.name} refuses a plan that it holds ready")


def _is_chatter(event: Event) -> bool:
    return isinstance(getattr(event, "message", None), CHATTER)


def _brief(text: str) -> str:
    """An event in fewer words: a claim as term@node-session, a plan as term.seq@node-session."""
    text = _PLAN.sub(r"\1.\3@\2", _CLAIM.sub(r"\1@\2-\3", text))
    return _REST.sub(r"\1", text)


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


def _known(machine: Watched, event: Event) -> tuple[object, ...] | None:
    """What an old word must not change; None where this is not one."""
    if isinstance(event, Signal):
        return _frame(machine, event)
    return _peer(machine, event) if isinstance(event, Heard) else None


def _peer(machine: Watched, event: Heard) -> tuple[object, ...] | None:
    """What is known of the node of a stale will or heartbeat."""
    message = event.message
    if not isinstance(message, State | Load):
        return None
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


def _frame(machine: Watched, event: Signal) -> tuple[object, ...] | None:
    """The attempts of the frame that a late refusal speaks of; but a death counts, also late."""
    message = event.message
    if not isinstance(message, Refusal | Failure) or message.code == "worker-died":
        return None
    frame = machine.core.parts.inflight.frames.get(message.frame)
    if frame is None or not frame.flying or message.attempt == frame.sent:
        return None
    return (frame.flying, frame.sent, frame.spent)
