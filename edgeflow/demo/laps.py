"""The same frames on one box, on four, on three: one at a time, each with the shelf to itself.

    settle ─▶ frames that count ─▶ heartbeats ─▶ what was measured, beside what was predicted

Frames before the plan has settled are answered and judged like all others; they count in no lap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from itertools import count

from edgeflow.api import Flow, InferResult
from edgeflow.demo.contest import HEARTBEATS_S
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.lap import Lap, sent_bytes
from edgeflow.demo.pictures import Photograph
from edgeflow.demo.shelfshow import ShelfShow
from edgeflow.demo.tally import Tally
from edgeflow.errors import EdgeflowError

LOOK_S = 0.05
MORE = 4
"""Frames that do not count, where the plan has changed after the last one that does: no frame went
through its tiles yet."""
ANSWER_S = 45.0
"""Deadline and a margin: without an outcome for so long a frame is lost."""


@dataclass(slots=True)
class Laps:
    """Frames through one deployment after the other."""

    flow: Flow
    fleet: Fleet
    photographs: Sequence[Photograph]
    tally: Tally
    show: ShelfShow

    def know(self, deployments: Sequence[str], pictures: int = 5) -> None:
        """Each of them answers so many pictures, all at the same time; they count in no lap."""
        self.show.phase(f"{pictures} pictures for each box alone, so that the leader knows them …")
        for at in range(pictures):
            self._all_at_once(deployments, self.photographs[at % len(self.photographs)])

    def _all_at_once(self, deployments: Sequence[str], photograph: Photograph) -> None:
        futures = [self.flow.submit(photograph.inputs, deployment=name) for name in deployments]
        self.tally.submitted += len(futures)
        for future in futures:
            self.show.frame(self.tally.count(photograph, future.result(ANSWER_S)))

    def settle(self, deployment: str, steady_s: float, s_max: float) -> None:
        """Frames until the plan has stayed for `steady_s`: its first is made of guesses."""
        plan, since_s = "", time.monotonic()
        until_s = since_s + s_max
        for at in count():
            result = self.frame(deployment, at)
            now_s = time.monotonic()
            if result.plan != plan:
                plan, since_s = result.plan, now_s
            if now_s - since_s >= steady_s or now_s > until_s:
                return

    def run(self, lap: Lap, deployment: str, frames: int) -> None:
        """Frames that count, and what the shelf says of them afterwards."""
        self._rest()
        before = sent_bytes(self.flow.snapshot())
        for at in range(frames):
            result = self.frame(deployment, at)
            if not result.ok:
                lap.errors += 1
                continue
            lap.latencies_s.append(result.latency_s)
            lap.retried += result.attempts > 1
            lap.plans[result.plan] += 1
        self._rest()
        lap.sent_bytes = sent_bytes(self.flow.snapshot()) - before
        self._view(lap, deployment)
        for at in range(MORE):
            if lap.is_measured:
                break
            self.frame(deployment, at)
            self._rest()
            self._view(lap, deployment)

    def _view(self, lap: Lap, deployment: str) -> None:
        """What the shelf says of it now."""
        found = [each for each in self.flow.snapshot().deployments if each.name == deployment]
        lap.view = found[0] if found else None

    def frame(
        self, deployment: str, at: int, meanwhile: Callable[[], None] | None = None
    ) -> InferResult:
        """One photograph from submit to outcome, the screen kept alive; EdgeflowError without."""
        photograph = self.photographs[at % len(self.photographs)]
        future = self.flow.submit(photograph.inputs, deployment=deployment)
        self.tally.submitted += 1
        until_s = time.monotonic() + ANSWER_S
        if meanwhile is not None:
            meanwhile()
        while not wait([future], LOOK_S).done:
            self._look()
            if time.monotonic() > until_s:
                raise EdgeflowError(f"no outcome for {ANSWER_S:.0f} s: {deployment}")
        result = future.result()
        self.show.frame(self.tally.count(photograph, result))
        self._look()
        return result

    def _rest(self) -> None:
        """Counters and times come with the heartbeats."""
        until_s = time.monotonic() + HEARTBEATS_S
        while time.monotonic() < until_s:
            self._look()
            time.sleep(LOOK_S)

    def _look(self) -> None:
        if self.show.is_due():
            self.fleet.check()
            self.show.look(self.flow.snapshot(), self.flow.notices(), self.tally)
