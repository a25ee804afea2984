"""One accepted frame at its source, the message that tries it, and the answer that ends it.

Invariant: `got` holds outputs by attempt, so that those of two attempts never mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeflow.events import Bundle, Deliver, Effect, SendTensors
from edgeflow.graph import Graph
from edgeflow.headers import heads, heads_of
from edgeflow.heldplan import Route, Way
from edgeflow.messages import Frame, Outcome, PlanId, TensorHead
from edgeflow.split import Patch


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
    attempts: dict[int, Route] = field(default_factory=dict)
    """Attempt -> its plan and variant; only those under the model of the last attempt."""
    graph: Graph | None = None
    """Of the last attempt."""
    wanted: dict[int, frozenset[Patch]] = field(default_factory=dict)
    """Attempt -> the outputs, or the parts of them, that segments will send."""
    got: dict[int, dict[Patch, Bundle]] = field(default_factory=dict)
    """Attempt -> what came of them, and the bundle it is in."""
    spent: int = 0
    """Attempts that count."""
    flying: bool = False
    expires_s: float = 0.0
    retry_s: float = 0.0
    plan: PlanId | None = None
    """Of the last attempt."""


def attempt_at(frame: OpenFrame, way: Way, session: int, segment: int, now_s: float) -> Frame:
    """The header under which a segment's inputs leave the source for the attempt `frame.sent`."""
    plan, graph = way.plan, frame.graph
    assert graph is not None
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


def answer(
    frame: OpenFrame, code: str, text: str, outputs: Mapping[Patch, Bundle], now_s: float
) -> Effect:
    """The outcome, to whoever submitted the frame."""
    graph = frame.graph if outputs else None
    names = tuple(graph.outputs) if graph is not None else ()
    bundles = tuple(dict.fromkeys(outputs.values()))
    plan = str(frame.plan) if frame.plan is not None else ""
    if frame.reply is None:
        assert frame.token is not None
        seconds = now_s - frame.submitted_s
        return Deliver(frame.token, code, text, bundles, names, seconds, frame.sent, plan)
    node, number = frame.reply
    tensors = heads(graph, names) if graph is not None else ()
    outcome = Outcome(frame.deployment, number, code, text, tensors, frame.sent, plan)
    return SendTensors(node, outcome, bundles)
