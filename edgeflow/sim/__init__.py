"""Many NodeCores in virtual time: the shell is exchanged, the core is the one of the field.

run_seed(seed, nodes) ─▶ History: World (machines, broker, network) + Faults ─▶ Judge ─▶ Outcome
"""

from __future__ import annotations

from edgeflow.sim.history import Outcome, run_seed
from edgeflow.sim.world import World

__all__ = ["Outcome", "World", "run_seed"]
