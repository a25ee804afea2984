"""What a node wants of its worker process, whichever one that is: rates, segments, jobs.

    orders ─▶ sent to the worker that is there, and again to the next one
    a death ─▶ the job that ran fails, what was built is built again, what waits goes on after it

Nobody is told of a segment that is built again: to the node it never ceased to be.

Invariant: each job ends once, as done or failed, and jobs run in the order in which they came.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from edgeflow.errors import EdgeflowError
from edgeflow.events import (
    Event,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.io.compute.state import HOPELESS_DEATHS, JOB_S_MIN, Job, Wanted, culprits
from edgeflow.io.compute.tray import Tray
from edgeflow.io.compute.wire import Calibrate, Channel, Drop, FromWorker, Made, Ran, Rated
from edgeflow.messages import Rates

log = logging.getLogger("edgeflow")

QUEUED_MAX = 64
"""Jobs that wait for a worker: what a stage takes in."""
CALIBRATIONS_MAX = 3
"""Deaths over them, until the node does without rates."""

Then = Callable[[Rates | None], None]


class Orders:
    """Of one node. Not for two threads at once."""

    def __init__(self, node: str, say: Callable[[Event], None]) -> None:
        self._node, self._say = node, say
        self._channel: Channel | None = None
        """To the worker, while there is one."""
        self._wanted: dict[SegmentKey, Wanted] = {}
        self._waiting: deque[Job | SegmentKey] = deque()
        """Jobs, and segments that are dropped once the jobs before them have run."""
        self.running: Job | None = None
        self._calibrations: list[tuple[Calibrate, Then]] = []
        self._calibration_deaths = 0
        self._tray = Tray()

    @property
    def prepares(self) -> bool:
        """Does the worker calibrate or build?"""
        builds = any(each.step == "building" for each in self._wanted.values())
        return builds or bool(self._calibrations)

    # --- wishes -----------------------------------------------------------------------------------

    def calibrate(self, message: Calibrate, then: Then) -> None:
        """`then` is told the rates; None where workers only die of it."""
        self._calibrations.append((message, then))
        if self._channel is not None:
            self._channel.send(message)

    def build(self, wanted: Wanted) -> None:
        """SegmentBuilt or SegmentUnbuildable follows."""
        self._wanted[wanted.order.key] = wanted
        self._send_build(wanted)

    def drop(self, key: SegmentKey) -> None:
        """Once the jobs that came before have run."""
        self._waiting.append(key)
        self.go_on()

    def queue(self, job: Job) -> None:
        """SegmentDone or SegmentFailed follows; `go_on` begins it."""
        if len(self._waiting) >= QUEUED_MAX:
            self._say(SegmentFailed(job.number, f"{QUEUED_MAX} jobs wait for the worker process"))
        else:
            self._waiting.append(job)

    def input_bytes(self, key: SegmentKey) -> int:
        """Of the last job of a segment."""
        wanted = self._wanted.get(key)
        return wanted.input_bytes if wanted is not None else 0

    def limit_s(self, job: Job) -> float:
        """A worker that takes longer over it is frozen, or computes without end."""
        wanted = self._wanted.get(job.key)
        return wanted.limit_s if wanted is not None else JOB_S_MIN

    # --- the worker -------------------------------------------------------------------------------

    def begin(self, channel: Channel) -> None:
        """There is a worker, which knows of nothing yet."""
        self._channel = channel
        self._tray.renew()
        for message, _ in self._calibrations:
            channel.send(message)
        for wanted in self._wanted.values():
            self._send_build(wanted)

    def died(self, text: str, *, was_up: bool) -> None:
        """The worker is gone: say so to whom it concerns."""
        self._channel = None
        job, self.running = self.running, None
        self._tray.renew()
        self._blame(text, was_up=was_up, is_alone=job is None)
        self._count_calibration_death()
        if job is not None:
            self._say(SegmentFailed(job.number, text, "worker-died"))
        self.go_on()

    def close(self) -> None:
        """Nothing is wanted any more."""
        self._channel = None
        self._tray.close()

    def take(self, message: FromWorker) -> None:
        """What the worker says."""
        match message:
            case Ran():
                self._ran(message)
            case SegmentFailed():
                self.running = None
                self._tray.clear()
                self._say(message)
            case Made():
                self._built(message.built, message.seconds)
            case SegmentUnbuildable():
                self._unbuildable(message.key, message.text)
            case Rated():
                self._calibration_deaths = 0
                self._calibrations.pop(0)[1](message.rates)
        self.go_on()

    # --- a death ----------------------------------------------------------------------------------

    def _blame(self, text: str, *, was_up: bool, is_alone: bool) -> None:
        """All must be built again, but what workers die of."""
        for wanted in culprits(self._wanted, was_up=was_up):
            wanted.deaths += 1
            if wanted.deaths >= HOPELESS_DEATHS:
                wanted.why = f"{text}, {wanted.deaths} times while it built the segment"
        for key, wanted in list(self._wanted.items()):
            if wanted.step == "broken":
                continue
            wanted.step = "waiting"
            if wanted.is_hopeless and is_alone:
                self._unbuildable(key, f"{text}, {wanted.deaths} times while it built the segment")

    def _count_calibration_death(self) -> None:
        self._calibration_deaths += bool(self._calibrations)
        if self._calibration_deaths >= CALIBRATIONS_MAX:
            for _, then in self._calibrations:
                then(None)
            self._calibrations.clear()

    # --- segments ---------------------------------------------------------------------------------

    def _send_build(self, wanted: Wanted) -> None:
        if self._channel is not None and wanted.step != "broken":
            wanted.step = "building"
            self._channel.send(replace(wanted.order, engine=wanted.engine))

    def _built(self, built: SegmentBuilt, seconds: float) -> None:
        wanted = self._wanted.get(built.key)
        if wanted is None:
            return  # dropped meanwhile
        if wanted.engine not in ("", built.engine):
            # Its answers would differ in the last bits from those it gave before.
            self._unbuildable(built.key, f"built again, it runs on {built.engine}: {built.note}")
            return
        wanted.step, wanted.deaths, wanted.why, wanted.usual_s = "built", 0, "", seconds
        if not wanted.engine:
            wanted.engine = built.engine
            self._say(built)

    def _unbuildable(self, key: SegmentKey, text: str) -> None:
        wanted = self._wanted.get(key)
        if wanted is None:
            return
        if wanted.engine:
            wanted.step, wanted.why = "broken", f"the segment cannot be built again: {text}"
            log.warning("%s: %s", self._node, wanted.why)
        else:
            del self._wanted[key]
            self._say(SegmentUnbuildable(key, text))

    def _drop(self, key: SegmentKey) -> None:
        if self._wanted.pop(key, None) is not None and self._channel is not None:
            self._channel.send(Drop(key))

    # --- jobs -------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Do what waits, as far as it may be done."""
        while self._waiting and self.running is None:
            first = self._waiting[0]
            if not isinstance(first, Job):
                self._drop(first)
            elif self._must_wait(first):
                return
            else:
                self._begin_job(first)
            self._waiting.popleft()

    def _must_wait(self, job: Job) -> bool:
        """For a worker, for its segment, or for one that may kill the worker under it."""
        wanted = self._wanted.get(job.key)
        if wanted is None or wanted.why:
            return False
        suspect = any(each.deaths and each.step != "broken" for each in self._wanted.values())
        return self._channel is None or suspect or wanted.step != "built"

    def _begin_job(self, job: Job) -> None:
        wanted = self._wanted.get(job.key)
        if wanted is None or wanted.why or self._channel is None:
            text = wanted.why if wanted is not None else "the segment is not built here"
            self._say(SegmentFailed(job.number, text))
            return
        try:
            message, files = self._tray.lay(job, wanted)
        except (EdgeflowError, OSError, ValueError, MemoryError) as error:
            self._say(SegmentFailed(job.number, f"{type(error).__name__}: {error}"[:1500]))
            return
        self.running = job
        self._channel.send(message, files)

    def _ran(self, ran: Ran) -> None:
        job, self.running = self.running, None
        assert job is not None
        assert job.number == ran.job
        if (wanted := self._wanted.get(job.key)) is not None:
            wanted.ran(ran.seconds)
        made = self._tray.made()
        size_bytes = sum(placed.array.nbytes for placed in made.values())
        bundle = job.keep(made)
        self._say(SegmentDone(job.number, bundle, size_bytes, ran.seconds, ran.layers_s))
