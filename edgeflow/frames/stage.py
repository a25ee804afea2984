"""Computing this node's segment of other nodes' frames (and of its own).

    Frame ─▶ held? fits? budget? room? ─▶ gather until all inputs are here ─▶ queue ─▶ run ─▶ send
                 no: Refusal to the source       budget spent: dropped           fail: Failure

A stage keeps nothing after sending. It never waits and never asks: full means refuse. What its
source cancels starts no more, also where the cancel came before the tensors. A job that runs is
left to end; what it made goes no further, but for outputs of a frame that is still wanted.

Invariants: nothing runs for a plan not held (F3), nor after its budget is spent or its cancel was
heard (D5), nor for a source whose link is gone; queued bytes stay below QUEUED_BYTES_MAX (D4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from edgeflow.estimation.busyness import Busyness
from edgeflow.events import (
    Bundle,
    Effect,
    RunSegment,
    SegmentDone,
    SendSignal,
    SendTensors,
    Tensors,
)
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.cancelled import Cancelled, FrameKey
from edgeflow.layout.headers import heads_of, misfit
from edgeflow.layout.split import Patch, Segment
from edgeflow.messages import Cancel, Failure, Frame, Refusal, Result, TensorHead
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import Way

QUEUED_FRAMES_MAX = 64
"""Frames gathered and waiting: two windows of a busy fleet."""
QUEUED_BYTES_MAX = 512 << 20
"""The same in bytes of tensors; beyond it a frame is refused, and its source tries again."""
BUDGET_S_MAX = 3600.0
"""No frame is kept longer, whatever its header says."""


@dataclass(slots=True)
class Work:
    """One attempt at one frame, at this node."""

    frame: Frame
    way: Way
    segment: Segment
    expires_s: float
    got: set[Patch] = field(default_factory=set)
    bundles: list[Bundle] = field(default_factory=list)
    size_bytes: int = 0
    is_cancelled: bool = False
    """Nothing of it is sent on."""
    is_over: bool = False
    """Nor are outputs of the model sent to the source."""
    queued_s: float = 0.0
    """When it was complete."""

    def is_of(self, frame: FrameKey, attempt: int) -> bool:
        """Whether it is that attempt at that frame, or one before it."""
        return self.frame.attempt <= attempt and frame_of(self.frame) == frame


WorkKey = tuple[str, int, str, int, int, int]


def key_of(frame: Frame) -> WorkKey:
    """Tells attempts and segments apart, whoever's they are."""
    attempt = (frame.source, frame.source_session, frame.deployment, frame.frame, frame.attempt)
    return (*attempt, frame.segment)


def frame_of(message: Frame | Cancel) -> FrameKey:
    """The frame that a message is about, whoever's it is."""
    return message.source, message.source_session, message.frame


def result_of(frame: Frame, compute_s: float, tensors: tuple[TensorHead, ...]) -> Result:
    """The header under which outputs of this attempt return to the source."""
    return Result(
        frame.deployment,
        frame.plan,
        frame.variant,
        frame.hash,
        frame.frame,
        frame.attempt,
        compute_s,
        tensors,
    )


