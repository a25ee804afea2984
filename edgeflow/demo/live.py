"""Frames through the cluster, and the leader's death among them.

frames ──half of them──▶ leader in the plan, frames under way ──kill -9──▶ new leader ──▶ frames
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import count

from edgeflow.api import Flow, InferResult
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.pictures import Photograph
from edgeflow.demo.show import Show, layers_by_node
from edgeflow.demo.tally import Tally
from edgeflow.errors import EdgeflowError
from edgeflow.mind.snapshot import Snapshot

LOOK_S = 0.05
"""How often the cluster is looked at: how exact `leader_gap_s` is."""
LEADER_S = 30.0
"""A new leader after so long is no leader."""
ANSWER_S = 45.0
"""Deadline and a margin: without any outcome for so long frames are lost."""


@dataclass(slots=True)
class Death:
    """What became of the leader, and when."""

    before: str = ""
    after: str = ""
    killed_s: float | None = None
    gap_s: float | None = None
    """Until somebody led again."""
    carried: bool = False
    """It was in the plan, with frames under way."""
    frame: int = 0
    """How many frames were in when it died."""


@dataclass(slots=True)
class Live:
    """One run of frames. `first_s` is when the first outcome came, on the monotonic clock."""

    flow: Flow
    fleet: Fleet
    photographs: Sequence[Photograph]
    tally: Tally
    show: Show
    frames: int
    window: int
    death: Death = field(default_factory=Death)
    first_s: float | None = None
    lines: dict[str, str] = field(default_factory=dict)
    """Plan id -> placement, in the order of use."""
    _pending: deque[tuple[Photograph, Future[InferResult]]] = field(default_factory=deque)
    _heard_s: float = 0.0

    def run(self) -> None:
        """Until enough frames are answered under a new leader; EdgeflowError where none comes."""
        self._heard_s = time.monotonic()
        for index in count():
            self._fill()
            self._reap()
            self._look()
            if self._is_over():
                return
            if index % 20 == 0:
                self.fleet.check()
            if time.monotonic() - self._heard_s > ANSWER_S:
                raise EdgeflowError(f"no outcome for {ANSWER_S:.0f} s; {self._state()}")

    def _wants_more(self) -> bool:
        """More than asked for, where the new leader needs longer than the frames last."""
        return self.tally.submitted < self.frames or self.death.gap_s is None

    def _fill(self) -> None:
        while len(self._pending) < self.window and self._wants_more():
            photograph = self.photographs[self.tally.submitted % len(self.photographs)]
            future = self.flow.submit(photograph.inputs)
            self.tally.submitted += 1
            self._pending.append((photograph, future))

    def _reap(self) -> None:
        wait([future for _, future in self._pending], LOOK_S, FIRST_COMPLETED)
        for entry in [entry for entry in self._pending if entry[1].done()]:
            self._pending.remove(entry)
            photograph, future = entry
            self._heard_s = time.monotonic()
            self.first_s = self.first_s or self._heard_s
            self.show.frame(self.tally.count(photograph, future.result()))

    def _look(self) -> None:
        snapshot = self.flow.snapshot()
        for each in snapshot.deployments:
            if each.plan:
                self.lines.setdefault(each.plan, each.placement)
        if self.death.killed_s is None:
            self._maybe_kill(snapshot)
        else:
            self._seek_leader(snapshot)
        if self.show.is_due():
            self.show.look(snapshot, self.flow.notices(), self.tally)

    def _maybe_kill(self, snapshot: Snapshot) -> None:
        """Halfway, once the leader is in the plan; towards the end in any case."""
        leader = snapshot.leader
        answered = self.tally.results + self.tally.errors
        if answered < self.frames // 2 or leader not in self.fleet.processes:
            return
        carries = leader in layers_by_node(snapshot) and bool(self._pending)
        if not carries and answered < self.frames * 3 // 4:
            return
        self.fleet.kill(leader)
        self.death = Death(leader, "", time.monotonic(), None, carries, answered)
        what = "while it carries tensors" if carries else "(it carries no tensors in this plan)"
        self.show.phase(f"kill -9 {leader}, the leader, {what}")

    def _seek_leader(self, snapshot: Snapshot) -> None:
        assert self.death.killed_s is not None
        gap_s = time.monotonic() - self.death.killed_s
        if snapshot.leader not in ("", self.death.before, self.death.after):
            then = "then " if self.death.after else ""  # two claimed at once, and one yields
            self.show.phase(f"{then}{snapshot.leader} leads, {gap_s:.1f} s after")
            self.death.after = snapshot.leader
            if self.death.gap_s is None:
                self.death.gap_s = gap_s
        elif self.death.gap_s is None and gap_s > LEADER_S:
            raise EdgeflowError(f"no new leader within {LEADER_S:.0f} s of the kill")

    def _is_over(self) -> bool:
        return not self._pending and not self._wants_more()

    def _state(self) -> str:
        snapshot = self.flow.snapshot()
        texts = [f"{each.name}: {each.phase}: {each.sentence}" for each in snapshot.deployments]
        return f"leader {snapshot.leader or 'none'}; {'; '.join(texts)}"
