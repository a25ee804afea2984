"""One seed, one history: faults, then none, and a judgement.

    0 ── start ── START_S ════ faults ════ FAULTS_S ── coming together ── goodput ── rest
                  safety: invariants at every event    liveness: within TOGETHER_S

Invariant: the same seed, nodes and script give the same history.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from edgeflow.sim import verdict
from edgeflow.sim.faults import LATE_S, Faults
from edgeflow.sim.fleet import size_of
from edgeflow.sim.script import ALL, ALONE, Fault, draw
from edgeflow.sim.world import DEADLINE_S, World

START_S, QUIET_START_S = 4.0, 12.0
"""First fault: amid the first plan; or once all has settled, where faults may cost nothing."""
FAULTS_S = 18.0
TOGETHER_S = 60.0
"""After the end of faults, and of a sulk of the leader (30 s), the fleet is one again."""
GOODPUT_S, ANSWER_S = 3.0, 1.0
"""Within TOGETHER_S there is a stretch in which all that is handed in is answered well, and soon:
what faults left behind, as a standing queue, has to be worked off by then."""
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
    """Empty, or the invariant's name and what was seen."""
    story: tuple[str, ...]
    sim_s: float
    events: int
    results: int
    errors: dict[str, int]
    faults: int
    script: tuple[Fault, ...] = ()


class History:
    """Plays one seed; Violation where an invariant does not hold."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        groups: Sequence[str] = ALL,
        script: Sequence[Fault] | None = None,
    ) -> None:
        self.world = World(seed, nodes)
        self.alone = {ALONE[group] for group in groups if group in ALONE}
        start_s = QUIET_START_S if self.alone else START_S
        self.ends_s = start_s + FAULTS_S - START_S
        if script is None:
            script = draw(seed, list(self.world.tiers), groups, start_s, self.ends_s)
        self.faults = Faults(self.world, script)
        self.is_streaming = True

    def play(self) -> None:
        """The whole of it."""
        world, clockwork = self.world, self.world.clockwork
        for name in world.tiers:
            world.boot(name)
        clockwork.after(1.0, world.deploy_all)
        clockwork.after(QUIET_START_S - 1 if self.alone else START_S / 2, self._frames)
        self.faults.start()
        terms = self._terms(QUIET_START_S) if self.alone else {}
        clockwork.run(self.ends_s)
        self.faults.mend()
        self._come_together()
        self._work()
        if self.alone:
            verdict.nothing_lost(world.judge, next(iter(self.alone)))
        if "E5" in self.alone:
            same = self._terms(clockwork.now_s) == terms
            world.judge.need(same, "E5", f"claims were {terms}")

    def _terms(self, at_s: float) -> dict[str, object]:
        """The highest claim that each node knows at that time."""
        self.world.clockwork.run(at_s)
        machines = self.world.machines.values()
        return {machine.name: machine.core.parts.election.highest for machine in machines}

    def _come_together(self) -> None:
        world, clockwork = self.world, self.world.clockwork
        clockwork.run(self.ends_s + LATE_S[-1] + 0.5)
        args = (world.judge, world.machines, world.sources)
        while not verdict.is_together(*args) and clockwork.now_s < self.ends_s + TOGETHER_S:
            clockwork.run(clockwork.now_s + 0.5)
        verdict.together(*args)

    def _work(self) -> None:
        """Goodput is back; then every frame ends, and nothing is left of it."""
        world, clockwork = self.world, self.world.clockwork
        first, last = self._stretch()
        while (
            not verdict.is_good(world.judge, first, last)
            and clockwork.now_s < self.ends_s + TOGETHER_S
            and any(world.is_wanted(name) for name in world.sources)
        ):
            first, last = self._stretch()
        self.is_streaming = False
        for _ in range(int(2 * DEADLINE_S) + 2):
            clockwork.run(clockwork.now_s + 0.5)
            if self._is_at_rest():
                break
        verdict.at_rest(world.judge, world.processes)
        if any(world.is_wanted(name) for name in world.sources):
            verdict.goodput(world.judge, first, last)

    def _stretch(self) -> tuple[int, int]:
        """Frames are handed in for a while, and get some time: the first token and the last."""
        world, clockwork = self.world, self.world.clockwork
        first = world.tokens + 1
        clockwork.run(clockwork.now_s + GOODPUT_S)
        last = world.tokens
        clockwork.run(clockwork.now_s + ANSWER_S)
        return first, last

    def _is_at_rest(self) -> bool:
        return not any(
            len(machine.outcomes) < len(machine.submitted) or machine.bundles
            for machine in self.world.processes
            if machine.is_alive
        )

    def _frames(self) -> None:
        """A steady stream for every deployment."""
        world = self.world
        if not self.is_streaming:
            return
        chance = world.clockwork.random
        are_hasty = world.clockwork.now_s < self.ends_s and not self.alone
        for name, source in world.sources.items():
            if world.is_wanted(name):
                is_strange = chance.random() < STRANGER_SHARE
                is_hasty = are_hasty and chance.random() < HASTY_SHARE
                at = chance.choice(world.near(source)) if is_strange else source
                world.submit(name, at, HASTY_S if is_hasty else DEADLINE_S)
        world.clockwork.after(FRAME_EVERY_S, self._frames)


def run_seed(
    seed: int,
    nodes: int = 0,
    groups: Sequence[str] = ALL,
    script: Sequence[Fault] | None = None,
) -> Outcome:
    """Play one seed; any exception counts as a violation and ends the history.

    `nodes` 0: a fleet of 3 to 6. `script` None: drawn from the seed out of `groups`.
    """
    nodes = size_of(seed, nodes)
    history = History(seed, nodes, groups, script)
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
        script=tuple(history.faults.script) if violation else (),
    )
