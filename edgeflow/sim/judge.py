"""The invariants of the design, checked around every event; each has the name it has there.

    E1 claims never fall        E2 no lease from a replay    E3 an old will changes nothing
    E4 in the end one leader and one plan per deployment     F1 plan ids rise     F2 one id, one hash
    F3 no compute for a plan not held     F4 one plan for all segments of an attempt
    D1 one outcome per frame    D2 by its deadline           D3 a result is the whole model's
    D7 at most 3 attempts       B1 no bundle is kept for ever
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeflow.events import Deliver, Effect, Event, Heard, RunSegment, Tick
from edgeflow.inflight import ATTEMPTS_MAX
from edgeflow.messages import Claim, Leader, PlanId, State
from edgeflow.sim.toy import Value, whole

if TYPE_CHECKING:
    from edgeflow.sim.machine import Machine
    from edgeflow.sim.world import World

EPSILON_S = 0.5
"""An outcome comes by its deadline and this: a tick, and what a frozen machine adds is excused."""
STORY_LINES = 400


class Violation(AssertionError):  # noqa: N818 - it is what was violated, not an error of ours
    """An invariant does not hold."""


@dataclass(slots=True)
class Judge:
    """Watches every event of every node."""

    world: World
    hashes: dict[PlanId, str] = field(default_factory=dict)
    beats: dict[tuple[str, int], set[tuple[Claim, int]]] = field(default_factory=dict)
    story: deque[str] = field(default_factory=lambda: deque(maxlen=STORY_LINES))
    events: int = 0
    results: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def watch(self, machine: Machine, event: Event) -> list[Effect]:
        """Hand the event to the core, and compare before with after."""
        self.events += 1
        now_s = self.world.clockwork.now_s
        if not isinstance(event, Tick):
            self.story.append(f"{now_s:8.3f} {machine.name:8} {event!r}"[:300])
        parts = machine.core.parts
        election = parts.election
        fences = dict(parts.holdings.fences)
        held = set(parts.holdings.plans)
        peer = self._peer(machine, event)
        effects = machine.core.handle(event, now_s)
        after = parts.election
        if election.highest is not None:
            fell = after.highest is None or after.highest < election.highest
            self._need(not fell, "E1", f"{machine.name}: highest claim fell")
        if isinstance(event, Heard) and isinstance(event.message, Leader):
            self._leases(machine, event, event.message, election.expires_s, after.expires_s)
        if peer is not None:
            self._need(self._peer(machine, event) == peer, "E3", f"{machine.name}: an old will")
        self._plans(machine, fences, held)
        for effect in effects:
            if isinstance(effect, RunSegment):
                self._runs(machine, effect)
        for frame in parts.inflight.frames.values():
            self._need(frame.spent <= ATTEMPTS_MAX, "D7", f"frame {frame.id}: {frame.spent}")
        return effects

    def on_outcome(self, machine: Machine, effect: Deliver, values: dict[str, Value]) -> None:
        """One frame ended."""
        token = effect.token
        self._need(machine.outcomes[token] == 1, "D1", f"{machine.name}: frame {token} ended twice")
        deadline_s, image = machine.submitted[token]
        late_s = self.world.clockwork.now_s - deadline_s
        excused = machine.name in self.world.has_frozen
        self._need(late_s <= EPSILON_S or excused, "D2", f"frame {token} is {late_s:.2f} s late")
        if effect.code:
            self.errors[effect.code] = self.errors.get(effect.code, 0) + 1
            return
        self.results += 1
        self._need(values == {"head": whole(image)}, "D3", f"frame {token}: a wrong result")

    def at_the_end(self) -> None:
        """Faults are long over: the fleet must have come together."""
        living = [machine for machine in self.world.machines.values() if machine.is_alive]
        leaders = sorted(m.name for m in living if m.core.parts.election.mine is not None)
        self._need(len(leaders) == 1, "E4", f"leaders in the end: {leaders}")
        now_s = self.world.clockwork.now_s
        for machine in living:
            follows = machine.core.parts.election.follows(now_s)
            good = follows is not None and follows.node == leaders[0]
            self._need(good, "E4", f"{machine.name} follows {follows}")
        for name, source in self.world.sources.items():
            self._one_plan(name, source)
        for machine in living:
            missing = [token for token in machine.submitted if token not in machine.outcomes]
            self._need(not missing, "D1", f"{machine.name}: no outcome for {missing[:5]}")
            bundles = machine.core.parts.bundles.holders
            self._need(not bundles, "B1", f"{machine.name} still holds {sorted(bundles)[:5]}")
            self._need(not machine.bundles, "B1", f"{machine.name}: its shell keeps bundles")

    def _one_plan(self, name: str, source: str) -> None:
        machine = self.world.machines[source]
        active = machine.core.parts.holdings.active_plan(name)
        view = machine.core.parts.deployments.views[name]
        if view.spec is not None and view.spec.removed:
            self._need(active is None, "E4", f"{name} is removed and still has a plan")
            return
        self._need(active is not None, "E4", f"{name} has no active plan in the end")
        assert active is not None
        for node, session in active.plan.sessions.items():
            other = self.world.machines[node]
            self._need(other.is_alive and other.session == session, "E4", f"{node} is not in it")
            ready = other.core.parts.holdings.ready(active.plan.hash, active.plan.id)
            self._need(ready is not None, "E4", f"{node} does not hold {active.plan.id}")

    def _leases(
        self, machine: Machine, event: Heard, message: Leader, before_s: float, after_s: float
    ) -> None:
        seen = self.beats.setdefault((machine.name, machine.session), set())
        key = (message.claim, message.beat)
        if event.retained or key in seen:
            grew = after_s > before_s
            self._need(not grew, "E2", f"{machine.name}: an old beat renewed a lease")
        if not event.retained:
            seen.add(key)

    def _peer(self, machine: Machine, event: Event) -> tuple[object, ...] | None:
        """What is known of the node of a stale will; None for anything else."""
        if not isinstance(event, Heard) or not isinstance(event.message, State):
            return None
        will = event.message
        peer = machine.core.parts.membership.peers.get(will.node)
        if will.state != "lost" or peer is None:
            return None
        if (will.session, will.connection) >= (peer.session, peer.connection):
            return None
        return (peer.session, peer.connection, peer.state, peer.will_heard, peer.heard_s)

    def _plans(self, machine: Machine, fences: dict[str, PlanId], held: set[str]) -> None:
        holdings = machine.core.parts.holdings
        for name, fence in holdings.fences.items():
            fell = name in fences and fence < fences[name]
            self._need(not fell, "F1", f"{machine.name}: the fence of {name} fell")
        for plan_hash, plan in holdings.plans.items():
            if plan_hash in held:
                continue
            plan_id = plan.plan.id
            fence = fences.get(plan.plan.deployment)
            rises = fence is None or plan_id > fence
            self._need(rises, "F1", f"{machine.name} applied {plan_id} at the fence {fence}")
            known = self.hashes.setdefault(plan_id, plan_hash)
            self._need(known == plan_hash, "F2", f"{plan_id} has two hashes")

    def _runs(self, machine: Machine, effect: RunSegment) -> None:
        parts = machine.core.parts
        held = parts.holdings.plans.get(effect.key.hash)
        ok = held is not None and held.step == "ready" and effect.key in machine.built
        self._need(ok, "F3", f"{machine.name} runs a plan that it does not hold")
        work = parts.stage.running
        assert work is not None
        same = work.frame.hash == effect.key.hash == work.held.plan.hash
        self._need(same, "F4", f"{machine.name}: frame {work.frame.frame} mixes plans")

    def _need(self, holds: bool, name: str, text: str) -> None:
        if not holds:
            raise Violation(f"{name}: {text} at {self.world.clockwork.now_s:.3f} s")
