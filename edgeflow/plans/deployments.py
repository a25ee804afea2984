"""What is known of every deployment: wanted, planned, held. Each node keeps this, leader or not.

Every entry is a retained state of one writer, so that a new leader starts from what it has heard,
and an emptied broker is filled again from any node's memory.

Invariants: of two specs for one name the higher generation is kept (of two equal ones the one of
the later name, so that all nodes keep the same); a tombstone is a spec too. Whatever is said, the
table is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.messages import Board, Claim, Held, History, Lately, Metrics, Spec, Status

VIEWS_MAX = 512
"""Deployments that are kept. Beyond it those go first that somebody spoke of and nobody wants."""
HELDS_MAX = 512
"""Nodes whose word on one deployment is kept; who still holds a plan says it again in 2 s."""


@dataclass(slots=True)
class View:
    """One deployment, as heard."""

    name: str
    spec: Spec | None = None
    board: Board | None = None
    helds: dict[str, Held] = field(default_factory=dict)
    status: Status | None = None
    metrics: Metrics | None = None
    """What its source last measured."""
    history: History | None = None
    """What became of its plans, as last told."""

    @property
    def is_wanted(self) -> bool:
        """Somebody wants it, and it was not removed since."""
        return self.spec is not None and not self.spec.removed

    @property
    def lately(self) -> tuple[Lately, ...]:
        """What frames took under the plans of late, as last told."""
        return self.metrics.lately if self.metrics is not None else ()

    @property
    def waiting(self) -> int:
        """Frames at the source that do not have the fleet alone."""
        told = self.metrics
        return told.parked + max(0, told.in_flight - 1) if told is not None else 0


@dataclass(slots=True)
class Deployments:
    """All of them, by name."""

    views: dict[str, View] = field(default_factory=dict)

    def view(self, name: str) -> View:
        """The entry, made where it is new; one that is not kept where there is no room for it."""
        found = self.views.get(name)
        if found is None:
            found = View(name)
            if len(self.views) < VIEWS_MAX or self._forget():
                self.views[name] = found
        return found

    def _forget(self) -> bool:
        """Make room; False where every entry is wanted."""
        idle = next((view for view in self.views.values() if view.spec is None), None)
        if idle is not None:
            del self.views[idle.name]
        return idle is not None

    def policy_of(self, name: str) -> str:
        """What a deployment is planned by; empty where nobody wants it."""
        view = self.views.get(name)
        return view.spec.policy if view is not None and view.spec is not None else ""

    def on_spec(self, spec: Spec) -> bool:
        """Whether it changed what is wanted."""
        view = self.view(spec.name)
        known = view.spec
        if known is not None and (spec.generation, spec.origin) <= (known.generation, known.origin):
            return False
        view.spec = spec
        return True

    def on_board(self, board: Board) -> bool:
        """Whether it replaces the board we know: a stale leader's does not."""
        view = self.view(board.deployment)
        if view.board is not None and order_of(board) < order_of(view.board):
            return False
        view.board = board
        return True

    def on_held(self, held: Held) -> None:
        """The newest session of each node counts."""
        helds = self.view(held.deployment).helds
        known = helds.get(held.node)
        if known is None or held.session >= known.session:
            helds.pop(held.node, None)
            helds[held.node] = held
            while len(helds) > HELDS_MAX:
                del helds[next(iter(helds))]

    def keepers(self, model: str) -> list[str]:
        """Nodes that said they hold every weight of a model."""
        return sorted(
            {
                held.node
                for view in self.views.values()
                if view.spec is not None and view.spec.model == model
                for held in view.helds.values()
                if held.keeps_model
            }
        )


def order_of(board: Board) -> tuple[Claim, int]:
    """Of two boards on one topic the later one has this not smaller."""
    return (board.claim, board.generation)
