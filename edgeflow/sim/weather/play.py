"""One Weather played: nodes start, a model is deployed, frames come at their rate, things happen.

    0 ── boot ── DEPLOY_S ── frames ════ what the script says ════ minutes ── the last outcomes

Invariant: one deployment, one source; frames come at their rate whatever becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeflow.events import Deliver, Wanted
from edgeflow.messages import Caps, Spec
from edgeflow.sim.body import Disk
from edgeflow.sim.machine import Machine
from edgeflow.sim.toy import Toy
from edgeflow.sim.weather.nature import Nature
from edgeflow.sim.weather.oracle import Oracle
from edgeflow.sim.weather.report import Change, Report, Shot
from edgeflow.sim.weather.resnet import RESNET
from edgeflow.sim.weather.script import Happening, Weather
from edgeflow.sim.weather.station import Station
from edgeflow.sim.world import World

JOB = "job"
DEPLOY_S, FIRST_S = 1.0, 2.0
"""When the model is deployed, and the first frame handed in."""
FRAME_DEADLINE_S = 30.0


class Outdoors(World):
    """Stations in one Weather, and what became of each frame."""

    def __init__(self, weather: Weather, toy: Toy = RESNET) -> None:
        self.weather, self.nature = weather, Nature(weather, toy.graph)
        super().__init__(weather.seed, fleet=self.nature.caps(), toy=toy)
        self.source = weather.cluster.source
        self.shots: dict[int, Shot] = {}
        self.changes: list[Change] = []
        self._plan = ""

    def machine(self, caps: Caps, disk: Disk) -> Machine:
        """A station."""
        return Station(self, caps, disk)

    def begin(self) -> None:
        """Start all that are here, and wind up what is to come."""
        for a, b in ((a, b) for a in self.tiers for b in self.tiers if a < b):
            if not {(a, b), (b, a)} <= self.nature.bytes_per_s.keys():
                self.network.sever(a, b)
        for name in self.tiers:
            if self.nature.here[name].at(0.0):
                self.boot(name)
        for each in self.weather.happenings:
            if each.kind in ("kill", "join"):
                self.clockwork.after(each.at_s, _happening(self, each))
        self.clockwork.after(DEPLOY_S, self._deploy)
        self.clockwork.after(FIRST_S, self._frame)

    def on_heard(self, station: Station) -> None:
        """Note under which plan each frame of the source flies, before that may end."""
        if station.name != self.source:
            return
        parts = station.core.parts
        for frame in parts.inflight.frames.values():
            if frame.flying and frame.token is not None:
                way, shot = frame.last.way, self.shots[frame.token]
                line = way.plan.variants[way.variant]
                if shot.plan != line:
                    shot.plan, shot.flown_s = line, self.clockwork.now_s
                    shot.is_trial = frame.is_trial
        held = parts.holdings.active_plan(JOB)
        line = held.plan.variants[0] if held is not None else self._plan
        if held is not None and line != self._plan:
            change = Change(self.clockwork.now_s, self._plan, line, held.plan.reason)
            self.changes.append(change)
            self._plan = line

    def on_answer(self, effect: Deliver) -> None:
        """A frame's outcome."""
        shot = self.shots[effect.token]
        shot.latency_s, shot.code = self.clockwork.now_s - shot.at_s, effect.code or "ok"

    def report(self) -> Report:
        """What became of it all."""
        shots = tuple(self.shots.values())
        return Report(self.weather, shots, tuple(self.changes), Oracle(self.nature))

    def _deploy(self) -> None:
        blobs = {weight.sha256: weight.nbytes for weight in self.toy.graph.weights.values()}
        for name in self.tiers:
            if self.weather.stocked or name == self.source:
                self.disks.setdefault(name, Disk()).blobs.update({self.toy.model: 5000, **blobs})
        spec = Spec(
            JOB,
            1,
            self.toy.model,
            self.toy.graph.name,
            self.source,
            self.source,
            policy=self.weather.policy,
            deadline_s=FRAME_DEADLINE_S,
            objective=self.weather.objective,
            tiles=self.weather.tiles,
        )
        self.machines[self.source].hear(Wanted(spec))

    def _frame(self) -> None:
        now_s = self.clockwork.now_s
        if now_s >= self.weather.ends_s:
            return
        self.shots[self.tokens + 1] = Shot(now_s)
        self.submit(JOB, self.source, FRAME_DEADLINE_S)
        # Not in step with heartbeats: frames of a camera are not either.
        share = 1 + 0.02 * (2 * self.clockwork.random.random() - 1)
        self.clockwork.after(share / self.weather.rate_fps, self._frame)


def run_weather(weather: Weather, toy: Toy = RESNET) -> Report:
    """Play it; Violation where a core breaks a promise of `edgeflow.sim.judge` on the way."""
    world = Outdoors(weather, toy)
    world.begin()
    world.clockwork.run(weather.ends_s)
    while any(not shot.code for shot in world.shots.values()):
        if world.clockwork.now_s > weather.ends_s + 2 * FRAME_DEADLINE_S:
            break
        world.clockwork.run(world.clockwork.now_s + 1.0)
    return world.report()


def _happening(world: Outdoors, each: Happening) -> Callable[[], None]:
    act = world.crash if each.kind == "kill" else world.boot
    return lambda: act(each.nodes[0])
