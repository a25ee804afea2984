"""One seed, one history: a fleet, a broker and links in virtual time, with faults and then without.

    0 ──── start ──── 4 s ════ faults ════ FAULTS_S ──── mending, goodput must return ──── CALM_S
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edgeflow.events import Asked, LinkDown, LinkUp, Wanted
from edgeflow.messages import CLOUD, DEVICE, EDGE, Caps, Endpoint, Rates, Spec, Tier
from edgeflow.sim.broker import Broker
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.judge import Judge
from edgeflow.sim.machine import Disk, Machine
from edgeflow.sim.network import Network
from edgeflow.sim.toy import MODEL, TOY

START_S = 4.0
FAULTS_S = 24.0
CALM_S = 45.0
DEADLINE_S = 5.0
FRAME_EVERY_S = 0.25
SETTLE_S = 15.0
"""After the last fault, goodput is full again within this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed showed."""

    seed: int
    violation: str
    story: tuple[str, ...]
    sim_s: float
    events: int
    results: int
    errors: dict[str, int]
    faults: int


class World:
    """Everything there is for one seed."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.clockwork = Clockwork(random.Random(seed))
        self.broker = Broker(self.clockwork)
        self.judge = Judge(self)
        self.machines: dict[str, Machine] = {}
        self.network = Network(self.clockwork, self.session_of, self._tell)
        self.disks: dict[str, Disk] = {}
        self.sessions: dict[str, int] = {}
        self.tiers = tiers(nodes)
        self.sources: dict[str, str] = {}
        self.has_frozen: set[str] = set()
        self.spoils = 0.0
        self.faults = 0
        self.tokens = 0
        self.generation = 0

    def session_of(self, node: str) -> int | None:
        """Of the living process of that name."""
        machine = self.machines.get(node)
        return machine.session if machine is not None and machine.is_alive else None

    def note(self, node: str, sentence: str) -> None:
        """A line of the story."""
        self.judge.story.append(f"{self.clockwork.now_s:8.3f} {node:8} * {sentence}")

    def boot(self, name: str) -> None:
        """Start a node's process, in a new session."""
        if self.session_of(name) is not None:
            return
        self.sessions[name] = self.sessions.get(name, 0) + 1
        disk = self.disks.setdefault(name, Disk())
        machine = Machine(self, caps_of(name, self.sessions[name], self.tiers[name]), disk)
        self.machines[name] = machine
        machine.start()

    def crash(self, name: str) -> None:
        """kill -9."""
        machine = self.machines[name]
        if not machine.is_alive:
            return
        self.note(name, "is killed")
        machine.kill()
        self.broker.disconnect(machine.client, gracefully=False)
        self.network.gone(name)

    def stop(self, name: str) -> None:
        """The process ended by itself."""
        machine = self.machines[name]
        self.note(name, "stopped")
        machine.kill()
        self.broker.disconnect(machine.client, gracefully=True)
        self.network.gone(name)

    def want(self, name: str, source: str, removed: bool = False) -> None:
        """Deploy or undeploy."""
        if self.session_of(source) is None:
            return
        self.generation += 1
        spec = Spec(name, self.generation, MODEL, "toy", source, source, removed=removed)
        self.machines[source].hear(Wanted(spec))

    def run(self) -> None:
        """The whole history; Violation where an invariant does not hold."""
        for name in self.tiers:
            self.boot(name)
        devices = [name for name, tier in self.tiers.items() if tier == DEVICE]
        for at, source in enumerate(devices):
            self.sources[f"job-{at}"] = source
            blobs = {MODEL: 2000}
            blobs.update({weight.sha256: weight.nbytes for weight in TOY.weights.values()})
            blobs[next(iter(TOY.weights.values())).sha256] = 600_000
            self.disks[source].blobs.update(blobs)
        self.clockwork.after(1.0, self._deploy_all)
        self.clockwork.after(START_S, self._fault)
        self.clockwork.after(START_S / 2, self._frames)
        self.clockwork.run(FAULTS_S)
        self._mend()
        self.clockwork.run(CALM_S - DEADLINE_S - 2)
        before, errors = self.judge.results, sum(self.judge.errors.values())
        self.clockwork.run(CALM_S)
        self.judge.at_the_end()
        good = self.judge.results - before
        self._check_goodput(good, sum(self.judge.errors.values()) - errors)

    def _check_goodput(self, good: int, bad: int) -> None:
        wanted = sum(1 for name in self.sources if not self._is_removed(name))
        if wanted and (bad or not good):
            self.judge._need(False, "D8", f"in the end {good} results, {bad} errors")

    def _is_removed(self, name: str) -> bool:
        view = self.machines[self.sources[name]].core.parts.deployments.views.get(name)
        return view is not None and view.spec is not None and view.spec.removed

    def _deploy_all(self) -> None:
        for name, source in self.sources.items():
            self.want(name, source)

    def _frames(self) -> None:
        """A steady stream from every source, until the last deadline before the end."""
        if self.clockwork.now_s > CALM_S - DEADLINE_S - 1:
            return
        for name, source in self.sources.items():
            machine = self.machines[source]
            view = machine.core.parts.deployments.views.get(name)
            known = view is not None and view.spec is not None and not view.spec.removed
            if machine.is_alive and not machine.is_frozen and known:
                self.tokens += 1
                machine.submit(self.tokens, name, DEADLINE_S)
        self.clockwork.after(FRAME_EVERY_S, self._frames)

    def _tell(self, node: str, peer: str, session: int, up: bool) -> None:
        machine = self.machines[node]
        machine.hear(LinkUp(peer, session) if up else LinkDown(peer, session))

    # --- faults --------------------------------------------------------------------------------

    def _fault(self) -> None:
        """One random fault, then the next in a while, until the calm begins."""
        if self.clockwork.now_s >= FAULTS_S:
            return
        self.faults += 1
        kinds: list[Callable[[str], None]] = [
            self._kill_and_restart,
            self._kill_and_restart,
            self._freeze,
            self._broker_restart,
            self._stress,
            self._sever,
            self._redeploy,
            self._drain,
        ]
        chance = self.clockwork.random
        chance.choice(kinds)(chance.choice(list(self.tiers)))
        self.clockwork.after(self.clockwork.jitter(0.2, 2.5), self._fault)

    def _kill_and_restart(self, name: str) -> None:
        self.crash(name)
        is_edge = self.tiers[name] == EDGE
        if is_edge and self.clockwork.random.random() < 0.3:
            self.disks[name].blobs.clear()
        self.clockwork.after(self.clockwork.jitter(0.1, 6.0), lambda: self.boot(name))

    def _freeze(self, name: str) -> None:
        self.note(name, "is frozen")
        self.has_frozen.add(name)
        self.machines[name].freeze(self.clockwork.jitter(0.2, 5.0))

    def _broker_restart(self, name: str) -> None:
        chance = self.clockwork.random.random()
        kept = {} if chance < 0.4 else dict(self.broker.retained)
        snapshot = kept
        self.note("broker", f"restarts with {len(snapshot)} retained messages")
        self.broker.crash(snapshot)

        def up() -> None:
            self.broker.is_up = True

        self.clockwork.after(self.clockwork.jitter(0.1, 3.0), up)

    def _stress(self, name: str) -> None:
        self.note("broker", "drops, doubles, spoils")
        self.broker.drops, self.broker.doubles, self.spoils = 0.2, 0.2, 0.1

        def relax() -> None:
            self.broker.drops, self.broker.doubles, self.spoils = 0.0, 0.0, 0.0

        self.clockwork.after(self.clockwork.jitter(0.5, 4.0), relax)

    def _sever(self, name: str) -> None:
        other = self.clockwork.random.choice([node for node in self.tiers if node != name])
        self.note(name, f"is cut from {other}")
        self.network.sever(name, other)
        if self.clockwork.random.random() < 0.5:
            self.clockwork.after(self.clockwork.jitter(0.5, 5.0), self.network.heal)

    def _redeploy(self, name: str) -> None:
        job = self.clockwork.random.choice(list(self.sources))
        source = self.sources[job]
        self.note(source, f"removes {job}")
        self.want(job, source, removed=True)
        if self.clockwork.random.random() < 0.8:
            self.clockwork.after(self.clockwork.jitter(0.05, 4.0), lambda: self.want(job, source))

    def _drain(self, name: str) -> None:
        if self.tiers[name] == DEVICE:
            return
        self.note(name, "is asked to drain")
        self.machines[name].hear(Asked("the simulator asks"))
        self.clockwork.after(self.clockwork.jitter(5.0, 10.0), lambda: self.boot(name))

    def _mend(self) -> None:
        """Everything works from here on, and everybody is there."""
        self.note("world", "faults are over")
        self.broker.is_up, self.broker.drops, self.broker.doubles = True, 0.0, 0.0
        self.spoils = 0.0
        self.network.heal()
        for name in self.tiers:
            self.boot(name)
        self.clockwork.after(3.0, self._last_boot)

    def _last_boot(self) -> None:
        for name in self.tiers:
            self.boot(name)
        self.clockwork.after(6.0, self._want_again)

    def _want_again(self) -> None:
        """Broker and source may both have forgotten a wish: its user says it again."""
        for name, source in self.sources.items():
            view = self.machines[source].core.parts.deployments.views.get(name)
            if view is None or view.spec is None:
                self.want(name, source)


def tiers(nodes: int) -> dict[str, Tier]:
    """A third devices, a sixth clouds, the rest edges."""
    devices, clouds = max(1, nodes // 4), max(1, nodes // 6)
    found = {f"cam-{at + 1}": DEVICE for at in range(devices)}
    found.update({f"edge-{at + 1}": EDGE for at in range(max(1, nodes - devices - clouds))})
    found.update({f"cloud-{at + 1}": CLOUD for at in range(clouds)})
    return found


def caps_of(name: str, session: int, tier: Tier) -> Caps:
    """A node ten times as fast as the tier before it."""
    speed = 10.0**tier.rank * (1 + 0.1 * (ord(name[-1]) % 7))
    rates = Rates(1e9 * speed, 1e9 * speed, 1e9 * speed, 1e-5)
    return Caps(
        node=name,
        session=session,
        tier=tier,
        board="simulated",
        arch="none",
        cores=1,
        memory_bytes=1 << 30,
        accelerators=(),
        engines=("symbolic",),
        rates=rates,
        can_lead=True,
        reachable=True,
        endpoints=(Endpoint("127.0.0.1", 1, 2),),
        public_key="",
    )
