"""The faults, one row each, in the words of `edgeflow lab do`.

    row ──▶ occurrences, every so many seconds ──▶ acts, so long after its begin ──▶ changes

Names are put in when an act is due, so that it strikes who matters then:

    {leader}  who leads          {worker}  the first node of the plan that does not lead, or does
    {peers}   all nodes and the source but the leader            {others}  all but the worker
    {half}    the worker and one more that does not lead         {all}     every node, one by one
    {ahead}   seconds that a clock is off, another at each occurrence
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FIRST_S = 5.0
"""Calm before the first occurrence."""
SWITCH = "switch"
"""The one act that is no change of the lab: the deployment is placed by hand, elsewhere."""
AHEAD_S = (3600, -3600, 0)
NODES_BACK_S = 14.0
"""A node with a third of a core is ready again within this."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault."""

    name: str
    about: str
    acts: tuple[tuple[float, str], ...] = ()
    """Seconds after the begin of an occurrence, and what happens then."""
    every_s: float = 20.0
    """From one occurrence to the next."""
    tail_s: float = 8.0
    """No occurrence begins later than this before the last frame."""
    before: str = ""
    """Done before the deployment is wanted."""
    overload: float = 0.0
    """So many times the measured capacity; 0: the steady rate."""
    costs_nothing: bool = False
    """Promised: not one error."""

    def begins_s(self, frames_s: float) -> tuple[float, ...]:
        """When its occurrences begin, in a row that hands frames in for so long; one at least."""
        first_s = min(FIRST_S, frames_s / 4)
        count = 1 + max(0, int((frames_s - self.tail_s - first_s) // self.every_s))
        return tuple(first_s + at * self.every_s for at in range(count)) if self.acts else ()

    def due(self, frames_s: float) -> Iterator[tuple[float, int, bool, str]]:
        """(seconds after the first frame, number of the occurrence, whether it begins, act)."""
        found = [
            (begin_s + after_s, at, place == 0, act)
            for at, begin_s in enumerate(self.begins_s(frames_s))
            for place, (after_s, act) in enumerate(self.acts)
        ]
        yield from sorted(found, key=lambda each: each[0])


def _flaps(times: int) -> tuple[tuple[float, str], ...]:
    cuts = [(at * 1.0, "cut {worker}:home") for at in range(times)]
    mends = [(at * 1.0 + 0.4, "mend {worker}:home") for at in range(times)]
    return tuple(sorted(cuts + mends))


ROWS = (
    Row("calm", "nothing is broken: what the other rows are beside"),
    Row(
        "worker-killed",
        "kill -9 of the process that computes, at the busiest node",
        ((0.0, "kill-worker {worker}"),),
        every_s=8.0,
    ),
    Row(
        "node-killed",
        "kill -9 of a node of the plan, started again 4 s later",
        ((0.0, "kill {worker}"), (4.0, "restart {worker}")),
    ),
    Row(
        "leader-killed",
        "kill -9 of the node that leads, started again 4 s later",
        ((0.0, "kill {leader}"), (4.0, "restart {leader}")),
        costs_nothing=True,
    ),
    Row(
        "broker-killed",
        "kill -9 of the broker, back after 30 s with what lay on its disk",
        ((0.0, "kill broker"), (30.0, "restart broker keep")),
        every_s=45.0,
        costs_nothing=True,
    ),
    Row(
        "broker-empty",
        "kill -9 of the broker, back at once without any retained message",
        ((0.0, "restart broker empty"),),
        every_s=12.0,
        costs_nothing=True,
    ),
    Row(
        "broker-older",
        "the same, back with what it retained before this deployment was wanted",
        ((0.0, "restart broker older"),),
        every_s=12.0,
        before="save",
        costs_nothing=True,
    ),
    Row(
        "broker-frozen",
        "SIGSTOP of the broker for 10 s",
        ((0.0, "stop broker"), (10.0, "cont broker")),
        every_s=20.0,
        costs_nothing=True,
    ),
    Row(
        "leader-frozen",
        "SIGSTOP of the leader for 6 s, past its lease of 2 s",
        ((0.0, "stop {leader}"), (6.0, "cont {leader}")),
        every_s=15.0,
    ),
    Row(
        "leader-cut-from-broker",
        "nothing between leader and broker for 8 s",
        ((0.0, "partition {leader} broker"), (8.0, "heal")),
        costs_nothing=True,
    ),
    Row(
        "leader-cut-from-peers",
        "nothing between the leader and all other nodes, the source too, for 8 s",
        ((0.0, "partition {leader} {peers}"), (8.0, "heal")),
    ),
    Row(
        "one-way-cut",
        "nothing that a node of the plan sends arrives anywhere, for 6 s",
        ((0.0, "partition {worker} {others},broker one_way=true"), (6.0, "heal")),
        every_s=16.0,
    ),
    Row(
        "split-and-heal",
        "two nodes, one of them of the plan, cut from all else for 8 s",
        ((0.0, "partition {half}"), (8.0, "heal")),
    ),
    Row(
        "flapping-link",
        "the cable of a node of the plan: 0.4 s cut, 0.6 s whole, five times",
        _flaps(5),
        every_s=15.0,
    ),
    Row(
        "wall-clock",
        "time of day of every node but the source an hour ahead, then behind, then right",
        ((0.0, "clock {all} {ahead}"),),
        every_s=8.0,
        costs_nothing=True,
    ),
    Row(
        "plan-switch",
        "another plan by hand every 2 s",
        ((0.0, SWITCH),),
        every_s=2.0,
        tail_s=3.0,
        costs_nothing=True,
    ),
    Row("overload-2x", "twice the capacity, above a steady half of it", overload=2.0),
    Row("overload-5x", "five times the capacity, above a steady half of it", overload=5.0),
    Row(
        "power-cycle",
        "kill -9 of every node but the source, started again 2 s later",
        ((0.0, "kill {all}"), (2.0, "restart {all}")),
        every_s=26.0,
        tail_s=NODES_BACK_S + 4.0,
    ),
)
