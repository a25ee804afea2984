"""What a caller that waits for its deployment is told."""

from __future__ import annotations

import pytest

from edgeflow.messages import (
    EDGE,
    Board,
    Caps,
    Claim,
    Held,
    Holding,
    Plan,
    PlanId,
    Spec,
    Status,
)
from edgeflow.mind.node import NodeCore
from edgeflow.mind.questions import readiness
from edgeflow.plans.deployments import View

CLAIM = Claim(1, 9, "edge-1", 1)
PLAN_ID = PlanId(CLAIM, 1)
SHA = "a" * 64
SPEC = Spec("job", 7, SHA, "net", "cam-1", "cam-1")
PLAN = Plan(PLAN_ID, "job", SHA, "cam-1", {"cam-1": 1}, ("a @edge-1",), 0.1, 0.1, "x", "y", SHA)
IMPOSSIBLE = Status("job", "net", "cam-1", "impossible", "nobody is here", "", 0, 0, "", "edge-1")


def told(
    *,
    committed: Plan | None = PLAN,
    preparing: Plan | None = None,
    generation: int = 7,
    status: str = "active",
) -> tuple[bool, str, str]:
    core = NodeCore(Caps("cam-1", 1, EDGE, "", "", 1, 1, (), (), None, False, True, (), ""))
    board = Board("job", CLAIM, generation, preparing, committed)
    held = Held("job", "cam-1", 1, (Holding(PLAN_ID, SHA, status, 0, 0),))
    core.parts.deployments.views["job"] = View("job", SPEC, board, {"cam-1": held}, IMPOSSIBLE)
    return readiness(core, "job")


def test_a_plan_for_this_wish_that_the_source_holds_is_ready_whatever_was_said_before() -> None:
    assert told()[0]


def test_while_the_source_takes_its_plan_in_an_older_impossible_does_not_count() -> None:
    assert told(status="building") == (
        False,
        "preparing",
        "cam-1 is still taking the model in",
    )


@pytest.mark.parametrize(("generation", "phase"), [(7, "impossible"), (6, "")])
def test_impossible_counts_where_it_was_said_of_this_wish(generation: int, phase: str) -> None:
    assert told(committed=None, generation=generation)[:2] == (False, phase)


def test_while_the_first_plan_of_this_wish_is_prepared_an_older_impossible_does_not_count() -> None:
    assert told(committed=None, preparing=PLAN)[:2] == (False, "preparing")
