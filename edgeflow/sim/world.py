"""A fleet, brokers and links in virtual time: who lives, who is linked, who wants what.

Invariant: all that happens follows from the seed and the faults.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from msgspec.structs import replace

from edgeflow.events import LinkDown, LinkUp, Wanted
from edgeflow.messages import DEVICE, Caps, Spec
from edgeflow.sim.body import Body, Disk
from edgeflow.sim.broker import Broker
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.dialect import Dialect
from edgeflow.sim.fleet import drawn
from edgeflow.sim.judge import Judge
from edgeflow.sim.machine import Machine
from edgeflow.sim.network import Network
from edgeflow.sim.toy import SMALL, Toy, Value

DEADLINE_S = 5.0
FIRST_WEIGHT_BYTES = 600_000
"""One weight is made as large as three pieces, so that a fetch can be interrupted."""


class World:
    """Everything there is for one seed."""

    def __init__(
        self,
        seed: int,
        nodes: int = 0,
        *,
        plain: bool = False,
        fleet: Mapping[str, Caps] | None = None,
        toy: Toy = SMALL,
    ) -> None:
        """So many nodes as chance makes them, or the given `fleet`."""
        self.toy = toy
        self.clockwork = Clockwork(random.Random(seed))
        self.broker, self.standby = Broker(self.clockwork), Broker(self.clockwork)
        self.judge = Judge(lambda: self.clockwork.now_s, toy)
        self.machines: dict[str, Machine] = {}
        """By name, those that links reach: of twins the one that was here first."""
        self.twins: dict[str, list[Machine]] = {}
        self.processes: list[Machine] = []
        """All that ever were."""
        self.network = Network(self.clockwork, self.session_of, self._tell)
        self.disks: dict[str, Disk] = {}
        self.sessions: dict[str, int] = {}
        self.caps = dict(fleet or drawn(nodes, self.clockwork.random, plain=plain))
        self.tiers = {name: caps.tier for name, caps in self.caps.items()}
        self.sources: dict[str, str] = {}
        self.poison: set[Value] = set()
        self.stalls = 0.0
        self.tokens = 0
        self.generation = 0

    def hands_of(self, name: str) -> Machine | None:
        """The process of that name that links reach."""
        return self.machines.get(name)

    def machine(self, caps: Caps, disk: Disk) -> Machine:
        """A new process."""
        return Machine(self, caps, disk)

    def session_of(self, node: str) -> int | None:
        """Of the living process of that name."""
        machine = self.machines.get(node)
        return machine.session if machine is not None and machine.is_alive else None

    def boot(self, name: str, *, twin: bool = False, speaks: Dialect | None = None) -> None:
        """Start a node's process, in a new session; as a twin beside one that lives."""
        if self.session_of(name) is not None and not twin:
            return
        self.sessions[name] = self.sessions.get(name, 0) + 1
        disk = self.disks.setdefault(name, Disk())
        machine = self.machine(replace(self.caps[name], session=self.sessions[name]), disk)
        if self.session_of(name) is None:
            self.machines[name] = machine
        else:
            self.twins.setdefault(name, []).append(machine)
        self.processes.append(machine)
        if speaks is not None:
            self.broker.dialects[machine.client] = speaks
        machine.start()

    def crash(self, name: str) -> None:
        """kill -9."""
        machine = self.machines[name]
        if machine.is_alive:
            self.judge.note(name, "is killed")
            self._end(machine, gracefully=False)

    def stop(self, machine: Body) -> None:
        """The process ended by itself."""
        self.judge.note(machine.name, "stopped")
        self._end(machine, gracefully=True)

    def want(
        self,
        name: str,
        source: str,
        *,
        removed: bool = False,
        policy: str = "mincut",
        placement: str = "",
    ) -> None:
        """Deploy, change or undeploy."""
        if self.session_of(source) is None:
            return
        self.generation += 1
        spec = Spec(name, self.generation, self.toy.model, "toy", source, source, policy, placement)
        self.machines[source].hear(Wanted(replace(spec, removed=removed)))

    def deploy_all(self) -> None:
        """One deployment for each device, whose disk has the model."""
        devices = [name for name, tier in self.tiers.items() if tier == DEVICE]
        for at, source in enumerate(devices):
            self.sources[f"job-{at}"] = source
            blobs = {weight.sha256: weight.nbytes for weight in self.toy.graph.weights.values()}
            blobs[next(iter(blobs))] = FIRST_WEIGHT_BYTES
            self.disks.setdefault(source, Disk()).blobs.update({self.toy.model: 2000, **blobs})
            self.want(f"job-{at}", source)

    def is_wanted(self, name: str) -> bool:
        """Whether its source knows the deployment."""
        view = self.machines[self.sources[name]].core.parts.deployments.views.get(name)
        return view is not None and view.spec is not None and not view.spec.removed

    def near(self, name: str) -> list[str]:
        """Nodes that can have a link to it: two behind NAT cannot."""
        is_open = self.caps[name].reachable
        return [other for other, caps in self.caps.items() if is_open or caps.reachable]

    def submit(self, name: str, at: str, deadline_s: float = DEADLINE_S) -> int | None:
        """One frame for a deployment, handed in at a node; its token, None where it is not here."""
        machine = self.machines[at]
        if not machine.is_alive or machine.is_frozen:
            return None
        self.tokens += 1
        machine.submit(self.tokens, name, deadline_s)
        return self.tokens

    def _end(self, machine: Body, *, gracefully: bool) -> None:
        machine.is_alive = False
        machine.broker.disconnect(machine.client, gracefully=gracefully)
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
