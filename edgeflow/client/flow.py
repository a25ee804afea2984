"""A process as a node of the cluster: deploy, submit frames, look around. Made by `connect`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

import msgspec

from edgeflow.client.inputs import Inputs, named
from edgeflow.client.result import InferResult, result_of
from edgeflow.errors import BrokerError, DeployError, EdgeflowError, FrameError, UsageError
from edgeflow.events import Wanted
from edgeflow.io.answer import Answer
from edgeflow.messages import Request, Spec
from edgeflow.mind.questions import deployments, input_names, readiness, window_of
from edgeflow.mind.snapshot import Snapshot, take
from edgeflow.model.graph import Graph
from edgeflow.modelfile import save
from edgeflow.service import Service

ANSWER_S = 5.0
"""The loop answers a question within this, or it is stuck."""
POLL_S = 0.05
"""How often a wait looks again."""


@dataclass(slots=True)
class Flow:
    """This process as a node. Made by `connect`; close it, or use it in a `with`."""

    service: Service
    thread: Thread
    _failure: list[BaseException] = field(default_factory=list)
    _frames: int = 0

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """This node's name."""
        return self.service.config.name

    def close(self, timeout_s: float = 25.0) -> None:
        """Answer what was accepted, say goodbye, leave."""
        if self.thread.is_alive():
            self.service.loop.drain("closed")
            self.thread.join(timeout_s)
        self.service.clean_up()

    # --- deployments ------------------------------------------------------------------------------

    def deploy(
        self,
        model: str | Path | Graph,
        *,
        name: str | None = None,
        source: str | None = None,
        policy: str = "mincut",
        placement: str = "",
        window_frames: int = 4,
        window_bytes: int = 64 << 20,
        deadline_s: float = 30.0,
        objective: str = "latency",
        latency_s_max: float = 0.0,
        private: str = "",
        tiles: bool = True,
        fallbacks: bool = True,
        rate_fps: float = 0.0,
        explore_share: float = 0.02,
        wait_s: float | None = 180.0,
    ) -> str:
        """Have a model run by the cluster; returns the deployment's name once it is ready.

        `source`: where frames enter (None: here). `policy`: how the plan is made and follows what
        changes, see `edgeflow.policy`. `placement`: by hand. `rate_fps`: frames a second to keep up
        with. `window_frames`: under way at once; 1 if the policy measures. `wait_s` None: at once.
        `tiles`: layers may be tiled over several nodes of a tier. `fallbacks`: what stands in for a
        lost node, and plans that are likely next, are prepared beforehand, which takes memory.
        `explore_share`: of all latency, what spare frames along doubtful ways may add; 0: none.
        For `objective` … `private` see `planning.goal`. DeployError says what is in the way.
        """
        digest, graph = self.service.add_model(self._as_file(model))
        spec = Spec(
            name=name or _as_name(graph.name),
            generation=self._generation(name or _as_name(graph.name)),
            model=digest,
            model_name=graph.name,
            source=source or self.name,
            origin=self.name,
            policy=policy,
            rate_fps=rate_fps,
            explore_share=explore_share,
            placement=placement,
            window_frames=window_frames,
            window_bytes=window_bytes,
            deadline_s=deadline_s,
            objective=objective,
            latency_s_max=latency_s_max,
            private=private,
            tiles=tiles,
            fallbacks=fallbacks,
        )
        self.service.inbox.put(Wanted(self._checked(spec)))
        if wait_s is not None:
            self.wait(spec.name, wait_s)
        return spec.name

    def undeploy(self, name: str) -> None:
        """Remove a deployment; frames without an outcome end with the error `removed`."""
        view = self.ask(lambda core: core.parts.deployments.views.get(name))
        if view is None or view.spec is None or view.spec.removed:
            raise DeployError(f"there is no deployment {name}; `edgeflow status` lists them")
        generation = self._generation(name)
        self.service.inbox.put(
            Wanted(msgspec.structs.replace(view.spec, generation=generation, removed=True))
        )

    def wait(self, name: str, wait_s: float) -> None:
        """Until the deployment's frames are taken under a plan for its present wish."""
        until_s = time.monotonic() + wait_s
        sentence = "no leader has answered yet"
        while time.monotonic() < until_s:
            ready, phase, sentence = self.ask(lambda core: readiness(core, name))
            if ready:
                return
            if phase == "impossible":
                raise DeployError(f"{name}: {sentence}")
            time.sleep(POLL_S)
        raise DeployError(
            f"{name} was not ready within {wait_s:.0f} s: {sentence}; `edgeflow status` shows more"
        )

    # --- frames -----------------------------------------------------------------------------------

    def infer(
        self, inputs: Inputs, *, deployment: str | None = None, deadline_s: float | None = None
    ) -> InferResult:
        """One frame, one result; FrameError with its code where the outcome is an error."""
        answer = self.submit(inputs, deployment=deployment, deadline_s=deadline_s)
        try:
            result = answer.result()
        finally:
            answer.cancel()  # of a caller that was interrupted
        if not result.ok:
            raise FrameError(result.code, result.text)
        return result

    def submit(
        self, inputs: Inputs, *, deployment: str | None = None, deadline_s: float | None = None
    ) -> Future[InferResult]:
        """Hand a frame in and go on; the future always gets an InferResult, maybe with an error.

        `cancel()` of the future, from any thread, withdraws the frame: the fleet starts no more of
        it, and whoever waits gets CancelledError.
        """
        name = deployment or self._only_deployment()
        tensors = named(inputs, name, lambda: self.ask(lambda core: input_names(core, name)))
        answer: Future[InferResult] = Future()
        self._frames += 1
        index = self._frames

        def then(found: Answer) -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_result(result_of(index, found))

        self._need_alive()
        withdraw = self.service.loop.submit(name, tensors, deadline_s, then)
        answer.add_done_callback(lambda done: withdraw() if done.cancelled() else None)
        return answer

    def stream(
        self,
        frames: Iterable[Inputs],
        *,
        deployment: str | None = None,
        window: int | None = None,
        deadline_s: float | None = None,
    ) -> Iterator[InferResult]:
        """Outcomes in the order of the frames; `window` frames are under way at once.

        Frames are taken only as fast as outcomes come: that is the back-pressure. Who stops early
        (`close()` of the iterator) withdraws what is under way.
        """
        name = deployment or self._only_deployment()
        limit = window or self.ask(lambda core: window_of(core, name))
        pending: deque[Future[InferResult]] = deque()
        try:
            for frame in frames:
                if len(pending) >= limit:
                    yield pending.popleft().result()
                pending.append(self.submit(frame, deployment=name, deadline_s=deadline_s))
            while pending:
                yield pending.popleft().result()
        finally:
            for answer in pending:
                answer.cancel()

    # --- looking ----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Nodes, leader, deployments and links, as this node sees them now."""
        seen: Snapshot = self.ask(lambda core: take(core, time.monotonic()))
        return seen

    def notices(self) -> list[str]:
        """The last sentences about deployments, oldest first."""
        return list(self.service.notices)

    def request(self, node: str, verb: str, timeout_s: float = 5.0) -> dict[str, str]:
        """Ask a node over MQTT; its answer's data. EdgeflowError where it refuses or is silent."""
        number = f"{self.name}-{time.time_ns()}"
        if not self.service.mqtt.publish(Request(node, verb, number)):
            raise BrokerError(self.service.mqtt.problem)
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            response = self.service.responses.get(number)
            if response is not None and response.status == "ok":
                return dict(response.data)
            if response is not None:
                raise UsageError(f"{node} refused {verb}: {response.error}")
            time.sleep(POLL_S)
        raise EdgeflowError(
            f"{node} did not answer {verb} within {timeout_s:.0f} s; is it running?"
        )

    def ask(self, question: Any) -> Any:
        """Run a function of the NodeCore in the loop's thread, and return what it says."""
        self._need_alive()
        try:
            return self.service.loop.ask(question).result(ANSWER_S)
        except FutureTimeout:
            self._need_alive()
            raise EdgeflowError(f"the node's loop did not answer within {ANSWER_S:.0f} s") from None

    # --- inside -----------------------------------------------------------------------------------

    def need_no_failure(self) -> None:
        """EdgeflowError where the loop ended by an error of ours."""
        if self._failure and isinstance(self._failure[0], EdgeflowError):
            raise self._failure[0]
        if self._failure:
            raise EdgeflowError(f"{self.name} ended: {self._failure[0]!r}") from self._failure[0]

    def _need_alive(self) -> None:
        self.need_no_failure()
        if not self.thread.is_alive():
            raise EdgeflowError(f"{self.name} has stopped; connect again")

    def _as_file(self, model: str | Path | Graph) -> Path:
        if not isinstance(model, Graph):
            return Path(model)
        path = self.service.state_dir / f"{_as_name(model.name)}.safetensors"
        save(model, path)
        return path

    def _generation(self, name: str) -> int:
        """Above every wish for this name that was heard of, by anybody's clock."""
        view = self.ask(lambda core: core.parts.deployments.views.get(name))
        known = view.spec.generation if view is not None and view.spec is not None else 0
        return max(known + 1, time.time_ns() // 1_000_000)

    def _checked(self, spec: Spec) -> Spec:
        try:
            return msgspec.convert(msgspec.to_builtins(spec), Spec)
        except msgspec.ValidationError as error:
            raise UsageError(f"deployment {spec.name!r}: {error}") from None

    def _only_deployment(self) -> str:
        names = self.ask(deployments)
        if len(names) != 1:
            there = ", ".join(names) or "none"
            raise UsageError(f"name the deployment; there is {there}")
        only: str = names[0]
        return only


def _as_name(text: str) -> str:
    safe = "".join(sign if sign.isalnum() or sign in "_.-" else "-" for sign in text).strip("-._")
    return safe[:63] or "model"
