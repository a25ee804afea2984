"""The fault script of a history: what goes wrong, when and where, drawn before anything happens.

    # seed 17, 5 nodes
    4.210 kill edge-1 for 3.1
    5.020 sever cam-1 edge-2 for 2.0

A line is a fault: its time, its kind, its node, a second node, how long it lasts, how much of it.
It is read back from the same words, so that a history can be played again with fewer faults.

Invariant: a script follows from the seed and the names of the nodes alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeflow.errors import UsageError
from edgeflow.sim.fleet import tiers

GROUPS: Mapping[str, Mapping[str, int]] = {
    "processes": {"kill": 4, "freeze": 2, "drain": 1, "worker": 3, "blackout": 1},
    "broker": {
        "broker": 3,
        "broker-freeze": 1,
        "stress": 2,
        "squeeze": 1,
        "deaf": 1,
        "mute": 1,
        "flap": 2,
        "astray": 1,
    },
    "links": {"sever": 3, "one-way": 2, "slow": 2, "blink": 1, "stall": 1},
    "disks": {"disk-empty": 1, "disk-full": 1, "disk-spoils": 1, "disk-slow": 1},
    "clocks": {"rate": 2, "suspend": 1, "jump": 1},
    "twins": {"twin": 1},
    "users": {"redeploy": 2, "rewish": 2, "cancel": 3, "poison": 2},
    "load": {"burst": 2},
    "protocol": {"older": 1, "newer": 1, "noise": 1},
    "broker-loss": {"broker": 2, "broker-freeze": 1},
    "switch": {"rewish": 1},
}
"""By group: its kinds, and how often each is drawn beside the others."""
ALONE = {"broker-loss": "E5", "switch": "D6"}
"""Groups that may cost nothing at all, and by which invariant; `all` leaves them out."""
ALL = tuple(group for group in GROUPS if group not in ALONE)
PAUSE_S = (0.1, 2.2)
"""Between two faults."""
LASTS_S = (0.1, 8.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    kind: str
    node: str
    other: str
    for_s: float
    much: float
    """0 to 1; what it means follows from the kind."""

    def __str__(self) -> str:
        words = f"{self.at_s:.3f} {self.kind} {self.node} {self.other}"
        return f"{words} for {self.for_s:.3f} much {self.much:.3f}"


def draw(
    seed: int, nodes: Sequence[str], groups: Iterable[str], begin_s: float, end_s: float
) -> tuple[Fault, ...]:
    """The faults of a seed, in order of time. Times are rounded as they are printed."""
    chance = random.Random(f"faults of {seed}")
    kinds = [
        kind for group in groups for kind, often in GROUPS[group].items() for _ in range(often)
    ]
    is_alone = set(groups) <= set(ALONE)
    found, at_s = [], begin_s
    while kinds and at_s < end_s:
        node = chance.choice(nodes)
        other = chance.choice([name for name in nodes if name != node])
        kind, for_s, much = chance.choice(kinds), chance.uniform(*LASTS_S), chance.random()
        if is_alone and kind == "broker":
            much = KEPT
        found.append(Fault(round(at_s, 3), kind, node, other, round(for_s, 3), round(much, 3)))
        at_s += chance.uniform(*PAUSE_S)
        if is_alone and kind == "broker":
            at_s += for_s
    return tuple(found)


KEPT = 0.5
"""As `much` of a broker's restart: with all that it had retained."""


def written(seed: int, nodes: int, faults: Iterable[Fault]) -> list[str]:
    """A script in words."""
    return [f"# seed {seed}, {nodes} nodes", *map(str, faults)]


def parsed(line: str) -> Fault:
    """One fault in words; ValueError where it is none."""
    at_s, kind, node, other, _, for_s, _, much = line.split()
    return Fault(float(at_s), kind, node, other, float(for_s), float(much))


def read(lines: Iterable[str]) -> tuple[int, int, tuple[Fault, ...]]:
    """(seed, nodes, faults) of a script in words; UsageError says which line is none."""
    seed, nodes, faults = 0, 0, []
    for line in map(str.strip, lines):
        try:
            if line.startswith("# seed"):
                words = line.replace(",", "").split()
                seed, nodes = int(words[2]), int(words[3])
            elif line and not line.startswith("#"):
                faults.append(parsed(line))
        except (ValueError, IndexError):
            text = f"{line[:80]!r} is no fault: it is written as in what a failing seed prints"
            raise UsageError(text) from None
    if not nodes:
        raise UsageError("a script begins with a line such as `# seed 17, 5 nodes`")
    known = {kind for kinds in GROUPS.values() for kind in kinds}
    if strange := sorted({fault.kind for fault in faults} - known):
        raise UsageError(f"no fault is called {strange[0]}: there is {', '.join(sorted(known))}")
    there = tiers(nodes)
    if lost := [fault for fault in faults if {fault.node, fault.other} - there.keys()]:
        raise UsageError(f"{lost[0]}: there is no such node among {', '.join(there)}")
    return seed, nodes, tuple(sorted(faults, key=lambda fault: fault.at_s))


def groups_of(text: str) -> tuple[str, ...]:
    """The groups that a user names: `all`, or some of them with commas; UsageError for others."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    found = dict.fromkeys(group for name in names for group in (ALL if name == "all" else [name]))
    if strange := [name for name in found if name not in GROUPS]:
        there = ", ".join(["all", *GROUPS])
        raise UsageError(f"there are no faults called {strange[0]!r}: give some of {there}")
    if len({name in ALONE for name in found}) > 1:
        raise UsageError(f"{' and '.join(ALONE)} stand alone: what they may cost is nothing")
    return tuple(found)
