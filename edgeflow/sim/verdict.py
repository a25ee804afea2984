"""What must hold once faults are long over: the fleet has come together.

Invariant: looks only; whatever it finds wrong is a Violation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeflow.sim.judge import Judge, Watched


def check(judge: Judge, machines: Mapping[str, Watched], sources: Mapping[str, str]) -> None:
    """E4, D1 and B1 at the end. `machines` by node, `sources` by deployment."""
    living = [machine for machine in machines.values() if machine.is_alive]
    _one_leader(judge, living)
    for name, source in sources.items():
        _one_plan(judge, machines, name, source)
    for machine in living:
        missing = [token for token in machine.submitted if token not in machine.outcomes]
        judge.need(not missing, "D1", f"{machine.name}: no outcome for {missing[:5]}")
        bundles = machine.core.parts.bundles.holders
        judge.need(not bundles, "B1", f"{machine.name} still holds {sorted(bundles)[:5]}")
        judge.need(not machine.bundles, "B1", f"{machine.name}: its shell keeps bundles")


def _one_leader(judge: Judge, living: Iterable[Watched]) -> None:
    leaders = sorted(each.name for each in living if each.core.parts.election.mine is not None)
    judge.need(len(leaders) == 1, "E4", f"leaders in the end: {leaders}")
    for machine in living:
        follows = machine.core.parts.election.follows(machine.clock_s())
        good = follows is not None and follows.node == leaders[0]
        judge.need(good, "E4", f"{machine.name} follows {follows}")


def _one_plan(judge: Judge, machines: Mapping[str, Watched], name: str, source: str) -> None:
    parts = machines[source].core.parts
    active = parts.holdings.active_plan(name)
    view = parts.deployments.views[name]
    if view.spec is not None and view.spec.removed:
        judge.need(active is None, "E4", f"{name} is removed and still has a plan")
        return
    judge.need(active is not None, "E4", f"{name} has no active plan in the end")
    assert active is not None
    board = view.board
    is_told = board is not None and board.committed is not None
    same = is_told and board is not None and board.committed == active.plan
    judge.need(same, "E4", f"{source} uses {active.plan.id}, the leader means another")
    for node, session in active.plan.sessions.items():
        other = machines[node]
        judge.need(other.is_alive and other.session == session, "E4", f"{node} is not in it")
        ready = other.core.parts.holdings.ready(active.plan.hash, active.plan.id)
        judge.need(ready is not None, "E4", f"{node} does not hold {active.plan.id}")
