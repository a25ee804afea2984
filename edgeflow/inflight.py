"""Exactly one outcome for every accepted frame. Runs at the source of a deployment.

    submitted ─▶ parked ──a usable plan, room in the window──▶ in flight ──all outputs──▶ Result
       |           ^ |                                          | refusal, peer lost,
     overload      | deadline                                   | time-out: next attempt
       v           | v                                          v
     Error         | Error <── deadline, 3 attempts, bad input ─'
                   '─────────── not held: no attempt ───────────'

The source keeps the input until the outcome, alone retries and alone removes duplicates. Its clock
and the first outcome decide; whatever comes later is dropped and counted. To wait for a plan, and
to be told "plan not held", is no attempt. Each further attempt has twice the time of the last, so
that three of them outlast the time in which a dead node is noticed.

Invariants: one Deliver (or Outcome) per accepted frame (D1), by its deadline and one tick (D2); at
most 3 attempts, retries within the budget (D7); all outputs of a Result are of one attempt (F4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgeflow.bundles import Bundles
from edgeflow.events import Bundle, Effect, SendTensors
from edgeflow.graph import Graph
from edgeflow.headers import misfit, mismatch
from edgeflow.heldplan import Route, Way
from edgeflow.membership import DEAD_S
from edgeflow.messages import Failure, Metrics, Refusal, Result
from edgeflow.openframe import OpenFrame, answer, attempt_at
from edgeflow.split import Patch
from edgeflow.tally import Tally

ATTEMPTS_MAX = 3
"""Tries at one frame: more would hide a broken fleet behind latency."""
PARKED_FRAMES_MAX = 256
"""Frames waiting for a plan or for room; one more is refused at once as overload."""
PARKED_BYTES_MAX = 256 << 20
"""The same in bytes of input: a Pi keeps the rest of its memory."""
TIMEOUT_S_MIN = 1.0
"""An attempt has at least this long: below it a pause of the machine would cost a retry."""
TIMEOUT_FACTOR = 8.0
"""Before 20 results: an attempt may take so many times its prediction, for each frame in flight."""
TIMEOUT_P99_FACTOR = 3.0
"""After them: so many times the measured 99th percentile."""
BACKOFF_S = 0.1
"""A refused frame waits so long before it is tried again."""
BROKEN_S = DEAD_S
"""A plan that lost a node is not tried again before all have had time to know that it is dead; a
new plan, or the node's link coming back, ends the wait. Lower spends attempts on a dead node."""


