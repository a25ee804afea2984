"""A fleet, a broker and links in virtual time: who lives, who is linked, who wants what.

Invariant: all that happens follows from the seed.
"""

from __future__ import annotations

import random

from msgspec.structs import replace

from edgeflow.events import LinkDown, LinkUp, Wanted
from edgeflow.messages import CLOUD, DEVICE, EDGE, Caps, Endpoint, Rates, Spec, Tier
from edgeflow.sim.broker import Broker
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.hands import Disk, Hands
from edgeflow.sim.judge import Judge
from edgeflow.sim.machine import Machine
from edgeflow.sim.network import Network
from edgeflow.sim.toy import MODEL, TOY

DEADLINE_S = 5.0
FIRST_WEIGHT_BYTES = 600_000
"""One weight is made as large as three pieces, so that a fetch can be interrupted."""


class World:
    """Everything there is for one seed."""

    def __init__(self, seed: int, nodes: int, *, plain: bool = False) -> None:
        self.clockwork = Clockwork(random.Random(seed))
        self.broker = Broker(self.clockwork)
        self.judge = Judge(lambda: self.clockwork.now_s)
        self.machines: dict[str, Machine] = {}
        """By name, those that links reach: of twins the one that was here first."""
        self.twins: dict[str, list[Machine]] = {}
        self.network = Network(self.clockwork, self.session_of, self._tell)
        self.disks: dict[str, Disk] = {}
        self.sessions: dict[str, int] = {}
        self.tiers = tiers(nodes)
        self.caps = {name: self._caps(name, tier, plain) for name, tier in self.tiers.items()}
        self.sources: dict[str, str] = {}
        self.spoils = self.stalls = 0.0
        self.tokens = 0
        self.generation = 0

    def hands_of(self, name: str) -> Machine | None:
        """The process of that name that links reach."""
        return self.machines.get(name)

    def session_of(self, node: str) -> int | None:
        """Of the living process of that name."""
        machine = self.machines.get(node)
        return machine.session if machine is not None and machine.is_alive else None

    def boot(self, name: str, *, twin: bool = False) -> None:
        """Start a node's process, in a new session; as a twin beside one that lives."""
        if self.session_of(name) is not None:
            if not twin:
                return
        self.sessions[name] = self.sessions.get(name, 0) + 1
        disk = self.disks.setdefault(name, Disk())
        machine = Machine(self, replace(self.caps[name], session=self.sessions[name]), disk)
        if self.session_of(name) is None:
            self.machines[name] = machine
        else:
            self.twins.setdefault(name, []).append(machine)
        machine.start()

    def crash(self, name: str) -> None:
        """kill -9."""
        machine = self.machines[name]
        if machine.is_alive:
            self.judge.note(name, "is killed")
            self._end(machine, gracefully=False)

    def stop(self, machine: Hands) -> None:
        """The process ended by itself."""
        self.judge.note(machine.name, "stopped")
        self._end(machine, gracefully=True)

    def want(self, name: str, source: str, removed: bool = False) -> None:
        """Deploy or undeploy."""
        if self.session_of(source) is None:
            return
        self.generation += 1
        spec = Spec(name, self.generation, MODEL, "toy", source, source, removed=removed)
        self.machines[source].hear(Wanted(spec))

    def deploy_all(self) -> None:
        """One deployment for each device, whose disk has the model."""
        devices = [name for name, tier in self.tiers.items() if tier == DEVICE]
        for at, source in enumerate(devices):
            self.sources[f"job-{at}"] = source
            blobs = {weight.sha256: weight.nbytes for weight in TOY.weights.values()}
            blobs[next(iter(blobs))] = FIRST_WEIGHT_BYTES
            self.disks.setdefault(source, Disk()).blobs.update({MODEL: 2000, **blobs})
            self.want(f"job-{at}", source)

    def is_wanted(self, name: str) -> bool:
        """Whether its source knows the deployment."""
        view = self.machines[self.sources[name]].core.parts.deployments.views.get(name)
        return view is not None and view.spec is not None and not view.spec.removed

    def near(self, name: str) -> list[str]:
        """Nodes that can have a link to it: two behind NAT cannot."""
        is_open = self.caps[name].reachable
        return [other for other, caps in self.caps.items() if is_open or caps.reachable]

    def submit(self, name: str, at: str, deadline_s: float = DEADLINE_S) -> None:
        """One frame for a deployment, handed in at a node."""
        machine = self.machines[at]
        if machine.is_alive and not machine.is_frozen:
            self.tokens += 1
            machine.submit(self.tokens, name, deadline_s)

    def _end(self, machine: Hands, *, gracefully: bool) -> None:
        machine.is_alive = False
        self.broker.disconnect(machine.client, gracefully=gracefully)
        if self.machines[machine.name] is machine:
            self.network.gone(machine.name)
            self._succeed(machine.name)

    def _succeed(self, name: str) -> None:
        """A living twin has the name, and its links, to itself from here on."""
        living = [twin for twin in self.twins.pop(name, []) if twin.is_alive]
        if not living:
            return
        self.machines[name], self.twins[name] = living[0], living[1:]
        for peer, link in living[0].core.parts.neighbours.links.items():
            self.network.wish(name, living[0].session, peer, link.session)

    def _tell(self, node: str, peer: str, session: int, up: bool) -> None:
        machine = self.machines[node]
        machine.hear(LinkUp(peer, session) if up else LinkDown(peer, session))

    def _caps(self, name: str, tier: Tier, plain: bool) -> Caps:
        """A node ten times as fast as the tier before it; some behind NAT, some without engine."""
        speed = 10.0**tier.rank * (1 + 0.1 * (ord(name[-1]) % 7))
        rates = Rates(1e9 * speed, 1e9 * speed, 1e9 * speed, 1e-5)
        chance = self.clockwork.random
        behind_nat = not plain and tier != CLOUD and chance.random() < 0.15
        computes = plain or tier != DEVICE or chance.random() < 0.8
        return Caps(
            node=name,
            session=0,
            tier=tier,
            board="simulated",
            arch="none",
            cores=1,
            memory_bytes=1 << 30,
            accelerators=(),
            engines=("symbolic",) if computes else (),
            rates=rates if computes else None,
            can_lead=computes,
            reachable=not behind_nat,
            endpoints=(Endpoint("127.0.0.1", 1, 2),),
            public_key="",
        )


def tiers(nodes: int) -> dict[str, Tier]:
    """A quarter devices, a sixth clouds, the rest edges."""
    devices, clouds = max(1, nodes // 4), max(1, nodes // 6)
    found = {f"cam-{at + 1}": DEVICE for at in range(devices)}
    found.update({f"edge-{at + 1}": EDGE for at in range(max(1, nodes - devices - clouds))})
    found.update({f"cloud-{at + 1}": CLOUD for at in range(clouds)})
    return found
