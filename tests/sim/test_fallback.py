"""A node is lost: the source goes on with the next variant, asking neither leader nor broker."""

from __future__ import annotations

import pytest

from edgeflow.plans.heldplan import HeldPlan
from tests.sim.test_scenarios import Scene

FAILOVER_S = 2.5
"""The simulated peer tells of a broken link within 2 s; then a frame takes some 0.2 s."""


def covered() -> Scene:
    """A scene whose leader carries the tensors, and whose plan has a variant without it."""
    for seed in range(20):
        scene = Scene(seed=seed)
        scene.run(12.0)
        if scene.worker.name == scene.leader:
            assert len(active(scene).plan.variants) > 1
            return scene
    raise AssertionError("no seed has a leader that works")


def active(scene: Scene) -> HeldPlan:
    found = scene.world.machines["cam-1"].core.parts.holdings.active_plan("job-0")
    assert found is not None
    return found


def test_a_lost_worker_is_answered_for_without_leader_and_broker() -> None:
    scene = covered()
    scene.stream(1.0)
    plan = active(scene).plan
    scene.world.broker.crash({})
    scene.world.crash(scene.worker.name)
    scene.run(FAILOVER_S)
    before = scene.world.judge.results
    scene.stream(3.0)
    scene.run(1.0)
    assert active(scene).plan == plan
    assert scene.world.judge.results >= before + 29
    scene.check(least=38)


@pytest.mark.parametrize("seed", range(3))
def test_a_stand_in_computes_only_what_it_holds(seed: int) -> None:
    scene = Scene(seed=seed)
    scene.run(12.0)
    scene.stream(1.0)
    scene.world.crash(scene.worker.name)
    scene.stream(8.0)
    scene.check(least=85)