@dataclass(slots=True)
class Inflight:
    """Open frames of every deployment whose source this node is."""

    me: str
    session: int
    bundles: Bundles
    frames: dict[int, OpenFrame] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    broken: dict[Route, float] = field(default_factory=dict)
    """Way -> not before."""
    next_id: int = 0
    parked_bytes: int = 0

    def submit(self, frame: OpenFrame, graph: Graph | None) -> list[Effect]:
        """Accept a frame, or refuse it at once."""
        wrong = mismatch(frame.tensors, graph.inputs) if graph is not None else ""
        waiting = sum(1 for other in self.frames.values() if not other.flying)
        tally = self.tallies.setdefault(frame.deployment, Tally())
        tally.frames += 1
        self.bundles.hold(frame.bundle)
        if wrong:
            return self._end(frame, "malformed", wrong, frame.submitted_s)
        if waiting >= PARKED_FRAMES_MAX or self.parked_bytes + frame.size_bytes > PARKED_BYTES_MAX:
            text = f"{waiting} frames of {self.parked_bytes} bytes wait already"
            return self._end(frame, "overload", text, frame.submitted_s)
        self.frames[frame.id] = frame
        self.parked_bytes += frame.size_bytes
        return []

    def new_id(self) -> int:
        """A frame number, never used before in this session."""
        self.next_id += 1
        return self.next_id

    def pump(
        self,
        deployment: str,
        way: Way,
        window: int,
        graph: Graph,
        now_s: float,
    ) -> list[Effect]:
        """Send parked frames along a usable way while there is room in the window."""
        mine = [frame for frame in self.frames.values() if frame.deployment == deployment]
        flying = sum(frame.flying for frame in mine)
        effects: list[Effect] = []
        for frame in mine:
            if flying >= window:
                break
            if frame.flying or now_s < frame.retry_s:
                continue
            if wrong := mismatch(frame.tensors, graph.inputs):
                effects += self._end(frame, "malformed", wrong, now_s)
                continue
            effects += self._send(frame, way, graph, flying, now_s)
            flying += 1
        return effects

    def remove(self, deployment: str, text: str, now_s: float) -> list[Effect]:
        """The deployment is gone from here: so are its frames."""
        effects: list[Effect] = []
        for frame in [frame for frame in self.frames.values() if frame.deployment == deployment]:
            effects += self._end(frame, "removed", text, now_s)
        return effects

    def on_submitter_lost(self, node: str, now_s: float) -> list[Effect]:
        """Its frames have nobody to answer: a later session numbers its own from 1 again."""
        effects: list[Effect] = []
        for frame in list(self.frames.values()):
            if frame.reply is not None and frame.reply[0] == node:
                effects += self._end(frame, "cancelled", f"{node} is gone", now_s)
        return effects

    def tick(self, now_s: float) -> list[Effect]:
        """Deadlines and attempt time-outs."""
        effects: list[Effect] = []
        for route in [each for each, until_s in self.broken.items() if now_s >= until_s]:
            del self.broken[route]
        for frame in list(self.frames.values()):
            if now_s >= frame.deadline_s:
                text = f"no answer after {frame.sent} attempts"
                effects += self._end(frame, "deadline", text, now_s)
            elif frame.flying and now_s >= frame.expires_s:
                effects += self._retry(frame, "timeout", "an attempt took too long", now_s)
        return effects

    def on_result(self, message: Result, bundle: Bundle, now_s: float) -> list[Effect]:
        """Outputs came in, from whichever node made them."""
        frame = self.frames.get(message.frame)
        if frame is None or frame.deployment != message.deployment:
            if message.deployment in self.tallies:
                self.tallies[message.deployment].late += 1
            return []
        graph = frame.graph
        if graph is None or frame.attempts.get(message.attempt) != (message.hash, message.variant):
            return []
        if wrong := misfit(message.tensors, graph, frame.wanted[message.attempt]):
            is_last = frame.flying and message.attempt == frame.sent
            text = f"a wrong result: {wrong}"
            return self._retry(frame, "malformed", text, now_s) if is_last else []
        return self._on_outputs(frame, message, bundle, now_s)

    def _on_outputs(
        self, frame: OpenFrame, message: Result, bundle: Bundle, now_s: float
    ) -> list[Effect]:
        """Some outputs of one attempt; all of them end the frame."""
        got = frame.got.setdefault(message.attempt, {})
        for head in message.tensors:
            patch = Patch(head.name, head.rect)
            if patch not in got:
                got[patch] = self.bundles.hold(bundle)
        if set(got) != frame.wanted[message.attempt]:
            return []
        self.broken.pop(Route(message.hash, message.variant), None)
        return self._end(frame, "", "", now_s, got)

    def on_refusal(self, message: Refusal, now_s: float) -> list[Effect]:
        """A node did not take the frame."""
        frame = self.frames.get(message.frame)
        if frame is None or not frame.flying or message.attempt != frame.sent:
            return []
        if message.plan != frame.plan:
            return []
        if message.code in ("not-held", "draining"):
            return self._park(frame, now_s + BACKOFF_S)
        return self._retry(frame, message.code, message.text, now_s)

    def on_failure(self, message: Failure, now_s: float) -> list[Effect]:
        """A segment failed, or lost the node it had to send to."""
        frame = self.frames.get(message.frame)
        if frame is None or not frame.flying or message.attempt != frame.sent:
            return []
        if message.code == "malformed":  # the input is to blame, so no other try would help
            return self._end(frame, message.code, message.text, now_s)
        if message.code == "peer-lost":
            self.broken[frame.attempts[message.attempt]] = now_s + BROKEN_S
        return self._retry(frame, message.code, message.text, now_s)

    def on_lost(self, is_over: Callable[[Route], bool], now_s: float) -> list[Effect]:
        """Attempts on ways that cannot answer any more are tried anew."""
        effects: list[Effect] = []
        for frame in list(self.frames.values()):
            route = frame.attempts[frame.sent] if frame.flying else None
            if route is not None and is_over(route):
                self.broken[route] = now_s + BROKEN_S
                effects += self._retry(frame, "peer-lost", "a node of the plan was lost", now_s)
        return effects

    def is_broken(self, route: Route, now_s: float) -> bool:
        """Whether a way lost a node so lately that it is not tried yet."""
        return now_s < self.broken.get(route, 0.0)

    def plans_in_use(self) -> frozenset[str]:
        """Hashes of the plans that open frames fly under."""
        return frozenset(
            frame.attempts[frame.sent].hash for frame in self.frames.values() if frame.flying
        )

    def metrics(self, deployment: str, now_s: float) -> Metrics:
        """Counts so far, and the rate since the last call."""
        mine = [frame for frame in self.frames.values() if frame.deployment == deployment]
        flying = sum(frame.flying for frame in mine)
        tally = self.tallies[deployment]
        return tally.metrics(deployment, self.me, flying, len(mine) - flying, now_s)

    def _send(
        self, frame: OpenFrame, way: Way, graph: Graph, flying: int, now_s: float
    ) -> list[Effect]:
        plan = way.plan
        if frame.graph is not graph:
            frame.graph, frame.attempts, frame.wanted = graph, {}, {}
        frame.sent += 1
        frame.attempts[frame.sent] = way.route
        frame.wanted[frame.sent] = way.split.outputs
        frame.flying, frame.plan = True, plan.id
        timeout_s = self._timeout_s(frame.deployment, plan.predicted_s, flying + 1)
        frame.expires_s = now_s + timeout_s * 2**frame.spent
        return [
            SendTensors(
                way.split.segments[at].node,
                attempt_at(frame, way, self.session, at, now_s),
                (frame.bundle,),
            )
            for at in way.split.entry
        ]

    def _timeout_s(self, deployment: str, predicted_s: float, flying: int) -> float:
        tally = self.tallies[deployment]
        if len(tally.latencies_s) >= 20:
            return max(TIMEOUT_S_MIN, TIMEOUT_P99_FACTOR * tally.p99_s())
        return max(TIMEOUT_S_MIN, TIMEOUT_FACTOR * predicted_s * flying)

    def _park(self, frame: OpenFrame, retry_s: float) -> list[Effect]:
        frame.flying, frame.retry_s = False, retry_s
        return []

    def _retry(self, frame: OpenFrame, code: str, text: str, now_s: float) -> list[Effect]:
        """Count an attempt; park the frame for the next, or end it."""
        frame.spent += 1
        tally = self.tallies[frame.deployment]
        if frame.spent >= ATTEMPTS_MAX:
            return self._end(frame, code, f"{text}; {ATTEMPTS_MAX} attempts", now_s)
        if not tally.take_retry():
            return self._end(frame, code, f"{text}; the retry budget is spent", now_s)
        return self._park(frame, now_s + (BACKOFF_S if code == "full" else 0.0))

    def _end(
        self,
        frame: OpenFrame,
        code: str,
        text: str,
        now_s: float,
        outputs: Mapping[Patch, Bundle] | None = None,
    ) -> list[Effect]:
        """The one outcome."""
        tally = self.tallies[frame.deployment]
        if self.frames.pop(frame.id, None) is not None:
            self.parked_bytes -= frame.size_bytes
        if code:
            tally.errors += 1
        else:
            tally.on_result(now_s - frame.submitted_s)
        effects = [answer(frame, code, text, outputs or {}, now_s)]
        effects += self.bundles.drop(frame.bundle)
        for got in frame.got.values():
            for bundle in got.values():
                effects += self.bundles.drop(bundle)
        return effects
