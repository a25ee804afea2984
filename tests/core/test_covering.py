"""When variants are chosen anew, and that a running plan does not notice."""

from __future__ import annotations

from msgspec.structs import replace

from edgeflow.leader.covering import COVER_S, RECOVER_S
from edgeflow.leader.replan import REVIEW_S, SETTLE_S
from edgeflow.messages import LinkReport, Load, Plan
from tests.core.test_lead import SPEC, SPEEDS, Leader, told, used

COVERED = replace(SPEC, fallbacks=True)


class Weather(Leader):
    """A fleet whose ratios and rates change."""

    def __init__(self, bytes_per_s: float = 1e8) -> None:
        self.rate, self.ratio = bytes_per_s, dict.fromkeys(SPEEDS, 1.0)
        self.unlinked: set[str] = set()
        super().__init__()
        self.view.spec = COVERED

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.seq += 1
        for name in SPEEDS.keys() - self.silent:
            links = {
                other: LinkReport(not self.unlinked & {name, other}, 0.001, self.rate, 0, 9)
                for other in SPEEDS
                if other != name
            }
            ratio = {SPEC.model: self.ratio[name]}
            self.members.on_load(
                Load(name, 1, self.seq, 0, 0, None, False, 0, 0, links, None, {}, ratio), self.now_s
            )

    def settle(self) -> Plan:
        """A first plan runs, then the same with its variants."""
        self.commit()
        self.run(COVER_S + REVIEW_S)
        return self.commit()


def test_a_plan_says_what_is_prepared_and_for_which_change() -> None:
    leader = Weather(bytes_per_s=5e5)
    plan = leader.settle()
    fallbacks = {each.placement for each in told(leader).fallbacks}
    others = set(plan.variants[1:]) - fallbacks
    assert others, "a camera whose radio gets slow computes itself"
    for line in others:
        assert any(said.startswith("if ") and said.endswith(line) for said in told(leader).standbys)


def test_fallbacks_stand_before_standbys() -> None:
    plan = Weather().settle()
    assert plan.variants[:2] == ("stem..head @edge-1", "stem..head @edge-2")


def test_variants_are_chosen_anew_when_conditions_moved_and_not_before() -> None:
    leader = Weather()
    leader.ratio["edge-2"] = 30.0
    plan = leader.settle()
    leader.run(2 * RECOVER_S)
    assert leader.board.preparing is None, "nothing moved"
    leader.ratio["edge-2"] = 1.2
    leader.run(2 * REVIEW_S)
    assert leader.preparing.variants[0] == plan.variants[0]
    assert "stem..head @edge-2" in leader.preparing.variants
    assert used(leader) == plan, "frames go on under the plan that is there"


def test_a_node_is_prepared_for_once_its_links_are_there_which_come_after_it() -> None:
    """It waited for what it never got: to be tried, beside a plan that it was no part of."""
    leader = Weather()
    leader.unlinked = {"edge-2"}
    leader.run(SETTLE_S + 1.0)
    plan = leader.settle()
    assert not any("edge-2" in line for line in plan.variants)
    leader.unlinked = set()
    leader.run(2.0)
    assert leader.preparing.variants[0] == plan.variants[0]
    assert "stem..head @edge-2" in leader.preparing.variants
    plan = leader.commit()
    for unlinked in ({"edge-2"}, set()):
        leader.unlinked = unlinked
        leader.run(2.0)
        assert leader.board.preparing is None, "a link that comes back is none that came"


def test_two_choices_are_some_time_apart() -> None:
    leader = Weather()
    leader.ratio["edge-2"] = 30.0
    leader.settle()
    leader.ratio["edge-2"] = 1.2
    begin_s = leader.now_s
    while leader.board.preparing is None:
        leader.tick()
        assert leader.now_s - begin_s < 2 * RECOVER_S
    assert leader.now_s - begin_s > RECOVER_S - COVER_S - REVIEW_S


def test_what_is_prepared_already_is_not_prepared_again() -> None:
    leader = Weather()
    plan = leader.settle()
    for ratio in (2.5, 1.0, 2.5, 1.0):
        leader.ratio["edge-2"] = ratio
        leader.run(RECOVER_S + REVIEW_S)
        if leader.board.preparing is not None:
            new = leader.commit()
            assert not set(new.variants) <= set(plan.variants)
            plan = new
    assert len(plan.variants) <= 4


def test_a_stand_in_lost_while_it_prepares_is_no_reason_to_change_the_plan() -> None:
    leader = Weather()
    plan = leader.commit()
    leader.run(COVER_S + REVIEW_S)
    assert "edge-2" in leader.preparing.sessions
    leader.say("edge-1", (plan, "ready"), (leader.preparing, "ready"))
    leader.silent = {"edge-2"}
    leader.run(6.0)
    assert used(leader) == plan
    assert leader.preparing.variants[0] == plan.variants[0]
    assert "edge-2" not in leader.preparing.sessions
    assert leader.preparing.reason.startswith(plan.reason.partition(";")[0])


def test_a_better_plan_keeps_what_is_built_beside_it() -> None:
    leader = Weather()
    plan = leader.settle()
    leader.ratio["edge-1"] = 6.0
    leader.run(4 * REVIEW_S)
    assert leader.preparing.variants[0] == "stem..head @edge-2"
    assert set(leader.preparing.variants) == set(plan.variants)
    assert leader.preparing.sessions == plan.sessions


def test_a_better_plan_keeps_nothing_on_nodes_that_are_gone() -> None:
    leader = Weather()
    leader.ratio["edge-2"] = 1.1
    leader.settle()
    leader.silent = {"edge-1"}
    leader.run(4.0)
    assert leader.preparing.variants == ("stem..head @edge-2",), "it is needed at once"


def test_a_changed_wish_keeps_nothing() -> None:
    leader = Weather()
    leader.settle()
    leader.view.spec = replace(COVERED, generation=2, private="device")
    leader.run(2 * REVIEW_S)
    assert len(leader.preparing.variants) == 1, "what was prepared may break it"
