"""What became of each plan, for people: why it was made, what it cost, what came of it.

    decided ─▶ preparing ──committed──▶ measured, frame by frame, until JUDGED_FRAMES are known
                   '──given up──▶ forgotten

The leader writes it while it leads; a new one goes on with what it has heard. A plan that is only
better covered runs on under another id: its frames count for the change that brought its placement.

Invariants: nothing in here decides anything; what is told fits into one message, always.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

import msgspec
from msgspec.structs import replace

from edgeflow.codec import CONTROL_BYTES_MAX
from edgeflow.leader.boards import fetched_bytes
from edgeflow.messages import Board, History, Metrics, Plan, PlanChange
from edgeflow.plans.deployments import View

CHANGES_KEPT = 20
"""Changes that are told: some 20 kB where placements are long."""
JUDGED_FRAMES = 20
"""What came of a plan is the median of so many frames. Fewer tell of hiccups; more tell late."""
HISTORY_S = 5.0
"""All is said again this often: an emptied broker is whole after one period of 5 s."""
MEASURED_S = 2.0
"""What was measured since is told this often, a change at once. Lower costs up to 64 kB each."""
IDS_KEPT = 8
"""Ids under which one placement ran: each fallback that is prepared gives it another."""
TEXTS_MAX = (2000, 1000, 500, 200, 50)
"""Characters of a text in it: the first of these with which all fits into a message; 50 do."""
ID_MAX, KIND_MAX = 200, 20
"""Characters of what is never longer, unless somebody tells lies."""


@dataclass(slots=True)
class Chronicle:
    """The changes of one deployment, the newest last."""

    changes: deque[PlanChange] = field(default_factory=lambda: deque(maxlen=CHANGES_KEPT))
    wall_s: float = 0.0
    """The wall clock less this node's own; 0: unknown."""
    decided_s: float = math.inf
    """When what is under preparation was decided, by this node's own clock."""
    line: str = ""
    """The placement in use."""
    frames: dict[str, int] = field(default_factory=dict)
    """By id of a plan with that placement: how many of its frames were looked at."""
    flights_s: list[float] = field(default_factory=list)
    """Of the first frames under that placement."""
    metrics: Metrics | None = None
    """What was looked at last."""
    adopted: History | None = None
    """The same of what others told."""
    due_s: float = -math.inf
    told_s: float = -math.inf

    @property
    def pending(self) -> PlanChange | None:
        """The change under preparation."""
        last = self.changes[-1] if self.changes else None
        return last if last is not None and not last.switch_s else None

    def decide(
        self, plan: Plan, kind: str, why: str, before: tuple[str, float], now_s: float
    ) -> None:
        """Another plan is to be prepared. `before`: the placement in use, empty where there is
        none, and the seconds that it should take as things are."""
        line, seconds = before
        is_runnable = line and math.isfinite(seconds) and kind != "broken"
        self._forget_pending()
        self.decided_s, self.due_s = now_s, -math.inf
        self.changes.append(
            PlanChange(
                unix_s=self.unix_s(now_s),
                plan=str(plan.id),
                kind=kind,
                why=cut(why),
                before=cut(line),
                after=cut(plan.variants[0]),
                predicted_before_s=seconds if is_runnable else 0.0,
                predicted_after_s=plan.predicted_s,
                measured_before_s=self._lately_s(),
            )
        )

    def commit(self, view: View, plan: Plan, now_s: float) -> PlanChange | None:
        """All are ready: the change, with what the switch cost; None where this plan is none."""
        change = self.pending
        if change is None or change.plan != str(plan.id):
            return None
        since_s = now_s - self.decided_s
        if math.isinf(since_s):  # another leader decided it
            since_s = self.unix_s(now_s) - change.unix_s
        self.due_s = -math.inf
        self.changes[-1] = replace(
            change,
            switch_s=max(since_s, 1e-3),
            fetched_bytes=fetched_bytes(view, plan),
            measured_before_s=self._lately_s() or change.measured_before_s,
        )
        return self.changes[-1]

    def follow(self, view: View, board: Board, now_s: float) -> PlanChange | None:
        """Keep up with what was heard and what runs; a change whose outcome is known by now."""
        if view.history is not None and view.history is not self.adopted:
            self._adopt(view.history, board)
        plan = board.committed
        if plan is not None:
            self.commit(view, plan, now_s)  # its leader died before it could tell
        if self.pending is not None and not _is_named(self.pending, board):
            self._forget_pending()
        if plan is not None and (plan.variants[0] != self.line or str(plan.id) not in self.frames):
            self._run(plan)
        if view.metrics is None or view.metrics is self.metrics:
            return None
        self.metrics = view.metrics
        return self._judge() if self._measure(view.metrics) else None

    def clear(self) -> None:
        """The deployment is gone."""
        if self.changes:
            self.changes.clear()
            self.due_s = -math.inf
        self.line = ""

    def tell(self, view: View, leader: str, now_s: float) -> History | None:
        """All of it, where something is new or it is time again; None where it is not."""
        if now_s < self.due_s or (not self.changes and view.history is None):
            return None
        self.told_s, self.due_s = now_s, now_s + HISTORY_S
        view.history = self.adopted = fitted(History(view.name, leader, tuple(self.changes)))
        return view.history

    def unix_s(self, now_s: float) -> float:
        """The wall clock then; 0 where it is unknown."""
        return now_s + self.wall_s if self.wall_s else 0.0

    def _forget_pending(self) -> None:
        if self.pending is not None:
            self.changes.pop()
            self.due_s = -math.inf
        self.decided_s = math.inf

    def _adopt(self, history: History, board: Board) -> None:
        """What another leader told and is not known here; what it only prepared counts while that
        is on the board."""
        self.adopted = history
        known = {each.plan for each in self.changes}
        theirs = [
            each
            for each in history.changes
            if each.plan not in known and (each.switch_s or _is_named(each, board))
        ]
        mine = list(self.changes)
        self.changes.clear()
        self.changes.extend([*theirs, *mine])

    def _run(self, plan: Plan) -> None:
        """A plan is in use, under an id that is new here."""
        if plan.variants[0] != self.line:
            self.frames.clear()
            self.flights_s.clear()
        self.line = plan.variants[0]
        self.frames[str(plan.id)] = 0
        if len(self.frames) > IDS_KEPT:
            del self.frames[next(iter(self.frames))]

    def _measure(self, metrics: Metrics) -> bool:
        """Take in frames of the placement in use; whether there were any that count."""
        found = len(self.flights_s)
        for each in metrics.lately:
            if each.variant == 0 and each.plan in self.frames:
                new = min(each.frames - self.frames[each.plan], len(each.flights_s))
                self.flights_s += each.flights_s[-new:] if new > 0 else ()
                self.frames[each.plan] = each.frames
        del self.flights_s[JUDGED_FRAMES:]
        return len(self.flights_s) > found

    def _judge(self) -> PlanChange | None:
        """Note what came of the change that brought the placement in use; that change, once it is
        known."""
        places = [at for at, each in enumerate(self.changes) if each.switch_s]
        change = self.changes[places[-1]] if places else None
        if change is None or change.after != cut(self.line):
            return None
        if change.frames_after >= JUDGED_FRAMES:
            return None
        count = len(self.flights_s)
        change = replace(change, measured_after_s=median(self.flights_s), frames_after=count)
        self.changes[places[-1]] = change
        is_known = count >= JUDGED_FRAMES
        self.due_s = min(self.due_s, -math.inf if is_known else self.told_s + MEASURED_S)
        return change if is_known else None

    def _lately_s(self) -> float:
        """What the last frames under the placement in use took, under what stood in for it where
        there were no others; 0 where none are known."""
        lately = self.metrics.lately if self.metrics is not None else ()
        known = [each for each in lately if each.plan in self.frames and each.flights_s]
        used = [each for each in known if each.variant == 0] or known
        return median(used[-1].flights_s) if used else 0.0


def cut(text: str, most: int = TEXTS_MAX[0]) -> str:
    """A text of so many characters at most."""
    return text if len(text) <= most else text[: most - 1] + "…"


def fitted(history: History) -> History:
    """The same in at most 64 kB, with shorter texts where that is needed."""
    for most in TEXTS_MAX:
        shorter = replace(history, changes=tuple(_cut(each, most) for each in history.changes))
        if len(msgspec.json.encode(shorter)) <= CONTROL_BYTES_MAX:
            break
    return shorter


def _cut(change: PlanChange, most: int) -> PlanChange:
    return replace(
        change,
        plan=cut(change.plan, ID_MAX),
        kind=cut(change.kind, KIND_MAX),
        why=cut(change.why, most),
        before=cut(change.before, most),
        after=cut(change.after, most),
    )


def _is_named(change: PlanChange, board: Board) -> bool:
    """Whether its plan is on the board, prepared or in use."""
    plans = (board.preparing, board.committed)
    return any(str(plan.id) == change.plan for plan in plans if plan is not None)
