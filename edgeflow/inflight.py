"""Exactly one outcome for every accepted frame. Runs at the source of a deployment.

    submitted ─▶ parked ──a usable plan, room in the window──▶ in flight ──all outputs──▶ Result
       |           ^ |                                          | refusal, peer lost,
     overload      | deadline                                   | time-out: next attempt
       v           | v                                          v
     Error         | Error <────────── deadline, 3 attempts ────'
                   '─────────── not held: no attempt ───────────'

The source keeps the input until the outcome, alone retries and alone removes duplicates. Its clock
and the first outcome decide; whatever comes later is dropped and counted. To wait for a plan, and
to be told "plan not held", is no attempt.

Invariants: one Deliver (or Outcome) per accepted frame (D1), by its deadline and one tick (D2); at
most 3 attempts, retries within the budget (D7); all outputs of a Result are of one attempt (F4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeflow.bundles import Bundles
from edgeflow.events import Bundle, Deliver, Effect, SendTensors
from edgeflow.graph import Contract, Graph
from edgeflow.holding import HeldPlan
from edgeflow.messages import Failure, Frame, Metrics, Outcome, Refusal, Result, TensorHead

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
RETRIES_PER_RESULT = 0.2
"""Each result earns a fifth of a retry; a fleet that fails more often than that is not helped."""
RETRIES_START = 16.0
"""Retries at hand at the start, and at most."""
BACKOFF_S = 0.1
"""A refused frame waits so long before it is tried again."""
BROKEN_S = 1.0
"""A plan that lost a node is not tried again for so long, unless a new one comes."""
LATENCIES_KEPT = 512
"""Latencies that p50 and p99 are taken from."""


@dataclass(slots=True)
class OpenFrame:
    """One accepted frame without an outcome yet."""

    id: int
    deployment: str
    bundle: Bundle
    size_bytes: int
    submitted_s: float
    deadline_s: float
    token: int | None
    """Of the local submitter."""
    reply: tuple[str, int] | None
    """(node, its frame number) of a remote one."""
    tensors: tuple[TensorHead, ...]
    sent: int = 0
    """Number of the last attempt."""
    attempts: dict[int, str] = field(default_factory=dict)
    """Attempt -> hash of its plan; only those under the model of the last attempt."""
    graph: Graph | None = None
    """Of the last attempt."""
    got: dict[int, dict[str, Bundle]] = field(default_factory=dict)
    """Attempt -> output -> the bundle it is in."""
    spent: int = 0
    """Attempts that count."""
    flying: bool = False
    expires_s: float = 0.0
    retry_s: float = 0.0
    plan: str = ""


@dataclass(slots=True)
class Tally:
    """What became of a deployment's frames."""

    frames: int = 0
    results: int = 0
    errors: int = 0
    late: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    retries: float = RETRIES_START
    told: tuple[int, int, int] = (0, 0, 0)
    """Frames, results and errors at the last message."""
    told_s: float = 0.0

    def quantile_s(self, share: float) -> float:
        """Of the last latencies; 0 without any."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(slots=True)
class Inflight:
    """Open frames of every deployment whose source this node is."""

    me: str
    session: int
    bundles: Bundles
    frames: dict[int, OpenFrame] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    broken: dict[str, float] = field(default_factory=dict)
    """Plan hash -> not before."""
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
            return self._end(frame, "malformed", wrong, (), frame.submitted_s)
        if waiting >= PARKED_FRAMES_MAX or self.parked_bytes > PARKED_BYTES_MAX:
            text = f"{waiting} frames of {self.parked_bytes} bytes wait already"
            return self._end(frame, "overload", text, (), frame.submitted_s)
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
        plan: HeldPlan | None,
        window: int,
        graph: Graph | None,
        now_s: float,
    ) -> list[Effect]:
        """Send parked frames while there is a usable plan and room in the window."""
        if plan is None or graph is None or now_s < self.broken.get(plan.plan.hash, 0.0):
            return []
        mine = [frame for frame in self.frames.values() if frame.deployment == deployment]
        flying = sum(frame.flying for frame in mine)
        effects: list[Effect] = []
        for frame in mine:
            if flying >= window:
                break
            if frame.flying or now_s < frame.retry_s:
                continue
            if wrong := mismatch(frame.tensors, graph.inputs):
                effects += self._end(frame, "malformed", wrong, (), now_s)
                continue
            effects += self._send(frame, plan, graph, flying, now_s)
            flying += 1
        return effects

    def remove(self, deployment: str, now_s: float) -> list[Effect]:
        """The deployment is gone: so are its frames."""
        effects: list[Effect] = []
        for frame in [frame for frame in self.frames.values() if frame.deployment == deployment]:
            text = f"deployment {deployment} was removed"
            effects += self._end(frame, "removed", text, (), now_s)
        return effects

    def tick(self, now_s: float) -> list[Effect]:
        """Deadlines and attempt time-outs."""
        effects: list[Effect] = []
        for frame in list(self.frames.values()):
            if now_s >= frame.deadline_s:
                text = f"no answer after {frame.sent} attempts"
                effects += self._end(frame, "deadline", text, (), now_s)
            elif frame.flying and now_s >= frame.expires_s and frame.spent < ATTEMPTS_MAX:
                effects += self._retry(frame, "timeout", "an attempt took too long", now_s)
        return effects

    def on_result(self, message: Result, bundle: Bundle, now_s: float) -> list[Effect]:
        """Outputs came in, from whichever node made them."""
        frame = self.frames.get(message.frame)
        tally = self.tallies.setdefault(message.deployment, Tally())
        if frame is None or frame.deployment != message.deployment:
            tally.late += 1
            return []
        graph = frame.graph
        if graph is None or frame.attempts.get(message.attempt) != message.hash:
            return []
        outputs = [graph.tensors[name] for name in graph.outputs]
        if mismatch(message.tensors, outputs, partly=True):
            return self._retry(frame, "malformed", "a result of the wrong shape", now_s)
        got = frame.got.setdefault(message.attempt, {})
        for head in message.tensors:
            if head.name not in got:
                got[head.name] = self.bundles.hold(bundle)
        if set(got) != set(graph.outputs):
            return []
        return self._end(frame, "", "", tuple(got[name] for name in graph.outputs), now_s, graph)

    def on_refusal(self, message: Refusal, now_s: float) -> list[Effect]:
        """A node did not take the frame."""
        frame = self.frames.get(message.frame)
        if frame is None or not frame.flying or message.attempt != frame.sent:
            return []
        if message.code in ("not-held", "draining"):
            return self._park(frame, now_s + BACKOFF_S)
        return self._retry(frame, message.code, message.text, now_s)

    def on_failure(self, message: Failure, now_s: float) -> list[Effect]:
        """A segment failed, or lost the node it had to send to."""
        frame = self.frames.get(message.frame)
        if frame is None or not frame.flying or message.attempt != frame.sent:
            return []
        if message.code == "peer-lost":
            self.broken[frame.attempts[message.attempt]] = now_s + BROKEN_S
        return self._retry(frame, message.code, message.text, now_s)

    def on_lost(self, is_over: Callable[[str], bool], now_s: float) -> list[Effect]:
        """Attempts under plans that cannot answer any more (by hash) are tried anew."""
        effects: list[Effect] = []
        for frame in list(self.frames.values()):
            if frame.flying and is_over(frame.attempts[frame.sent]):
                effects += self._retry(frame, "peer-lost", "a node of the plan was lost", now_s)
        return effects

    def plans_in_use(self) -> frozenset[str]:
        """Hashes of the plans that open frames fly under."""
        return frozenset(
            frame.attempts[frame.sent] for frame in self.frames.values() if frame.flying
        )

    def metrics(self, deployment: str, now_s: float) -> Metrics:
        """Counts so far, and the rate since the last call."""
        tally = self.tallies.setdefault(deployment, Tally())
        mine = [frame for frame in self.frames.values() if frame.deployment == deployment]
        flying = sum(frame.flying for frame in mine)
        counts = (tally.frames, tally.results, tally.errors)
        fps = (tally.results - tally.told[1]) / max(now_s - tally.told_s, 1e-6)
        tally.told, tally.told_s = counts, now_s
        return Metrics(
            deployment,
            self.me,
            tally.frames,
            tally.results,
            tally.errors,
            flying,
            len(mine) - flying,
            fps,
            tally.quantile_s(0.5),
            tally.quantile_s(0.99),
        )

    def _send(
        self, frame: OpenFrame, held: HeldPlan, graph: Graph, flying: int, now_s: float
    ) -> list[Effect]:
        assert held.split is not None
        plan = held.plan
        if frame.graph is not graph:
            frame.graph, frame.attempts = graph, {}
        frame.sent += 1
        frame.attempts[frame.sent] = plan.hash
        frame.flying, frame.plan = True, str(plan.id)
        frame.expires_s = now_s + self._timeout_s(frame.deployment, plan.predicted_s, flying + 1)
        return [
            SendTensors(
                node,
                Frame(
                    plan.deployment,
                    plan.id,
                    0,
                    plan.hash,
                    self.me,
                    self.session,
                    frame.id,
                    frame.sent,
                    frame.deadline_s - now_s,
                    heads(graph, names),
                ),
                (frame.bundle,),
            )
            for node, names in held.split.entry.items()
        ]

    def _timeout_s(self, deployment: str, predicted_s: float, flying: int) -> float:
        tally = self.tallies[deployment]
        if len(tally.latencies_s) >= 20:
            return max(TIMEOUT_S_MIN, TIMEOUT_P99_FACTOR * tally.quantile_s(0.99))
        return max(TIMEOUT_S_MIN, TIMEOUT_FACTOR * predicted_s * flying)

    def _park(self, frame: OpenFrame, retry_s: float) -> list[Effect]:
        frame.flying, frame.retry_s = False, retry_s
        return []

    def _retry(self, frame: OpenFrame, code: str, text: str, now_s: float) -> list[Effect]:
        """Count an attempt; park the frame for the next, or end it."""
        frame.spent += 1
        tally = self.tallies[frame.deployment]
        if frame.spent >= ATTEMPTS_MAX:
            return self._end(frame, code, f"{text}; {ATTEMPTS_MAX} attempts", (), now_s)
        if tally.retries < 1:
            return self._end(frame, code, f"{text}; the retry budget is spent", (), now_s)
        tally.retries -= 1
        return self._park(frame, now_s + (BACKOFF_S if code == "full" else 0.0))

    def _end(
        self,
        frame: OpenFrame,
        code: str,
        text: str,
        outputs: tuple[Bundle, ...],
        now_s: float,
        graph: Graph | None = None,
    ) -> list[Effect]:
        """The one outcome."""
        tally = self.tallies[frame.deployment]
        if self.frames.pop(frame.id, None) is not None:
            self.parked_bytes -= frame.size_bytes
        if code:
            tally.errors += 1
        else:
            tally.results += 1
            tally.retries = min(RETRIES_START, tally.retries + RETRIES_PER_RESULT)
            tally.latencies_s.append(now_s - frame.submitted_s)
        names = graph.outputs if graph is not None else ()
        effects = [self._answer(frame, code, text, outputs, names, graph, now_s)]
        effects += self.bundles.drop(frame.bundle)
        for got in frame.got.values():
            for bundle in got.values():
                effects += self.bundles.drop(bundle)
        return effects

    def _answer(
        self,
        frame: OpenFrame,
        code: str,
        text: str,
        outputs: tuple[Bundle, ...],
        names: tuple[str, ...],
        graph: Graph | None,
        now_s: float,
    ) -> Effect:
        attempts = frame.sent
        if frame.reply is None:
            assert frame.token is not None
            seconds = now_s - frame.submitted_s
            return Deliver(frame.token, code, text, outputs, names, seconds, attempts, frame.plan)
        node, number = frame.reply
        tensors = heads(graph, names) if graph is not None else ()
        outcome = Outcome(frame.deployment, number, code, text, tensors, attempts, frame.plan)
        return SendTensors(node, outcome, outputs)


def heads(graph: Graph, names: Iterable[str]) -> tuple[TensorHead, ...]:
    """Headers of these tensors by contract; a symbol stands as 0 until the shell knows better."""
    contracts = [graph.tensors[name] for name in names]
    return tuple(
        TensorHead(
            contract.name,
            contract.dtype,
            tuple(dim if isinstance(dim, int) else 0 for dim in contract.shape),
        )
        for contract in contracts
    )


def mismatch(
    tensors: Iterable[TensorHead], contracts: Iterable[Contract], *, partly: bool = False
) -> str:
    """Why these tensors do not fit the contracts, in words; empty where they do.

    `partly`: some of the contracts may be unanswered, as another message brings the rest.
    """
    wanted = {contract.name: contract for contract in contracts}
    given = {head.name: head for head in tensors}
    if unknown := sorted(set(given) - set(wanted)):
        return f"no tensor is called {', '.join(unknown)}; there is {', '.join(sorted(wanted))}"
    if not partly and (absent := sorted(set(wanted) - set(given))):
        return f"missing: {', '.join(absent)}"
    for name, head in given.items():
        contract = wanted[name]
        fits = len(head.shape) == len(contract.shape) and all(
            dim == size or isinstance(dim, str)
            for dim, size in zip(contract.shape, head.shape, strict=True)
        )
        if head.dtype != contract.dtype or not fits:
            shape, want = "x".join(map(str, head.shape)), "x".join(map(str, contract.shape))
            return f"{name} is {head.dtype} {shape}, wanted is {contract.dtype} {want}"
    return ""
