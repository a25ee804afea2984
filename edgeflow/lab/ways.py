"""One direction of a wire: which frames pass, and when.

    frame ──▶ opens TCP where it may not? ──▶ lost? ──▶ no room? ──▶ held until due ──▶ released
                      dropped_nat          dropped_loss  dropped_full

A jitter is drawn once in 2 × jitter, not per frame: as order is kept, every frame waits for the
slowest ahead of it, and with a draw each a busy wire would always have delay + jitter.

Invariant: frames leave in the order in which they came; a frame that is held keeps its time.
"""

from __future__ import annotations

from collections import deque
from random import Random

from edgeflow.lab.frames import opens_tcp
from edgeflow.lab.wires import Impairment

HELD_BYTES_MIN = 1 << 20
HELD_BYTES_PER_MS = 125_000
"""1 Gbit/s: a wire that is shaped to less never drops for want of room."""
HELD_BYTES_MAX = 64 << 20

COUNTERS = ("frames", "bytes", "dropped_loss", "dropped_nat", "dropped_full", "dropped_down")


def held_bytes_max(impairment: Impairment) -> int:
    """Room for a direction's frames: 1 MiB + 1 Gbit/s × (delay + jitter), 64 MiB at most."""
    delay_ms = impairment.delay_ms + impairment.jitter_ms
    return min(HELD_BYTES_MIN + int(HELD_BYTES_PER_MS * delay_ms), HELD_BYTES_MAX)


class Way:
    """One direction. Frames begin `start` bytes into what is read from a device."""

    def __init__(
        self, impairment: Impairment, seed: str, *, may_dial: bool = True, start: int = 0
    ) -> None:
        self._may_dial = may_dial
        self._start = start
        self._losses = Random(f"{seed} loss")
        self._jitters = Random(f"{seed} jitter")
        self.held: deque[tuple[float, bytes]] = deque()
        """(due_s, frame); the first is the next."""
        self.held_bytes = 0
        self.frames = 0
        """Released, as are `bytes`."""
        self.bytes = 0
        self.dropped_loss = 0
        self.dropped_nat = 0
        self.dropped_full = 0
        self.dropped_down = 0
        """Released, but the device at the other end was down or gone."""
        self.change(impairment)

    def change(self, impairment: Impairment) -> None:
        """For frames that come from now on."""
        self.impairment = impairment
        self._loss = impairment.loss_percent / 100
        self._room_bytes = held_bytes_max(impairment)
        self._delay_s = impairment.delay_ms / 1000
        self._jitter_s = impairment.jitter_ms / 1000
        self._drawn_until_s = 0.0

    def take(self, frame: bytes, now_s: float) -> None:
        """Hold or drop a frame that came now."""
        if not self._may_dial and opens_tcp(frame, self._start):
            self.dropped_nat += 1
        elif self._loss and self._losses.random() < self._loss:
            self.dropped_loss += 1
        elif self.held_bytes + len(frame) > self._room_bytes:
            self.dropped_full += 1
        else:
            if self._jitter_s and now_s >= self._drawn_until_s:
                self._draw(now_s)
            self.held_bytes += len(frame)
            self.held.append((now_s + self._delay_s, frame))

    def release(self) -> bytes:
        """The first of those held, which leaves."""
        frame = self.held.popleft()[1]
        self.held_bytes -= len(frame)
        self.frames += 1
        self.bytes += len(frame) - self._start
        return frame

    def counts(self) -> dict[str, int]:
        """All since the start, but `held`: frames now. A super-frame counts as one."""
        return {**{name: getattr(self, name) for name in COUNTERS}, "held": len(self.held)}

    def _draw(self, now_s: float) -> None:
        asked_s = self.impairment.delay_ms / 1000
        self._delay_s = max(0.0, asked_s + self._jitters.uniform(-self._jitter_s, self._jitter_s))
        self._drawn_until_s = now_s + 2 * self._jitter_s
