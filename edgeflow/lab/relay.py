"""The delay relay: delay, jitter and loss where the kernel has no netem.

    python -I -m edgeflow.lab.relay CONFIG.json          prints `ready`, ends on SIGTERM

    namespace of a                    this process                     namespace of b
    device ══ tbf ══▶ read ──▶ held until due (up) ──▶ write ──▶ device
    device ◀── write ◀── held until due (down) ◀── read ◀══ tbf ══ device

It makes the devices and leaves them down: addresses, bridges and rates are for whoever asked.
Rounds with work are at least ROUND_S apart while frames are held, so a busy wire pays by the round.

Super-frames: while a direction has no loss, the kernel may hand over TCP segments not yet cut to
the MTU and with no checksum yet; loss is by the frame and turns that off. tbf cuts a super-frame
where its burst is smaller, so the burst says how much may arrive at once. One TCP stream, MTU 1500,
5 ms, tbf of 100 Mbit/s with a burst of 16 KiB: 0.08 to 0.10 of a core with super-frames, 0.12 to
0.13 without; at 10 Mbit/s 0.05 to 0.07 either way, for then it is the rounds (3 runs of 2.5 s each
on two shared x86 cores, Python 3.11).

Invariant: the devices live as long as this process, and only the control socket's file outlives it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

import msgspec

from edgeflow.errors import EdgeflowError, UsageError
from edgeflow.lab import tap
from edgeflow.lab.desk import Desk, ask
from edgeflow.lab.ways import Way
from edgeflow.lab.wires import End, Impairment, RelayConfig, Request, Wire

__all__ = ["End", "Impairment", "Relay", "RelayConfig", "Request", "Wire", "ask", "main"]

ROUND_S = 0.0005
"""Between rounds while frames are held. Longer costs less CPU; a frame of a busy wire is, on
average, half of it late to be read and half of it late to be written."""

POLL_S = 0.001
"""What epoll can wait for: whole milliseconds. Shorter waits are slept."""

BATCH = 64
"""Frames of one device a round: 64 × 1500 bytes in ROUND_S are 1.5 Gbit/s."""

FRAME_BYTES_MAX = tap.HEADER_BYTES + 14 + 8 + 65_536
"""A super-frame with two VLAN tags."""


class Lane:
    """A way, from the device where its frames are read to the one where they are written."""

    def __init__(self, way: Way, source: int, target: int) -> None:
        self.way = way
        self.source = source
        self._target = target
        self.change(way.impairment)

    def change(self, impairment: Impairment) -> None:
        """For frames that come from now on."""
        self.way.change(impairment)
        tap.offload(self.source, super_frames=not impairment.loss_percent)

    def read(self) -> None:
        """Take what has come. OSError where the device is gone."""
        now_s, take = time.monotonic(), self.way.take
        try:
            for _ in range(BATCH):
                take(os.read(self.source, FRAME_BYTES_MAX), now_s)
        except BlockingIOError:
            pass

    def write(self) -> int:
        """Release what is due; how many frames."""
        now_s, way, held = time.monotonic(), self.way, self.way.held
        before = len(held)
        while held and held[0][0] <= now_s:
            try:
                os.write(self._target, way.release())
            except OSError:
                way.dropped_down += 1
        return before - len(held)


class Relay:
    """The wires of one configuration; NetworkError with the cure where they cannot be made."""

    def __init__(self, config: RelayConfig) -> None:
        self._wires = {wire.name: lanes_of(wire, config.seed) for wire in config.wires}
        self._lanes = {lane.source: lane for pair in self._wires.values() for lane in pair}
        self._poller = select.epoll()
        for descriptor in self._lanes:
            self._poller.register(descriptor, select.EPOLLIN)
        self._desk = Desk(Path(config.control), self._poller, self._answer)

    def run(self) -> None:
        """Until a signal's handler raises."""
        lanes = list(self._lanes.values())
        try:
            round_s = 0.0
            while True:
                ready = self._wait(round_s)
                for descriptor, _ in ready:
                    self._serve(descriptor)
                if sum(lane.write() for lane in lanes if lane.way.held) or ready:
                    round_s = time.monotonic()
        finally:
            self._desk.close()

    def _wait(self, round_s: float) -> list[tuple[int, int]]:
        """What can be read, once there is something to do and the last one is ROUND_S ago."""
        dues_s = [lane.way.held[0][0] for lane in self._lanes.values() if lane.way.held]
        if not dues_s:
            return self._poller.poll()
        now_s = time.monotonic()
        wait_s = min(dues_s) - now_s
        if wait_s >= POLL_S + ROUND_S:
            # Rounded up to whole milliseconds by poll, so from a half below the one that fits.
            return self._poller.poll((int(wait_s * 1000) - 0.5) / 1000)
        pause_s = max(min(wait_s, ROUND_S), round_s + ROUND_S - now_s)
        if pause_s > 0:
            time.sleep(pause_s)
        return self._poller.poll(0)

    def _serve(self, descriptor: int) -> None:
        lane = self._lanes.get(descriptor)
        if lane is None:
            self._desk.serve(descriptor)
            return
        try:
            lane.read()
        except OSError:
            self._poller.unregister(descriptor)
            sys.stderr.write(
                "a device is gone; its wire stays dead until a relay is started anew\n"
            )

    def _answer(self, message: bytes) -> object:
        try:
            request = msgspec.json.decode(message, type=Request)
        except msgspec.DecodeError as error:
            return {"error": str(error)}
        if request.stats:
            wires = {name: counts(pair) for name, pair in self._wires.items()}
            return {"wires": wires, "cpu_s": time.process_time()}
        if request.wire not in self._wires:
            return {"error": f"no wire {request.wire}; there are {', '.join(self._wires)}"}
        up, down = self._wires[request.wire]
        for lane, impairment in ((up, request.up), (down, request.down)):
            if impairment is not None:
                lane.change(impairment)
        now = {"up": up.way.impairment, "down": down.way.impairment}
        return {"wire": request.wire, **now}


def lanes_of(wire: Wire, seed: int) -> tuple[Lane, Lane]:
    """Both directions of a wire, up first, between two new devices."""
    a, b = tap.open_tap(wire.a, wire.mtu), tap.open_tap(wire.b, wire.mtu)
    start = tap.HEADER_BYTES
    up = Way(wire.up, f"{seed} {wire.name} up", start=start)
    may_dial = not wire.only_a_dials
    down = Way(wire.down, f"{seed} {wire.name} down", may_dial=may_dial, start=start)
    return Lane(up, a, b), Lane(down, b, a)


def counts(pair: tuple[Lane, Lane]) -> dict[str, dict[str, int]]:
    """What passed and what did not, by direction."""
    return {name: lane.way.counts() for name, lane in zip(("up", "down"), pair, strict=True)}


def read_config(path: Path) -> RelayConfig:
    """UsageError with the place where it cannot be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RelayConfig)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a configuration in JSON") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}; `RelayConfig` says what fits") from None


def main() -> None:
    """Carry the wires of the configuration named on the command line."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(0))
    try:
        if len(sys.argv) != 2:
            raise UsageError("usage: python -I -m edgeflow.lab.relay CONFIG.json")
        relay = Relay(read_config(Path(sys.argv[1])))
    except EdgeflowError as error:
        sys.exit(str(error))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    relay.run()


if __name__ == "__main__":
    main()
