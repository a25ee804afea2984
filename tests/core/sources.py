"""A source's open frames, driven by hand; shared by the tests of what becomes of them."""

from __future__ import annotations

from msgspec.structs import replace

from edgeflow.codec import plan_hash
from edgeflow.events import Deliver, Effect, SendSignal, SendTensors
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.inflight import Inflight
from edgeflow.frames.openframe import OpenFrame
from edgeflow.frames.pace import Window
from edgeflow.layout.placement import parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import (
    Cancel,
    Claim,
    Failure,
    Frame,
    Plan,
    PlanId,
    Refusal,
    Result,
    TensorHead,
)
from edgeflow.plans.heldplan import Way
from edgeflow.sim.toy import MODEL, TOY

CLAIM = Claim(1, 1, "edge-9", 1)
IMAGE = (TensorHead("image", "float32", (1, 3, 112, 112)),)
HEAD = (TensorHead("head", "float32", (1, 8, 28, 28)),)


def held(seq: int = 1, line: str = "stem..head @edge-1") -> Way:
    """A plan of one variant, at its source."""
    sessions = {"cam-1": 1, "edge-1": 1, "edge-2": 1, "cloud-1": 1}
    name = PlanId(CLAIM, seq)
    made = Plan(name, "job", MODEL, "cam-1", sessions, (line,), 0.01, 0.01, "x", "y", "0" * 64)
    plan = replace(made, hash=plan_hash(made))
    return Way(plan, 0, split(TOY, parse_placement(TOY, line), "cam-1"), "cam-1")


class Source:
    """cam-1's open frames, driven by hand."""

    def __init__(self) -> None:
        self.bundles = Bundles()
        self.inflight = Inflight("cam-1", 1, self.bundles)
        self.plan: Way | None = held()
        self.now_s, self.bundle = 100.0, 0

    def submit(
        self,
        deadline_s: float = 30.0,
        tensors: tuple[TensorHead, ...] = IMAGE,
        size_bytes: int = 1000,
        reply: tuple[str, int] | None = None,
    ) -> list[Effect]:
        """One more frame; its number is that of its token."""
        self.bundle += 1
        number = self.inflight.new_id()
        token = None if reply else number
        until_s = self.now_s + deadline_s
        frame = OpenFrame(
            number, "job", self.bundle, size_bytes, self.now_s, until_s, token, reply, tensors
        )
        return self.inflight.submit(frame, TOY)

    def pump(self, window: int = 4, window_bytes: int = 1 << 30) -> list[Frame]:
        """What leaves for the fleet now, as after each event."""
        self.inflight.full.clear()
        if self.plan is None or self.inflight.is_broken(self.plan, self.now_s):
            return []
        room = Window(window, window_bytes)
        effects = self.inflight.pump("job", self.plan, room, TOY, self.now_s)
        return [
            effect.message
            for effect in effects
            if isinstance(effect, SendTensors) and isinstance(effect.message, Frame)
        ]

    def result(self, sent: Frame, tensors: tuple[TensorHead, ...] = HEAD) -> list[Effect]:
        """The answer to an attempt comes."""
        self.bundle += 1
        self.bundles.hold(self.bundle)
        message = Result("job", sent.plan, 0, sent.hash, sent.frame, sent.attempt, 0.01, tensors)
        effects = self.inflight.on_result(message, self.bundle, self.now_s)
        return effects + self.bundles.drop(self.bundle)

    def refuse(self, sent: Frame, code: str = "full") -> list[Effect]:
        """A node does not take it."""
        refusal = Refusal("job", sent.frame, sent.attempt, code, sent.plan)
        return self.inflight.on_refusal(refusal, self.now_s)

    def fail(
        self, sent: Frame, code: str = "failed", node: str = "edge-1", lost: str | None = None
    ) -> list[Effect]:
        """A node cannot compute it, or send it on to the `lost` one."""
        failure = Failure("job", sent.frame, sent.attempt, code, "it broke", lost)
        return self.inflight.on_failure(failure, node, self.now_s)

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes, then a tick."""
        self.now_s += seconds
        return self.inflight.tick(self.now_s)


def outcomes(effects: list[Effect]) -> list[str]:
    """Codes of the outcomes among these."""
    return [effect.code for effect in effects if isinstance(effect, Deliver)]


def cancels(effects: list[Effect]) -> list[tuple[str, int, int, bool]]:
    """(node, frame, attempt, is it over?) of the cancels among these."""
    return [
        (each.peer, each.message.frame, each.message.attempt, each.message.is_over)
        for each in effects
        if isinstance(each, SendSignal) and isinstance(each.message, Cancel)
    ]
