"""Frames that come in: from this process, or from a node whose user submits to a source here.

    Submitted ─▶ source here?  yes ─▶ inflight        no ─▶ relay, to the source
    Submit    ─▶ source here?  yes ─▶ inflight        no ─▶ Outcome(unknown-deployment)
    Withdrawn, Withdraw ─▶ whoever has the frame ends it: `cancelled`

A Withdraw may overtake the Submit that it is about: it is remembered, and the frame not taken.

Invariant: whoever handed a frame in is answered once, here or by whom it is given to.
"""

from __future__ import annotations

from edgeflow.events import (
    Deliver,
    Effect,
    SendTensors,
    Signal,
    Submitted,
    Tensors,
    Withdrawn,
)
from edgeflow.frames.cancelled import Cancelled
from edgeflow.frames.openframe import OpenFrame
from edgeflow.frames.stage import BUDGET_S_MAX
from edgeflow.messages import Outcome, Submit, Withdraw
from edgeflow.mind.parts import Parts


class Intake:
    """The door for frames of a NodeCore."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.withdrawn = Cancelled()
        """By submitter, its session and its number."""

    def on_submitted(self, event: Submitted, now_s: float) -> list[Effect]:
        """A frame of this process."""
        view = self.parts.deployments.views.get(event.deployment)
        spec = view.spec if view is not None else None
        if self.parts.state in ("draining", "offline"):
            text = f"{self.parts.me} is {self.parts.state}: it takes no new frames"
            return [Deliver(event.token, "draining", text, (), (), 0.0, 0, "")]
        if spec is None or spec.removed:
            text = f"there is no deployment {event.deployment}; `edgeflow status` lists them"
            return [Deliver(event.token, "unknown-deployment", text, (), (), 0.0, 0, "")]
        deadline_s = event.deadline_s or spec.deadline_s
        if spec.source != self.parts.me:
            linked = self.parts.neighbours.linked()
            return self.parts.relay.submit(event, spec.source, deadline_s, linked, now_s)
        frame = self._open(event, event.deployment, deadline_s, now_s)
        frame.token = event.token
        return self._accept(frame)

    def on_submit(self, event: Tensors, submit: Submit, now_s: float) -> list[Effect]:
        """A frame from another node: it is accepted here, or told at once why not."""
        if self.withdrawn.covers((event.peer, event.session, submit.frame)):
            return []
        view = self.parts.deployments.views.get(submit.deployment)
        spec = view.spec if view is not None else None
        me, code, text = self.parts.me, "", ""
        if spec is None or spec.removed or spec.source != me:
            code, text = "unknown-deployment", f"{me} is not the source of {submit.deployment}"
        elif self.parts.state in ("draining", "offline"):
            code, text = "draining", f"{me} is {self.parts.state}: it takes no new frames"
        elif not submit.budget_s > 0:
            code, text = "deadline", "it was spent on arrival"
        if code:
            outcome = Outcome(submit.deployment, submit.frame, code, text, ())
            return [SendTensors(event.peer, outcome, ())]
        budget_s = min(submit.budget_s, BUDGET_S_MAX)
        frame = self._open(event, submit.deployment, budget_s, now_s)
        frame.reply = (event.peer, submit.frame)
        return self._accept(frame)

    def on_withdrawn(self, event: Withdrawn, now_s: float) -> list[Effect]:
        """The user of this process cancelled a frame; one that has its outcome changes nothing."""
        effects = self.parts.inflight.withdraw(event.token, now_s)
        return effects + self.parts.relay.withdraw(event.token, now_s)

    def on_withdraw(self, event: Signal, withdraw: Withdraw, now_s: float) -> list[Effect]:
        """The user of another node did."""
        self.withdrawn.add((event.peer, event.session, withdraw.frame))
        return self.parts.inflight.withdraw_for((event.peer, withdraw.frame), now_s)

    def _open(
        self, event: Submitted | Tensors, deployment: str, budget_s: float, now_s: float
    ) -> OpenFrame:
        tensors = event.tensors if isinstance(event, Submitted) else event.message.tensors
        return OpenFrame(
            id=self.parts.inflight.new_id(),
            deployment=deployment,
            bundle=event.bundle,
            size_bytes=event.size_bytes,
            submitted_s=now_s,
            deadline_s=now_s + budget_s,
            token=None,
            reply=None,
            tensors=tensors,
        )

    def _accept(self, frame: OpenFrame) -> list[Effect]:
        view = self.parts.deployments.views.get(frame.deployment)
        return self.parts.inflight.submit(frame, self.parts.graph_of(view))
