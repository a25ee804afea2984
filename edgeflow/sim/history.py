"""One seed, one history: faults, then none, and a judgement.

0 ──── start ──── START_S ════ faults ════ FAULTS_S ──── mending, goodput returns ──── CALM_S
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from edgeflow.sim import verdict
from edgeflow.sim.faults import Faults
from edgeflow.sim.world import DEADLINE_S, World

START_S = 4.0
FAULTS_S = 24.0
CALM_S = 45.0
FRAME_EVERY_S = 0.25
STRANGER_SHARE = 0.15
"""Of the frames, so many are handed in at a node that is not their source."""
HASTY_SHARE, HASTY_S = 0.1, 0.15
"""Among faults so many have hardly any time: budgets end in every queue."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed showed."""

    seed: int
    nodes: int
    violation: str
    story: tuple[str, ...]
    sim_s: float
    events: int
    results: int
    errors: dict[str, int]
    faults: int


class History:
    """Plays one seed; Violation where an invariant does not hold."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.world = World(seed, nodes)
        self.faults = Faults(self.world, FAULTS_S)

    def play(self) -> None:
        """The whole of it."""
        world, clockwork = self.world, self.world.clockwork
        for name in world.tiers:
            world.boot(name)
        clockwork.after(1.0, world.deploy_all)
        clockwork.after(START_S / 2, self._frames)
        clockwork.after(START_S, self.faults.next)
        clockwork.run(FAULTS_S)
        self.faults.mend()
        clockwork.run(CALM_S - DEADLINE_S - 2)
        good, bad = world.judge.results, sum(world.judge.errors.values())
        clockwork.run(CALM_S)
        verdict.check(world.judge, world.machines, world.sources)
        good, bad = world.judge.results - good, sum(world.judge.errors.values()) - bad
        if any(world.is_wanted(name) for name in world.sources):
            text = f"in the end {good} results, {world.judge.errors}"
            world.judge.need(good > 0 and not bad, "D8", text)

    def _frames(self) -> None:
        """A steady stream for every deployment, until the last deadline before the end."""
        world = self.world
        if world.clockwork.now_s > CALM_S - DEADLINE_S - 1:
            return
        chance = world.clockwork.random
        for name, source in world.sources.items():
            if world.is_wanted(name):
                is_strange = chance.random() < STRANGER_SHARE
                is_hasty = world.clockwork.now_s < FAULTS_S and chance.random() < HASTY_SHARE
                at = chance.choice(world.near(source)) if is_strange else source
                world.submit(name, at, HASTY_S if is_hasty else DEADLINE_S)
        world.clockwork.after(FRAME_EVERY_S, self._frames)


def run_seed(seed: int, nodes: int = 7) -> Outcome:
    """Play one seed; any exception counts as a violation and ends the history."""
    history = History(seed, nodes)
    violation = ""
    try:
        history.play()
    except AssertionError as error:
        violation = str(error) or traceback.format_exc()
    except Exception:
        violation = traceback.format_exc()
    judge = history.world.judge
    return Outcome(
        seed=seed,
        nodes=nodes,
        violation=violation,
        story=tuple(judge.story()) if violation else (),
        sim_s=history.world.clockwork.now_s,
        events=judge.events,
        results=judge.results,
        errors=judge.errors,
        faults=history.faults.count,
    )
