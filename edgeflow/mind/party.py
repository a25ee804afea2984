"""Who may speak of a frame: the nodes of its plan, in the sessions that the plan names.

    Frame ──▶ from its source, or from a node of the plan it names        else dropped, unanswered
    Result, Refusal, Failure ──▶ from a node of the attempt's plan        else dropped
    Cancel ──▶ from the source that it names                              else dropped
    Outcome ──▶ from the source that the frame was sent to                else dropped

A link proves who speaks, and any node of the cluster has one. Without this a node that takes no
part could answer, refuse or fill in other nodes' frames, by guessing their small numbers.

Invariant: whoever is no party to an attempt changes nothing about it.
"""

from __future__ import annotations

from edgeflow.events import Signal, Tensors
from edgeflow.messages import Cancel, Failure, Frame, Outcome, Refusal, Result
from edgeflow.mind.parts import Parts


def may_speak(parts: Parts, event: Signal | Tensors) -> bool:
    """Whether this sender may say this; counted where it may not."""
    match event.message:
        case Frame() as frame:
            fits = _may_bring(parts, event, frame)
        case Result() | Refusal() | Failure() as answer:
            fits = _may_answer(parts, event, answer)
        case Cancel(source=source, source_session=session):
            fits = (event.peer, event.session) == (source, session)
        case Outcome(frame=number):
            errand = parts.relay.errands.get(number)
            fits = errand is None or errand.source == event.peer
        case _:
            fits = True
    parts.strangers += not fits
    return fits


def _may_bring(parts: Parts, event: Signal | Tensors, frame: Frame) -> bool:
    """Under a plan that is not held here any node counts that shares another plan of the deployment
    with this one."""
    if (event.peer, event.session) == (frame.source, frame.source_session):
        return True
    held = parts.holdings.plans.get(frame.hash)
    plans = [held] if held is not None else parts.holdings.of(frame.deployment)
    return any(each.plan.sessions.get(event.peer) == event.session for each in plans)


def _may_answer(parts: Parts, event: Signal | Tensors, message: Result | Refusal | Failure) -> bool:
    """Frames and attempts that are not known here do not care."""
    frame = parts.inflight.frames.get(message.frame)
    attempt = frame.attempts.get(message.attempt) if frame is not None else None
    return attempt is None or attempt.way.plan.sessions.get(event.peer) == event.session