@dataclass(slots=True)
class Stage:
    """Gathers, queue and the one running job."""

    me: str
    bundles: Bundles
    gathers: dict[WorkKey, Work] = field(default_factory=dict)
    queue: deque[Work] = field(default_factory=deque)
    running: Work | None = None
    job: int = 0
    queued_bytes: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: Cancelled = field(default_factory=Cancelled)
    busyness: Busyness = field(default_factory=Busyness)

    def on_frame(
        self, event: Tensors, way: Way | None, graph: Graph | None, now_s: float
    ) -> list[Effect]:
        """Take one message of a frame, or refuse it."""
        frame = event.message
        assert isinstance(frame, Frame)
        if self.cancelled.covers(frame_of(frame), frame.attempt):
            return []
        if way is None or graph is None or not way.segments:
            return self._refuse(frame, "not-held")
        segment = way.segment(frame.segment)
        code, text = _what_is_wrong(frame, way, segment, graph)
        if code or segment is None:
            return self._refuse(frame, code, text)
        key = key_of(frame)
        work = self.gathers.get(key)
        if self._is_full(event.size_bytes, is_new=work is None):
            text = f"{len(self)} frames wait at {self.me}"
            return [*self._refuse(frame, "full", text), *self._drop(key)]
        if work is None:
            expires_s = now_s + min(frame.budget_s, BUDGET_S_MAX)
            work = self.gathers[key] = Work(frame, way, segment, expires_s)
        if not self._add(work, event) or len(work.got) < len(segment.inputs):
            return []
        del self.gathers[key]
        work.queued_s = now_s
        self.queue.append(work)
        return self.next(now_s)

    def _add(self, work: Work, event: Tensors) -> bool:
        """Put a piece to the others; False where it brings nothing new."""
        given = {Patch(head.name, head.rect) for head in event.message.tensors}
        if given <= work.got:
            return False
        work.got |= given
        work.bundles.append(self.bundles.hold(event.bundle))
        work.size_bytes += event.size_bytes
        self.queued_bytes += event.size_bytes
        return True

    def __len__(self) -> int:
        """Frames here, gathered or not."""
        return len(self.gathers) + len(self.queue) + (self.running is not None)

    def next(self, now_s: float) -> list[Effect]:
        """Start the first frame in the queue whose budget is not spent."""
        effects: list[Effect] = []
        while self.queue and self.running is None:
            work = self.queue.popleft()
            if now_s >= work.expires_s:
                self.expired += 1
                effects += self._forget(work)
                continue
            self.running, self.job = work, self.job + 1
            self.busyness.on_start(work.frame.deployment, now_s - work.queued_s, now_s)
            key = work.way.key(work.segment.at)
            effects.append(RunSegment(self.job, key, tuple(work.bundles)))
        return effects

    def on_done(
        self, event: SegmentDone, graph: Graph | None, linked: frozenset[str], now_s: float
    ) -> list[Effect]:
        """Send the outputs to whoever needs them next."""
        work = self.running
        if work is None or event.job != self.job:
            return []
        self.running = None
        self.busyness.on_end(now_s)
        effects: list[Effect] = []
        if graph is not None and not work.is_cancelled:
            budget_s = work.expires_s - now_s
            for at, patches in work.segment.sends.items():
                tensors = heads_of(graph, patches)
                onward = replace(work.frame, budget_s=budget_s, tensors=tensors, segment=at)
                node = work.way.split.segments[at].node
                effects += self._send(work, node, onward, event.bundle, linked)
        if graph is not None and work.segment.results and not work.is_over:
            tensors = heads_of(graph, work.segment.results)
            result = result_of(work.frame, event.seconds, tensors)
            effects += self._send(work, work.frame.source, result, event.bundle, linked)
        return effects + self._forget(work) + self.next(now_s)

    def on_failed(self, job: int, text: str, now_s: float, code: str = "failed") -> list[Effect]:
        """The executor raised: the source decides what to do."""
        work = self.running
        if work is None or job != self.job:
            return []
        self.running = None
        self.busyness.on_end(now_s)
        failed = self._signal(work.frame, code, f"{self.me}: {text}"[:2000])
        return [failed, *self._forget(work), *self.next(now_s)]

    def tick(self, now_s: float) -> list[Effect]:
        """Partial gathers whose budget is spent are dropped."""
        effects: list[Effect] = []
        for key, work in list(self.gathers.items()):
            if now_s >= work.expires_s:
                self.expired += 1
                effects += self._drop(key)
        return effects

    def retire(self, plan_hash: str) -> list[Effect]:
        """A plan ended: what waits under it goes back to its source."""
        effects: list[Effect] = []
        for key, work in list(self.gathers.items()):
            if work.frame.hash == plan_hash:
                effects += self._refuse(work.frame, "not-held") + self._drop(key)
        for work in [work for work in self.queue if work.frame.hash == plan_hash]:
            self.queue.remove(work)
            effects += self._refuse(work.frame, "not-held") + self._forget(work)
        return effects

    def on_source_lost(self, source: str, session: int) -> list[Effect]:
        """Nobody waits for its frames: it tries them anew once it is back."""
        lost = (source, session)
        return self._drop_all(lambda work: frame_of(work.frame)[:2] == lost)

    def on_cancel(self, message: Cancel) -> list[Effect]:
        """Nobody waits for these attempts at a frame: start nothing more of them."""
        frame, attempt = frame_of(message), message.attempt
        self.cancelled.add(frame, attempt)
        work = self.running
        if work is not None and work.is_of(frame, attempt):
            work.is_cancelled, work.is_over = True, work.is_over or message.is_over
        return self._drop_all(lambda work: work.is_of(frame, attempt))

    def _drop_all(self, is_over: Callable[[Work], bool]) -> list[Effect]:
        """Forget gathers, and what waits in the queue."""
        effects: list[Effect] = []
        for key in [key for key, work in self.gathers.items() if is_over(work)]:
            effects += self._drop(key)
        for work in [work for work in self.queue if is_over(work)]:
            self.queue.remove(work)
            effects += self._forget(work)
        return effects

    def _is_full(self, size_bytes: int, *, is_new: bool) -> bool:
        if is_new and len(self) >= QUEUED_FRAMES_MAX:
            return True
        return self.queued_bytes + size_bytes > QUEUED_BYTES_MAX

    def _drop(self, key: WorkKey) -> list[Effect]:
        """Forget a gather, if there is one."""
        work = self.gathers.pop(key, None)
        return self._forget(work) if work is not None else []

    def _send(
        self, work: Work, node: str, message: Frame | Result, bundle: Bundle, linked: frozenset[str]
    ) -> list[Effect]:
        if node != self.me and node not in linked:
            text = f"{self.me} has no link to {node}"
            return [self._signal(work.frame, "peer-lost", text, node)]
        return [SendTensors(node, message, (bundle,))]

    def _refuse(self, frame: Frame, code: str, text: str = "") -> list[Effect]:
        self.refused += 1
        refusal = Refusal(frame.deployment, frame.frame, frame.attempt, code, frame.plan, text)
        return [SendSignal(frame.source, refusal)]

    def _signal(self, frame: Frame, code: str, text: str, lost: str | None = None) -> Effect:
        failure = Failure(frame.deployment, frame.frame, frame.attempt, code, text, lost)
        return SendSignal(frame.source, failure)

    def _forget(self, work: Work) -> list[Effect]:
        self.queued_bytes -= work.size_bytes
        effects: list[Effect] = []
        for bundle in work.bundles:
            effects += self.bundles.drop(bundle)
        return effects


def _what_is_wrong(
    frame: Frame, way: Way, segment: Segment | None, graph: Graph
) -> tuple[str, str]:
    """(code, text) of the refusal; empty where a frame may be taken."""
    if segment is None:
        return "malformed", f"segment {frame.segment} of its plan is not for this node"
    if wrong := misfit(frame.tensors, graph, segment.wanted):
        return "malformed", wrong
    if (frame.source, frame.source_session) != way.home:
        return "malformed", "its source is not that of its plan"
    return ("", "") if frame.budget_s > 0 else ("spent", "")
