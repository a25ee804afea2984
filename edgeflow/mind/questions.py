"""What callers ask of a core about its deployments; each is answered in the loop's thread."""

from __future__ import annotations

from edgeflow.mind.node import NodeCore


def deployments(core: NodeCore) -> list[str]:
    """Names of those that are wanted."""
    views = core.parts.deployments.views
    return sorted(
        name for name, view in views.items() if view.spec is not None and not view.spec.removed
    )


def input_names(core: NodeCore, deployment: str) -> tuple[str, ...] | None:
    """Of the deployment's model; None while it is not known here."""
    graph = core.parts.graph_of(core.parts.deployments.views.get(deployment))
    return tuple(contract.name for contract in graph.inputs) if graph is not None else None


def window_of(core: NodeCore, deployment: str) -> int:
    """Frames that a caller may keep with a deployment at once."""
    view = core.parts.deployments.views.get(deployment)
    return view.spec.window_frames if view is not None and view.spec is not None else 4


def readiness(core: NodeCore, name: str) -> tuple[bool, str, str]:
    """(frames are taken under a plan for the present wish, phase, sentence)."""
    view = core.parts.deployments.views.get(name)
    if view is None or view.spec is None or view.spec.removed:
        return False, "waiting", "it is not known here"
    board, status = view.board, view.status
    phase = status.phase if status is not None else "waiting"
    sentence = status.sentence if status is not None else "no leader has answered yet"
    if board is None or board.generation != view.spec.generation:
        return False, "", sentence
    if board.committed is None:
        if board.preparing is not None and phase == "impossible":
            # The board is told before the status, which is still of the wish before.
            phase, sentence = "preparing", "a plan is being prepared"
        return False, phase, sentence
    held = view.helds.get(view.spec.source)
    active = held is not None and any(
        holding.status == "active" and holding.id == board.committed.id for holding in held.plans
    )
    keeps = held is not None and (held.keeps_model or view.spec.origin == view.spec.source)
    if not (active and keeps):
        # There is a plan, so that "impossible" was said of another moment.
        phase, sentence = "preparing", f"{view.spec.source} is still taking the model in"
    return active and keeps and board.preparing is None, phase, sentence
