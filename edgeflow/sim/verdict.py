"""What must hold once faults are long over: the fleet has come together, and works.

Invariant: looks only; whatever it finds wrong is a Violation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeflow.sim.judge import Judge, Violation, Watched


def is_together(judge: Judge, machines: Mapping[str, Watched], sources: Mapping[str, str]) -> bool:
    """Whether E4 holds now."""
    try:
        together(judge, machines, sources)
    except Violation:
        return False
    return True


def together(judge: Judge, machines: Mapping[str, Watched], sources: Mapping[str, str]) -> None:
    """E4: one leader, whom all follow, and one plan for each deployment."""
    living = [machine for machine in machines.values() if machine.is_alive]
    leaders = sorted(each.name for each in living if each.core.parts.election.mine is not None)
    judge.need(len(leaders) == 1, "E4", f"leaders in the end: {leaders}")
    for machine in living:
        follows = machine.core.parts.election.follows(machine.clock_s())
        good = follows is not None and follows.node == leaders[0]
        judge.need(good, "E4", f"{machine.name} follows {follows}")
    for name, source in sources.items():
        _one_plan(judge, machines, name, source)


def at_rest(judge: Judge, processes: Iterable[Watched]) -> None:
    """D1 and B1: every frame had its outcome, and nothing is kept for it any more."""
    for machine in processes:
        if not machine.is_alive:
            continue
        missing = [token for token in machine.submitted if token not in machine.outcomes]
        judge.need(not missing, "D1", f"{machine.name}: no outcome for {missing[:5]}")
        parts = machine.core.parts
        judge.need(not parts.bundles.holders, "B1", f"{machine.name} still holds bundles")
        judge.need(not machine.bundles, "B1", f"{machine.name}: its shell keeps bundles")
        judge.need(not parts.stage.queued_bytes, "D4", f"{machine.name} counts bytes of nothing")


def is_good(judge: Judge, first: int, last: int) -> bool:
    """Whether each frame from one token to another has its result."""
    ended = judge.frames.ended
    codes = [ended[token][1] for token in range(first, last + 1) if token in ended]
    return bool(codes) and not any(codes) and len(codes) == last - first + 1


def goodput(judge: Judge, first: int, last: int) -> None:
    """D8: what was handed in between these tokens has results, and nothing else."""
    ended = judge.frames.ended
    codes = [ended[token][1] for token in range(first, last + 1) if token in ended]
    bad = sorted({code for code in codes if code})
    judge.need(bool(codes) and not bad, "D8", f"in the end {len(codes)} outcomes, with {bad}")


def nothing_lost(judge: Judge, name: str) -> None:
    """E5 or D6: what happened may cost no frame and no error."""
    judge.need(not judge.errors, name, f"{judge.errors} beside {judge.results} results")


def _one_plan(judge: Judge, machines: Mapping[str, Watched], name: str, source: str) -> None:
    parts = machines[source].core.parts
    active = parts.holdings.active_plan(name)
    view = parts.deployments.views.get(name)
    if view is None or view.spec is None or view.spec.removed:
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
