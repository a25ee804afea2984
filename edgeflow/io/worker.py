"""A thread that does one slow thing after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

log = logging.getLogger(__name__)


class Worker:
    """Jobs run in the order in which they came; a job reports by itself, and never raises."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Add a job; returns at once."""
        self._jobs.put(job)

    def stop(self, timeout_s: float) -> None:
        """End after the jobs that are there; leave a job that takes longer to the process's end."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("a job of %s failed without saying so", self._thread.name)
