"""Load: frames into a deployment, and what came of each into a ledger.

    inputs, in turn ─▶ submit ─▶ cluster ─▶ outcome      each a record, as it happens
       ▲ open loop: at a rate, whatever comes back
       '─ closed loop: while fewer than the window are under way

    enough frames or seconds, or stop() ─▶ wait for what is under way ─▶ end

Invariant: a submit is written before the frame is handed in, and no error of a frame ends the run.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from edgeflow.client.flow import Flow
from edgeflow.client.result import InferResult
from edgeflow.errors import DeployError, EdgeflowError, UsageError
from edgeflow.io.ledgerfile import LedgerFile, digest
from edgeflow.io.probe import describe
from edgeflow.ledger.records import End, Expected, Head, Line, Outcome, Submit
from edgeflow.messages import Spec
from edgeflow.model.graph import Array

POLL_S = 0.1
"""How often a wait looks whether it should end."""
MARGIN_S = 5.0
"""An outcome that is not here so long after its deadline is not waited for. Less calls a frame lost
whose outcome is still on its way to a submitter that is not the source."""


@dataclass(slots=True)
class Driver:
    """One run of frames; from another thread or a signal's handler, `stop` ends it early."""

    flow: Flow
    deployment: str
    inputs: Mapping[str, Mapping[str, Array]]
    """Key -> the model's inputs by name, taken in turn. The key stands in the ledger."""
    ledger: LedgerFile | None = None
    expected: Mapping[str, str] = field(default_factory=dict)
    """Key -> sha256 of the right outputs (`ledgerfile.digest`)."""
    deadline_s: float | None = None
    """Of a frame; None: the deployment's."""
    on_record: Callable[[Line], None] | None = None
    """Hears every record, in the thread of `run`."""
    _outcomes: SimpleQueue[tuple[int, float, InferResult]] = field(default_factory=SimpleQueue)
    _under_way: dict[int, float] = field(default_factory=dict)
    """Frame -> when it is given up, monotonic; in the order of submission."""
    _submitted: int = 0
    _stopped: bool = False

    def run(
        self,
        *,
        frames: int | None = None,
        seconds: float | None = None,
        rate_fps: float | None = None,
        window_frames: int | None = None,
    ) -> None:
        """Until so many frames or seconds, whichever is first; by default each input once.

        `rate_fps` is an open loop, `window_frames` a closed one (default: the deployment's window).
        Frames that are under way at the end are waited for. DeployError where there is no such
        deployment, EdgeflowError where this process's node or the ledger fails; a run is made once.
        """
        self._check(rate_fps, window_frames)
        spec = self._spec()
        window = 0 if rate_fps else window_frames or spec.window_frames
        patience_s = (self.deadline_s or spec.deadline_s) + MARGIN_S
        if frames is None and seconds is None:
            frames = len(self.inputs)
        self._write_head(spec, window, rate_fps or 0.0)
        keys, start_s = list(self.inputs), time.monotonic()
        until_s = start_s + seconds if seconds is not None else float("inf")
        while frames is None or self._submitted < frames:
            due_s = start_s + self._submitted / rate_fps if rate_fps else start_s
            if not self._wait_for_turn(min(due_s, until_s), window, until_s):
                break
            # Outcomes that are here already are written first: a kill then costs fewer of them.
            self._take(0.0)
            self._submit(keys[self._submitted % len(keys)], patience_s)
        while self._under_way and self._take(POLL_S):
            self._give_up()
        self._write(End(time.monotonic()))
        self._need_alive()

    def stop(self) -> None:
        """Hand nothing more in. `run` returns once all under way have an outcome."""
        self._stopped = True

    # --- inside -----------------------------------------------------------------------------------

    def _check(self, rate_fps: float | None, window_frames: int | None) -> None:
        if rate_fps is not None and window_frames is not None:
            raise UsageError("a rate is an open loop, a window a closed one: give one of the two")
        if rate_fps is not None and not rate_fps > 0:
            raise UsageError(f"{rate_fps:g} frames a second: give a rate above 0")
        if window_frames is not None and window_frames < 1:
            raise UsageError(f"a window of {window_frames} frames lets none in: at least 1")
        if not self.inputs:
            raise UsageError("no inputs were given, so there is nothing to submit")
        if self._submitted:
            raise UsageError("a driver runs once; make another one, with a ledger of its own")

    def _spec(self) -> Spec:
        view = self.flow.ask(lambda core: core.parts.deployments.views.get(self.deployment))
        if view is None or view.spec is None or view.spec.removed:
            raise DeployError(
                f"there is no deployment {self.deployment}; `edgeflow status` lists them"
            )
        spec: Spec = view.spec
        return spec

    def _write_head(self, spec: Spec, window_frames: int, rate_fps: float) -> None:
        machine = describe()
        self._write(
            Head(
                deployment=self.deployment,
                submitter=self.flow.name,
                pid=os.getpid(),
                unix_s=time.time(),
                monotonic_s=time.monotonic(),
                model=spec.model,
                model_name=spec.model_name,
                python=platform.python_version(),
                machine=f"{machine.board} {machine.arch}, {machine.cores} cores",
                window_frames=window_frames,
                rate_fps=rate_fps,
            )
        )
        for key, sha256 in self.expected.items():
            self._write(Expected(key, sha256))

    def _wait_for_turn(self, due_s: float, window: int, until_s: float) -> bool:
        """Take outcomes in until the next frame may go; False where none goes any more."""
        while not self._stopped and self.flow.thread.is_alive():
            now_s = time.monotonic()
            if now_s >= until_s:
                return False
            if now_s >= due_s and not (window and len(self._under_way) >= window):
                return True
            self._take(min(POLL_S, due_s - now_s) if now_s < due_s else POLL_S)
            self._give_up()
        return False

    def _submit(self, key: str, patience_s: float) -> None:
        inputs = self.inputs[key]
        self._submitted += 1
        frame, size_bytes = self._submitted, sum(array.nbytes for array in inputs.values())
        now_s = time.monotonic()
        self._under_way[frame] = now_s + patience_s
        self._write(Submit(frame, key, now_s, size_bytes))

        def heard(answer: Future[InferResult]) -> None:
            self._outcomes.put((frame, time.monotonic(), answer.result()))

        try:
            answer = self.flow.submit(
                inputs, deployment=self.deployment, deadline_s=self.deadline_s
            )
        except EdgeflowError:
            if self.flow.thread.is_alive():
                raise
            return  # the node ended: the run does so too, and says why
        answer.add_done_callback(heard)

    def _take(self, timeout_s: float) -> bool:
        """Write down what came, and wait so long for the first; False where nothing can come."""
        is_alive = self.flow.thread.is_alive()
        try:
            frame, at_s, result = self._outcomes.get(timeout=timeout_s if is_alive else 0)
            while True:
                self._write(_outcome(frame, at_s, result))
                self._under_way.pop(frame, None)
                frame, at_s, result = self._outcomes.get_nowait()
        except Empty:
            return is_alive

    def _give_up(self) -> None:
        """A frame long past its deadline holds nobody up: the ledger shows it as lost."""
        now_s = time.monotonic()
        while self._under_way:
            oldest = next(iter(self._under_way))
            if now_s <= self._under_way[oldest]:
                return
            del self._under_way[oldest]

    def _need_alive(self) -> None:
        self.flow.need_no_failure()
        if not self.flow.thread.is_alive():
            raise EdgeflowError(f"{self.flow.name} was stopped while frames were handed in")

    def _write(self, record: Line) -> None:
        if self.ledger is not None:
            self.ledger.write(record)
        if self.on_record is not None:
            self.on_record(record)


def _outcome(frame: int, at_s: float, result: InferResult) -> Outcome:
    return Outcome(
        frame=frame,
        at_s=at_s,
        code=result.code,
        text=result.text,
        sha256=digest(result.outputs) if result.ok else None,
        latency_s=result.latency_s,
        attempts=result.attempts,
        plan=result.plan,
    )
