"""Many NodeCores in virtual time: the shell is exchanged, the core is the one that runs in the field.

`run_seed(seed, nodes)` plays one history and judges it.
"""

from __future__ import annotations

import traceback

from edgeflow.sim.world import Outcome, World

__all__ = ["Outcome", "World", "run_seed"]


def run_seed(seed: int, nodes: int = 7) -> Outcome:
    """Play one seed; any exception counts as a violation and ends the history."""
    world = World(seed, nodes)
    violation = ""
    try:
        world.run()
    except AssertionError as error:
        violation = str(error) or traceback.format_exc()
    except Exception:
        violation = traceback.format_exc()
    judge = world.judge
    return Outcome(
        seed=seed,
        violation=violation,
        story=tuple(judge.story) if violation else (),
        sim_s=world.clockwork.now_s,
        events=judge.events,
        results=judge.results,
        errors=judge.errors,
        faults=world.faults,
    )
