"""Exactly one outcome for every accepted frame. Runs at the source of a deployment.

    submitted ─▶ parked ──a usable plan, room in the window──▶ in flight ──all outputs──▶ Result
       |           ^ |                                          | refusal, peer lost,
     overload      | deadline, cancelled                        | time-out: next attempt
       v           | v                                          v
     Error         | Error <── deadline, cancelled, poison, 3 attempts, bad input
                   '─────────── not held: no attempt ───────────'

The source keeps the input until the outcome, alone retries and alone removes duplicates. Its clock
and the first outcome decide; whatever comes later is dropped and counted. To wait for a plan, and
to be told "plan not held", is no attempt. Each further attempt has twice the time of the last, so
that three of them outlast the time in which a dead node is noticed. What is given up is cancelled
at all nodes that it was for: a busy fleet computes nothing in vain.

Invariants: one Deliver (or Outcome) per accepted frame (D1), by its deadline and one tick (D2); at
most 3 attempts, retries within the budget (D7); all outputs of a Result are of one attempt (F4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeflow.cluster.membership import DEAD_S
from edgeflow.events import Bundle, Effect, SendTensors
from edgeflow.frames.belief import Trial
from edgeflow.frames.doubts import TIMEOUT_DOUBT_S, WORKER_DOUBT_S, Doubts
from edgeflow.frames.explore import Explorer
from edgeflow.frames.openframe import Attempt, OpenFrame, attempt_at
from edgeflow.frames.outcome import BACKOFF_S, DEATHS_MAX, Outcomes
from edgeflow.frames.pace import Pace, Window
from edgeflow.frames.tally import Tally
from edgeflow.frames.waking import Waking
from edgeflow.layout.headers import misfit, mismatch
from edgeflow.layout.split import Patch
from edgeflow.messages import Failure, Refusal, Result
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import Route, Way

PARKED_FRAMES_MAX = 256
"""Frames waiting for a plan or for room; one more is refused at once as overload."""
PARKED_BYTES_MAX = 256 << 20
"""The same in bytes of input: a Pi keeps the rest of its memory."""
MOVES_MAX = 2
"""So often a frame leaves a way for what happened to others on it: what it sent is in the way."""
BROKEN_S = DEAD_S
"""A way that lost a node is not tried again before all have had time to know that it is dead, nor
is another one with that node; a plan without it, or its link coming back, ends the wait. Lower
spends attempts on a dead node."""


@dataclass(slots=True)
class Inflight(Outcomes):
    """Attempts at the open frames of every deployment whose source this node is."""

    paces: dict[str, Pace] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    """Deployments with a usable plan and no room in the window, when frames were last sent."""
    broken: dict[Route | str, float] = field(default_factory=dict)
    """Way, or node that another one has no link to -> not before."""
    doubts: Doubts = field(default_factory=Doubts)
    explorers: dict[str, Explorer] = field(default_factory=dict)
    """Of deployments whose doubtful ways are tried."""
    waking: Waking = field(default_factory=Waking)

    def submit(self, frame: OpenFrame, graph: Graph | None) -> list[Effect]:
        """Accept a frame, or refuse it at once."""
        tally = self.tallies.setdefault(frame.deployment, Tally())
        tally.frames += 1
        self.bundles.hold(frame.bundle)
        if wrong := mismatch(frame.tensors, graph.inputs) if graph is not None else "":
            return self.end(frame, "malformed", wrong, frame.submitted_s)
        if text := self._overload(frame):
            return self.end(frame, "overload", text, frame.submitted_s)
        self.frames[frame.id] = frame
        self.parked_bytes += frame.size_bytes
        return []

    def pump(
        self,
        deployment: str,
        way: Way,
        window: Window,
        graph: Graph,
        now_s: float,
        trial: Trial | None = None,
    ) -> list[Effect]:
        """Send parked frames along a usable way while there is room in the window; the first one
        on `trial`."""
        mine = self.of(deployment)
        effects = self._move(mine, way, now_s)
        flying = sum(frame.flying for frame in mine)
        flying_bytes = sum(frame.size_bytes for frame in mine if frame.flying)
        pace = self.paces.setdefault(deployment, Pace())
        is_full = flying >= window.frames
        for frame in mine:
            if is_full:
                break
            if frame.flying or now_s < frame.retry_s:
                continue
            if wrong := mismatch(frame.tensors, graph.inputs):
                effects += self.end(frame, "malformed", wrong, now_s)
                continue
            is_full = flying > 0 and flying_bytes + frame.size_bytes > window.bytes
            if not is_full:
                effects += self._send(frame, trial or way, graph, flying, now_s)
                trial = None
                flying, flying_bytes = flying + 1, flying_bytes + frame.size_bytes
                is_full = flying >= window.frames
        pace.on_window(window, is_full, len(mine) - flying, now_s)
        if is_full:
            self.full.add(deployment)
        return effects

    def is_spare(self, deployment: str) -> bool:
        """Whether one frame waits to be sent for the first time, and nothing else is under way."""
        alone = len(self.frames) == 1
        return alone and all(
            frame.deployment == deployment and not frame.sent for frame in self.frames.values()
        )

    def end(
        self, frame: OpenFrame, code: str, text: str, now_s: float, winner: Attempt | None = None
    ) -> list[Effect]:
        """The one outcome; what it took tells about the ways."""
        explorer = self.explorers.get(frame.deployment)
        if explorer is not None and frame.is_trial:
            explorer.on_tried(now_s - frame.submitted_s, now_s)
        elif explorer is not None and winner is not None:
            explorer.on_answered(winner.way, now_s - winner.sent_s, now_s)
        return Outcomes.end(self, frame, code, text, now_s, winner)

    def on_pause(self, paused_s: float) -> None:
        """This node stood still: attempts get the time back, and answers may lie in the inbox."""
        self.waking.wake()
        for pace in self.paces.values():
            pace.on_pause()
        for frame in self.frames.values():
            if frame.flying:
                frame.expires_s += paused_s
                frame.last.sent_s += paused_s

    def tick(self, now_s: float) -> list[Effect]:
        """Deadlines and attempt time-outs."""
        self.doubts.tick(now_s)
        for what in [each for each, until_s in self.broken.items() if now_s >= until_s]:
            del self.broken[what]
        effects: list[Effect] = []
        if self.waking.looks_first():
            return effects
        for frame in list(self.frames.values()):
            if now_s >= frame.deadline_s:
                text = f"no answer after {frame.sent} attempts"
                effects += self.end(frame, "deadline", text, now_s)
            elif frame.flying and now_s >= frame.expires_s:
                self.doubts.add(frame.last.way.route, TIMEOUT_DOUBT_S, now_s)
                effects += self.retry(frame, "timeout", "an attempt took too long", now_s)
        return effects

    def on_result(self, message: Result, bundle: Bundle, now_s: float) -> list[Effect]:
        """Outputs came in, from whichever node made them."""
        frame = self.frames.get(message.frame)
        if frame is None or frame.deployment != message.deployment:
            if message.deployment in self.tallies:
                self.tallies[message.deployment].late += 1
            return []
        attempt = frame.attempts.get(message.attempt)
        if attempt is None or attempt.way.route != (message.hash, message.variant):
            return []
        if wrong := misfit(message.tensors, attempt.graph, attempt.way.split.outputs):
            is_last = frame.flying and message.attempt == frame.sent
            text = f"a wrong result: {wrong}"
            return self.retry(frame, "malformed", text, now_s) if is_last else []
        return self._on_outputs(frame, attempt, message, bundle, now_s)

    def _on_outputs(
        self, frame: OpenFrame, attempt: Attempt, message: Result, bundle: Bundle, now_s: float
    ) -> list[Effect]:
        """Some outputs of one attempt; all of them end the frame."""
        for head in message.tensors:
            patch = Patch(head.name, head.rect)
            if patch not in attempt.got:
                attempt.got[patch] = self.bundles.hold(bundle)
        if set(attempt.got) != attempt.way.split.outputs:
            return []
        way, flight_s = attempt.way, now_s - attempt.sent_s
        self.broken.pop(way.route, None)
        self.paces[frame.deployment].on_landed(way, flight_s, now_s)
        first_s = flight_s if attempt.number == 1 else None
        self.tallies[frame.deployment].on_answered((str(way.plan.id), way.variant), first_s)
        return self.end(frame, "", "", now_s, attempt)

    def on_refusal(self, message: Refusal, now_s: float) -> list[Effect]:
        """A node did not take the frame."""
        frame = self.frames.get(message.frame)
        if frame is None or not frame.flying or message.attempt != frame.sent:
            return []
        if message.plan != frame.last.way.plan.id:
            return []
        frame.last.is_open = len(frame.last.way.split.segments) > 1
        if message.code in ("not-held", "draining"):
            return self.park(frame, now_s + BACKOFF_S)
        if message.code == "spent":  # another try would have less time still
            return self.park(frame, frame.deadline_s)
        return self.retry(frame, message.code, message.text, now_s)

    def on_failure(self, message: Failure, node: str, now_s: float) -> list[Effect]:
        """A segment failed there, or lost the node it had to send to."""
        frame = self.frames.get(message.frame)
        if frame is None or message.attempt not in frame.attempts:
            return []
        if message.code == "worker-died":
            route = frame.attempts[message.attempt].way.route
            self.doubts.add(route, WORKER_DOUBT_S, now_s)
            frame.deaths.append(node)
            if len(frame.deaths) >= DEATHS_MAX:
                return self.poison(frame, message.text, now_s)
        if not frame.flying or message.attempt != frame.sent:
            return []
        frame.last.is_open = len(frame.last.way.split.segments) > 1
        if message.code == "malformed":  # the input is to blame, so no other try would help
            return self.end(frame, message.code, message.text, now_s)
        if message.code == "peer-lost":
            way = frame.last.way
            self.broken[way.route] = now_s + BROKEN_S
            if message.lost in way.split.nodes and message.lost != way.plan.source:
                self.broken[message.lost] = now_s + BROKEN_S
        return self.retry(frame, message.code, message.text, now_s)

    def on_lost(self, is_over: Callable[[Route], bool], now_s: float) -> list[Effect]:
        """Attempts on ways that cannot answer any more are tried anew."""
        effects: list[Effect] = []
        for frame in [frame for frame in self.frames.values() if frame.flying]:
            route = frame.last.way.route
            if is_over(route):
                self.broken[route] = now_s + BROKEN_S
                effects += self.retry(frame, "peer-lost", "a node of the plan was lost", now_s)
        return effects

    def is_broken(self, way: Way, now_s: float) -> bool:
        """Whether it, or another way, lost one of its nodes so lately that it is not tried yet."""
        parts: Iterable[Route | str] = (way.route, *way.nodes)
        return any(now_s < self.broken.get(each, 0.0) for each in parts)

    def plans_in_use(self) -> frozenset[str]:
        """Hashes of the plans that open frames fly under."""
        flying = (frame for frame in self.frames.values() if frame.flying)
        return frozenset(frame.last.way.plan.hash for frame in flying)

    def _move(self, mine: list[OpenFrame], way: Way, now_s: float) -> list[Effect]:
        """What flies on a doubted way goes along this one instead, as no attempt."""
        effects: list[Effect] = []
        for frame in [each for each in mine if each.flying and each.moves < MOVES_MAX]:
            route = frame.last.way.route
            if route != way.route and self.doubts.until_s(route, now_s) > now_s:
                frame.moves += 1
                effects += self.park(frame, now_s)
        return effects

    def _overload(self, frame: OpenFrame) -> str:
        """Why there is no place for one more frame, in words; empty where there is."""
        parked = [other.deployment for other in self.frames.values() if not other.flying]
        if (
            len(parked) >= PARKED_FRAMES_MAX
            or self.parked_bytes + frame.size_bytes > PARKED_BYTES_MAX
        ):
            return f"{len(parked)} frames of {self.parked_bytes} bytes wait already"
        if frame.deployment not in self.full:
            return ""
        waiting, now_s = parked.count(frame.deployment), frame.submitted_s
        return self.paces[frame.deployment].overload(waiting, frame.deadline_s - now_s, now_s)

    def _send(
        self, frame: OpenFrame, along: Way | Trial, graph: Graph, flying: int, now_s: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        if isinstance(along, Trial):
            frame.is_trial = True
            way, limit_s = along
        else:
            way, pace = along, self.paces[frame.deployment]
            pace.take(way)
            limit_s = pace.timeout_s(flying) * 2**frame.spent
        if frame.sent and frame.last.graph is not graph:
            effects += self.forget(frame)
        frame.sent += 1
        frame.attempts[frame.sent] = Attempt(frame.sent, way, graph, now_s, is_alone=not flying)
        frame.flying, frame.expires_s = True, now_s + limit_s
        return effects + [
            SendTensors(
                way.split.segments[at].node,
                attempt_at(frame, way, self.session, at, now_s),
                (frame.bundle,),
            )
            for at in way.split.entry
        ]
