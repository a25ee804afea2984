"""One accepted frame at its source, the attempts at it, the messages that make and end them.

    attempt_at ─▶ the segments that read the input      cancel ─▶ every node of the attempt
    answer     ─▶ whoever handed the frame in

Invariant: outputs are held by attempt, so that those of two attempts never mix.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.events import Bundle, Deliver, Effect, SendSignal, SendTensors
from edgeflow.layout.headers import heads, heads_of
from edgeflow.layout.split import Patch
from edgeflow.messages import Cancel, Frame, Outcome, TensorHead
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import Way


@dataclass(slots=True)
class Attempt:
    """One try at a frame."""

    number: int
    way: Way
    graph: Graph
    sent_s: float
    is_alone: bool = False
    """No other frame of the deployment was under way when it was sent."""
    asked_s: float = 0.0
    """It had flown for so long when another way was last looked for."""
    got: dict[Patch, Bundle] = field(default_factory=dict)
    """What came of the outputs, or of parts of them, and the bundle it is in."""
    is_open: bool = True
    """Some node may still compute for it."""


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
    attempts: dict[int, Attempt] = field(default_factory=dict)
    """By number; only those under the model of the last one."""
    spent: int = 0
    """Attempts that count."""
    deaths: list[str] = field(default_factory=list)
    """Nodes whose worker process died over it."""
    flying: bool = False
    """The last attempt was not given up."""
    is_trial: bool = False
    """Its first attempt went along a doubtful way, see `edgeflow.frames.explore`."""
    moves: int = 0
    """Attempts that were given up because of others on their way."""
    expires_s: float = 0.0
    retry_s: float = 0.0

    @property
    def last(self) -> Attempt:
        """The last attempt; only of a frame that was sent."""
        return self.attempts[self.sent]


def attempt_at(frame: OpenFrame, way: Way, session: int, segment: int, now_s: float) -> Frame:
    """The header under which a segment's inputs leave the source for the attempt `frame.sent`."""
    plan, graph = way.plan, frame.last.graph
    given = {head.name: head for head in frame.tensors}
    patches = way.split.entry[segment]
    return Frame(
        plan.deployment,
        plan.id,
        way.variant,
        plan.hash,
        plan.source,
        session,
        frame.id,
        frame.sent,
        frame.deadline_s - now_s,
        tuple(
            given[patch.name] if patch.rect is None else heads_of(graph, [patch])[0]
            for patch in patches
        ),
        segment,
    )


def cancel(frame: OpenFrame, session: int, *, is_over: bool) -> list[Effect]:
    """Tell every node of the last attempt to start nothing more of it; `is_over`: the frame has its
    outcome, so that what runs now is of no use either."""
    plan = frame.last.way.plan
    message = Cancel(plan.deployment, plan.source, session, frame.id, frame.sent, is_over)
    return [SendSignal(node, message) for node in frame.last.way.split.nodes]


def answer(
    frame: OpenFrame, code: str, text: str, winner: Attempt | None, now_s: float
) -> list[Effect]:
    """The outcome, to whoever submitted the frame; `winner` brought its outputs."""
    graph = winner.graph if winner is not None else None
    names = tuple(graph.outputs) if graph is not None else ()
    bundles = tuple(dict.fromkeys(winner.got.values())) if winner is not None else ()
    by = winner or frame.attempts.get(frame.sent)
    plan = str(by.way.plan.id) if by is not None else ""
    if frame.reply is None:
        assert frame.token is not None
        seconds = now_s - frame.submitted_s
        return [Deliver(frame.token, code, text, bundles, names, seconds, frame.sent, plan)]
    node, number = frame.reply
    tensors = heads(graph, names) if graph is not None else ()
    outcome = Outcome(frame.deployment, number, code, text, tensors, frame.sent, plan)
    return [SendTensors(node, outcome, bundles)]
