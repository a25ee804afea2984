"""What nodes say to each other, as files one can read; `pytest --rewrite-golden` writes them anew.

A line is one message that says something new: who said it, on which topic or to whom, and what. No
line has a time, so that a diff shows what changed and not when.
"""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeflow.events import Effect, Event, Publish, SendTensors, Wanted
from edgeflow.messages import (
    Board,
    Frame,
    Held,
    History,
    Leader,
    Notice,
    Plan,
    PlanChange,
    Result,
    Spec,
    State,
)
from edgeflow.sim.judge import Judge, Watched
from edgeflow.sim.toy import MODEL
from edgeflow.sim.world import World

HERE = Path(__file__).parent


class Steady(random.Random):
    """Every time in the middle of its range: nothing but the protocol decides the order."""

    def random(self) -> float:
        return 0.5


@dataclass(slots=True)
class Scribe(Judge):
    """A judge who writes down what was said, once."""

    written: list[str] = field(default_factory=list)
    last: dict[tuple[str, str], str] = field(default_factory=dict)

    def watch(self, machine: Watched, event: Event) -> list[Effect]:
        effects = Judge.watch(self, machine, event)
        for effect in effects:
            self._write(machine.name, effect)
        return effects

    def title(self, text: str) -> None:
        self.written.append(f"\n# {text}")

    def _write(self, name: str, effect: Effect) -> None:
        if isinstance(effect, SendTensors) and isinstance(effect.message, Frame | Result):
            what = "frame" if isinstance(effect.message, Frame) else "result"
            names = ", ".join(head.name for head in effect.message.tensors)
            plan, frame = effect.message.plan, effect.message.frame
            self._line(name, f"to {effect.peer}", f"{what} {frame} under {plan}: {names}", False)
        elif isinstance(effect, Publish):
            topic, said = _told(effect)
            if said:
                self._line(name, topic, said, True)

    def _line(self, name: str, where: str, what: str, once: bool) -> None:
        if once and self.last.get((name, where)) == what:
            return
        self.last[name, where] = what
        self.written.append(f"{name:8} {where:24} {what}")


def _told(effect: Publish) -> tuple[str, str]:
    """(topic, the words that matter) of a message; no words for what says nothing new here."""
    message = effect.message
    match message:
        case State():
            return f"nodes/{message.node}/state", message.state
        case Leader():
            farewell = " and resigns" if message.resigned else ""
            return "leader", f"claims term {message.claim.term}{farewell}"
        case Spec():
            gone = "removed" if message.removed else f"wanted, by {message.policy}"
            return f"{message.name}/spec", message.placement or gone
        case Board():
            drains = "".join(f", drains {plan.id}" for plan in message.draining)
            words = f"prepares {_plan(message.preparing)}, uses {_plan(message.committed)}{drains}"
            return f"{message.deployment}/plan", words
        case Held():
            plans = ", ".join(f"{each.id} {each.status}" for each in message.plans)
            return f"{message.deployment}/ready", plans or "nothing"
        case History():
            return f"{message.deployment}/history", ", ".join(map(_change, message.changes))
        case Notice():
            return (
                f"{message.deployment}/events",
                f"{message.kind}: {message.sentence.split(';')[0]}",
            )
    return "", ""


def _change(change: PlanChange) -> str:
    return f"{change.plan} {change.kind} {'used' if change.switch_s else 'prepared'}"


def _plan(plan: Plan | None) -> str:
    return f"{plan.id} ({plan.variants[0]})" if plan else "nothing"


def fleet(*late: str) -> tuple[World, Scribe]:
    """cam-1, edge-1, edge-2 and cloud-1, but for those that come late; as steady as can be."""
    world = World(0, 4, plain=True)
    world.clockwork.random = Steady()
    scribe = Scribe(lambda: world.clockwork.now_s)
    world.judge = scribe
    for name in world.tiers:
        if name not in late:
            world.boot(name)
    return world, scribe


def deploy(world: World, placement: str = "", generation: int = 2) -> None:
    if not world.sources:
        world.deploy_all()
    spec = Spec("job-0", generation, MODEL, "toy", "cam-1", "cam-1", "edge-only", placement)
    world.machines["cam-1"].hear(Wanted(spec))


def compare(name: str, scribe: Scribe, rewrite: bool) -> None:
    path = HERE / f"{name}.txt"
    said = "\n".join(scribe.written).strip() + "\n"
    if rewrite:
        path.write_text(said, encoding="utf-8")
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(known.split("\n"), said.split("\n"), lineterm="", n=2))
    assert not diff, f"{path.name} is another; if it should be: pytest --rewrite-golden\n{diff}"


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))


def test_nodes_elect_a_leader_and_deploy(rewrite: bool) -> None:
    world, scribe = fleet()
    world.clockwork.run(5.0)
    scribe.title("cam-1 wants the toy to run")
    deploy(world)
    world.clockwork.run(8.0)
    scribe.title("one frame")
    world.submit("job-0", "cam-1")
    world.clockwork.run(9.0)
    compare("elect_and_deploy", scribe, rewrite)


def test_the_leader_is_killed(rewrite: bool) -> None:
    world, scribe = fleet()
    world.clockwork.run(5.0)
    deploy(world)
    world.clockwork.run(8.0)
    leader = next(m.name for m in world.machines.values() if m.core.parts.election.mine)
    scribe.written.clear()
    scribe.title(f"one frame, and kill -9 of {leader}, which leads, before it is answered")
    world.submit("job-0", "cam-1")
    world.clockwork.run(8.03)
    world.crash(leader)
    world.clockwork.run(16.0)
    assert world.judge.results == 1
    compare("leader_killed", scribe, rewrite)


def test_a_plan_is_switched_under_frames(rewrite: bool) -> None:
    world, scribe = fleet()
    world.clockwork.run(5.0)
    deploy(world)
    world.clockwork.run(8.0)
    scribe.written.clear()
    scribe.title("another wish, and frames all the time")
    deploy(world, "stem @cam-1 | left..join @edge-2 | squeeze..head @cloud-1", generation=3)
    for _ in range(12):
        world.submit("job-0", "cam-1")
        world.clockwork.run(world.clockwork.now_s + 0.06)
    world.clockwork.run(12.0)
    assert world.judge.results == 12
    compare("plan_switch", scribe, rewrite)


def test_a_cloud_node_leads_until_an_edge_node_has_come_to_stay(rewrite: bool) -> None:
    world, scribe = fleet("edge-1", "edge-2")
    world.clockwork.run(6.0)
    scribe.title("edge-1 comes, and is there for three leases")
    world.boot("edge-1")
    world.clockwork.run(20.0)
    leaders = [name for name, m in world.machines.items() if m.core.parts.election.leads]
    assert leaders == ["edge-1"]
    compare("hand_over", scribe, rewrite)
