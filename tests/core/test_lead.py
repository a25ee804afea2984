"""The life of a board: plan, prepare, commit, drain, retire, and what heals it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.cluster.membership import Membership
from edgeflow.events import Effect, Publish
from edgeflow.leader.boards import BUILD_S, STUCK_S
from edgeflow.leader.covering import COVER_S
from edgeflow.leader.lead import BOARD_S, FORGET_S, RETRY_S, SHUN_S, Lead
from edgeflow.leader.replan import IMPOSSIBLE_S, NEWS_S, REVIEW_S, SETTLE_S, UNHELD_S
from edgeflow.messages import (
    DEVICE,
    EDGE,
    Board,
    Caps,
    Claim,
    Held,
    Holding,
    Lately,
    LinkReport,
    Load,
    Metrics,
    Notice,
    Plan,
    Rates,
    Spec,
    State,
    Status,
    Tier,
)
from edgeflow.plans.deployments import Deployments, View
from edgeflow.policy.worth import TRIED_TELL
from edgeflow.sim.toy import MODEL, TOY

MINE = Claim(3, 1, "edge-9", 1)
SPEEDS = {"cam-1": (DEVICE, 1e9), "edge-1": (EDGE, 1e10), "edge-2": (EDGE, 5e9)}
SPEC = Spec("job", 1, MODEL, "toy", "cam-1", "cam-1", tiles=False, fallbacks=False)


class Leader:
    """edge-9 leads; cam-1, edge-1 and edge-2 are what it hears of them."""

    def __init__(self) -> None:
        self.members = Membership("edge-9", 1)
        self.members.on_broker(True, 0.0, reconnect=False)
        self.lead = Lead("edge-9", self.members)
        self.view = View("job", SPEC)
        self.graph: object = TOY
        self.now_s, self.seq = 100.0, 0
        self.sessions = dict.fromkeys(SPEEDS, 1)
        self.silent: set[str] = set()
        self.down: set[tuple[str, str]] = set()
        for name, (tier, speed) in SPEEDS.items():
            self.introduce(name, tier, speed)
        self.wait(0.0)

    def introduce(self, name: str, tier: Tier, speed: float) -> None:
        rates = Rates(speed, speed, speed, 1e-6)
        session = self.sessions[name]
        self.members.on_state(State(name, session, 1, "ready"), retained=False, now_s=0.0)
        self.members.on_caps(
            Caps(name, session, tier, "", "", 1, 1, (), (), rates, True, True, (), ""),
            retained=False,
        )

    def wait(self, seconds: float) -> None:
        """Time passes and everybody is heard."""
        self.now_s += seconds
        self.seq += 1
        for name in SPEEDS.keys() - self.silent:
            links = {
                other: LinkReport((name, other) not in self.down, 0.001, 1e8, 0, 9)
                for other in SPEEDS
                if other != name
            }
            session = self.sessions[name]
            self.members.on_load(
                Load(name, session, self.seq, 0, 0, None, False, 0, 0, links, None, {}, {}),
                self.now_s,
            )

    def tick(self, seconds: float = 0.1) -> list[Effect]:
        self.wait(seconds)
        return self.lead.tick(self.view, self.graph, MINE, self.now_s)  # type: ignore[arg-type]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.tick(1.0)

    @property
    def board(self) -> Board:
        assert self.view.board is not None
        return self.view.board

    @property
    def preparing(self) -> Plan:
        assert self.board.preparing is not None
        return self.board.preparing

    def say(self, node: str, *plans: tuple[Plan, str], have_bytes: int = 0, why: str = "") -> None:
        """What a node holds."""
        self.view.helds[node] = Held(
            "job",
            node,
            self.sessions[node],
            tuple(
                Holding(plan.id, plan.hash, status, have_bytes, 100, why) for plan, status in plans
            ),
        )

    def all_ready(self, plan: Plan) -> None:
        for node in plan.sessions:
            self.say(node, (plan, "ready"))

    def commit(self) -> Plan:
        """Prepare, READY, COMMIT, active at the source."""
        self.tick()
        plan = self.preparing
        self.all_ready(plan)
        self.tick()
        assert self.board.committed == plan
        self.say("cam-1", (plan, "active"))
        return plan


def sentences(effects: list[Effect]) -> list[str]:
    return [
        effect.message.sentence
        for effect in effects
        if isinstance(effect, Publish) and isinstance(effect.message, Notice)
    ]


def used(leader: Leader) -> Plan | None:
    return leader.board.committed


def draining(leader: Leader) -> tuple[Plan, ...]:
    return leader.board.draining


def told(leader: Leader) -> Status:
    """What the leader last said of the deployment."""
    status = leader.lead.watches["job"].status
    assert status is not None
    return status


def phase(leader: Leader) -> tuple[str, str]:
    return told(leader).phase, told(leader).sentence


@pytest.fixture
def leader() -> Leader:
    return Leader()


def test_a_plan_is_committed_only_once_every_node_in_it_is_ready(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    assert set(plan.sessions) == {"cam-1", "edge-1"}
    leader.say("edge-1", (plan, "ready"))
    leader.tick()
    assert used(leader) is None
    leader.say("cam-1", (replace(plan, hash="e" * 64), "ready"))
    leader.tick()
    assert used(leader) is None
    leader.say("cam-1", (plan, "ready"))
    (said,) = sentences(leader.tick())
    assert used(leader) == plan
    assert said.startswith("job runs as stem..head @edge-1: first plan")


def test_ready_of_another_session_does_not_count(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    leader.all_ready(plan)
    leader.view.helds["edge-1"] = replace(leader.view.helds["edge-1"], session=7)
    leader.tick()
    assert used(leader) is None


def test_a_first_plan_waits_for_links_to_be_measured_but_not_for_long() -> None:
    leader = Leader()
    leader.members.peers["edge-2"].state = "init"
    leader.tick()
    assert phase(leader) == ("waiting", "links are being measured")
    leader.run(SETTLE_S + 1)
    assert leader.board.preparing is not None


def test_the_board_is_said_again_each_period(leader: Leader) -> None:
    leader.commit()
    leader.tick()
    leader.tick()
    assert leader.tick(0.01) == []
    said = {type(effect.message) for effect in leader.tick(BOARD_S) if isinstance(effect, Publish)}
    assert said == {Board, Status}


def test_a_lost_node_leads_to_a_plan_without_it(leader: Leader) -> None:
    leader.commit()
    leader.silent.add("edge-1")
    leader.run(4)
    assert "edge-1" not in leader.preparing.sessions
    assert leader.preparing.reason.startswith("edge-1 is lost")


def test_a_restarted_node_leads_to_a_plan_for_its_new_session(leader: Leader) -> None:
    leader.commit()
    leader.sessions["edge-1"] = 2
    leader.introduce("edge-1", EDGE, 1e10)
    leader.tick(1.0)
    assert leader.preparing.sessions["edge-1"] == 2
    assert leader.preparing.reason.startswith("edge-1 was restarted")


def test_a_node_that_dies_during_prepare_aborts_it_with_a_higher_plan(leader: Leader) -> None:
    leader.tick()
    first = leader.preparing
    leader.silent.add("edge-1")
    leader.run(4)
    assert leader.preparing.id > first.id
    assert "edge-1" not in leader.preparing.sessions


def test_a_node_that_cannot_prepare_is_left_out_for_a_while(leader: Leader) -> None:
    leader.tick()
    leader.say("edge-1", (leader.preparing, "failed"), why="no memory")
    assert sentences(leader.tick()) == ["edge-1 cannot prepare: no memory"]
    assert "edge-1" not in leader.preparing.sessions
    leader.commit()
    leader.run(SHUN_S + 2 * REVIEW_S)
    assert "edge-1" in leader.preparing.sessions


def test_prepare_without_progress_is_given_up(leader: Leader) -> None:
    leader.tick()
    leader.say("cam-1", (leader.preparing, "ready"))
    leader.run(STUCK_S + 2)
    assert "edge-1" not in leader.preparing.sessions


def test_slow_weights_are_progress(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    leader.say("cam-1", (plan, "ready"))
    for second in range(60):
        leader.say("edge-1", (plan, "preparing"), have_bytes=second)
        leader.tick(1.0)
    assert leader.preparing == plan


def test_a_slow_node_with_every_weight_may_build_for_long_but_not_for_ever(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    leader.say("cam-1", (plan, "ready"))
    leader.say("edge-1", (plan, "building"))
    leader.run(BUILD_S - STUCK_S)
    assert leader.preparing == plan
    leader.run(2 * STUCK_S)
    assert "edge-1" not in leader.preparing.sessions


def test_what_a_plan_takes_is_told_as_things_are_now(leader: Leader) -> None:
    leader.tick()
    leader.commit()
    told_s = told(leader).predicted_s
    leader.introduce("edge-1", EDGE, SPEEDS["edge-1"][1] / 1.05)
    leader.run(4 * REVIEW_S)
    assert leader.board.committed is not None
    assert leader.board.committed.predicted_s == told_s
    assert told(leader).predicted_s > told_s


def test_frames_on_trial_are_looked_at_as_soon_as_there_are_enough(leader: Leader) -> None:
    plan, few = str(leader.commit().id), TRIED_TELL - 1
    leader.run(2 * REVIEW_S)
    watch = leader.lead.watches["job"]
    for variant, more, is_looked_at in ((1, 0, 0), (1, 1, 1), (1, 1, 0), (1, 2, 1), (0, 9, 0)):
        lately = (Lately(plan, variant, few + more, (0.1,) * (few + more)),)
        leader.view.metrics = Metrics("job", "cam-1", 9, 9, 0, 0, 0, 1.0, 0.1, 0.1, lately)
        watch.reviewed_s = leader.now_s
        leader.tick(2 * NEWS_S)
        assert (watch.reviewed_s == leader.now_s) == is_looked_at, (variant, more)


def test_a_source_that_cannot_prepare_is_not_asked_again_at_once(leader: Leader) -> None:
    leader.tick()
    leader.say("cam-1", (leader.preparing, "failed"), why="the manifest is not sound")
    leader.tick()
    made = leader.lead.replan.seq
    for _ in range(40):
        leader.tick()
    assert leader.lead.replan.seq == made
    assert phase(leader) == ("waiting", "cam-1 cannot prepare: the manifest is not sound")
    leader.run(RETRY_S)
    assert leader.lead.replan.seq == made + 1


def test_a_source_that_failed_computes_nothing_but_takes_part() -> None:
    leader = Leader()
    leader.view.spec = replace(SPEC, policy="device-only")
    leader.tick()
    assert leader.preparing.variants == ("stem..head @cam-1",)
    leader.say("cam-1", (leader.preparing, "failed"), why="no memory")
    leader.tick()
    leader.view.spec = replace(SPEC, generation=2)
    leader.tick()
    assert leader.preparing.variants == ("stem..head @edge-1",)


def test_an_impossible_wish_is_told_and_asks_the_planner_seldom() -> None:
    leader = Leader()
    leader.view.spec = replace(SPEC, policy="cloud-only")
    leader.tick()
    assert phase(leader)[0] == "impossible"
    before_s = leader.lead.watches["job"].reviewed_s
    leader.tick(IMPOSSIBLE_S / 2)
    assert leader.lead.watches["job"].reviewed_s == before_s
    assert phase(leader)[0] == "impossible"
    leader.tick(IMPOSSIBLE_S)
    assert leader.lead.watches["job"].reviewed_s > before_s


def test_a_changed_wish_is_planned_at_once_also_while_nothing_was_possible() -> None:
    leader = Leader()
    leader.view.spec = replace(SPEC, policy="cloud-only")
    leader.tick()
    leader.view.spec = replace(SPEC, generation=2)
    leader.tick(0.1)
    assert leader.board.preparing is not None


def test_a_running_plan_that_lost_a_link_is_replaced_before_it_has_dwelt(leader: Leader) -> None:
    leader.commit()
    leader.down = {("cam-1", "edge-1"), ("edge-1", "cam-1")}
    leader.run(REVIEW_S + 1)
    assert leader.preparing.reason.startswith("the running plan lost a link")
    assert "edge-1" not in leader.preparing.sessions


def test_a_plan_under_preparation_that_lost_a_link_is_replaced(leader: Leader) -> None:
    leader.tick()
    leader.down = {("cam-1", "edge-1"), ("edge-1", "cam-1")}
    leader.run(REVIEW_S + 1)
    assert "edge-1" not in leader.preparing.sessions


def test_a_wish_for_privacy_is_kept_and_told(leader: Leader) -> None:
    assert "edge-1" in leader.commit().sessions
    leader.view.spec = replace(SPEC, generation=2, private="head@device")
    leader.tick()
    assert set(leader.preparing.sessions) == {"cam-1"}
    assert "; all before the output of head stays on device or below; " in leader.preparing.reason


def test_a_limit_that_no_plan_keeps_is_told_with_the_nearest_one(leader: Leader) -> None:
    plan = leader.commit()
    leader.view.spec = replace(SPEC, generation=2, latency_s_max=1e-6)
    leader.tick()
    assert phase(leader)[0] == "impossible"
    assert phase(leader)[1].startswith("no plan answers within 0.001 ms; the fastest takes ")
    assert used(leader) == plan


def test_an_old_plan_drains_until_the_source_uses_the_new_one_and_is_done_with_it(
    leader: Leader,
) -> None:
    first = leader.commit()
    leader.view.spec = replace(SPEC, generation=2)
    leader.tick()
    second = leader.preparing
    leader.say("cam-1", (first, "active"), (second, "ready"))
    leader.say("edge-1", (first, "ready"), (second, "ready"))
    leader.tick()
    assert (used(leader), draining(leader)) == (second, (first,))
    leader.tick()
    assert draining(leader) == (first,)
    leader.say("cam-1", (first, "in-flight"), (second, "active"))
    leader.tick()
    assert draining(leader) == (first,)
    leader.say("cam-1", (first, "ready"), (second, "active"))
    leader.tick()
    assert draining(leader) == ()


@pytest.mark.parametrize("node", ["edge-1", "cam-1"])
def test_a_committed_plan_that_somebody_forgot_is_replaced(leader: Leader, node: str) -> None:
    plan = leader.commit()
    leader.say(node)
    leader.run(UNHELD_S)
    assert leader.board.preparing is None
    leader.run(2)
    assert leader.preparing.id > plan.id
    assert leader.preparing.reason.startswith(f"{node} does not hold the plan any more")


def test_a_source_that_uses_another_plan_than_the_committed_one_gets_a_new_one(
    leader: Leader,
) -> None:
    plan = leader.commit()
    leader.say("cam-1", (plan, "ready"))
    leader.run(UNHELD_S + 2)
    assert leader.preparing.id > plan.id


def test_a_new_leader_adopts_the_board_and_commits_what_is_ready(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    leader.all_ready(plan)
    heir = Lead("edge-9", leader.members)
    higher = replace(MINE, term=9)
    leader.wait(0.1)
    heir.tick(leader.view, TOY, higher, leader.now_s)
    assert used(leader) == plan
    assert leader.board.claim == higher


def test_boards_of_a_leader_that_knows_only_an_older_wish_replace_one_another(
    leader: Leader,
) -> None:
    """A broker came back older: of one claim, readers take no board of a lower generation."""
    leader.commit()
    leader.view.board = replace(leader.board, generation=3)
    heir, higher, reader = Lead("edge-9", leader.members), replace(MINE, term=9), Deployments()
    for graph in (None, TOY, TOY, TOY):
        leader.wait(0.5)
        heir.tick(leader.view, graph, higher, leader.now_s)
        assert reader.on_board(leader.board)
        if leader.board.preparing is not None:
            leader.all_ready(leader.board.preparing)
    assert (leader.board.generation, leader.board.preparing) == (SPEC.generation, None)


def test_a_new_leader_without_the_model_commits_too_and_ends_nothing(leader: Leader) -> None:
    leader.tick()
    plan = leader.preparing
    leader.all_ready(plan)
    leader.graph = None
    leader.tick()
    assert used(leader) == plan
    leader.say("cam-1", (plan, "active"))
    leader.run(FORGET_S + 5)
    assert used(leader) == plan
    assert phase(leader)[0] == "running"


def test_an_unheard_source_stops_preparing_and_much_later_retires(leader: Leader) -> None:
    plan = leader.commit()
    leader.silent.add("cam-1")
    leader.run(5)
    assert used(leader) == plan
    assert phase(leader) == ("waiting", "the source cam-1 is not here")
    leader.run(FORGET_S)
    assert used(leader) is None
    assert leader.board.retired is not None
    assert leader.board.retired >= plan.id


def test_a_removed_deployment_is_emptied_and_stays_as_it_is(leader: Leader) -> None:
    plan = leader.commit()
    leader.view.spec = replace(SPEC, generation=2, removed=True)
    leader.tick()
    board = leader.board
    assert (board.committed, board.preparing) == (None, None)
    assert board.retired is not None
    assert board.retired >= plan.id
    leader.lead.replan.seq += 1
    leader.tick()
    assert leader.board == board
    leader.view.spec = replace(SPEC, generation=3)
    leader.tick()
    assert leader.preparing.id > board.retired


def test_a_placement_by_hand_is_the_plan(leader: Leader) -> None:
    line = "stem @cam-1 | left..head @edge-2"
    leader.view.spec = replace(SPEC, placement=line)
    leader.tick()
    assert leader.preparing.variants == (line,)


def test_every_worker_of_a_tiled_plan_takes_part_and_must_be_ready() -> None:
    leader = Leader()
    leader.view.spec = replace(SPEC, tiles=True)
    leader.tick()
    plan = leader.preparing
    assert "edge-1[" in plan.variants[0]
    assert "edge-2[" in plan.variants[0]
    assert set(plan.sessions) == {"cam-1", "edge-1", "edge-2"}
    assert "; tiles " in plan.reason
    leader.say("cam-1", (plan, "ready"))
    leader.say("edge-1", (plan, "ready"))
    leader.tick()
    early = leader.board
    assert early.committed is None
    leader.say("edge-2", (plan, "ready"))
    leader.tick()
    assert leader.board.committed == plan
    leader.silent.add("edge-2")
    leader.run(10)
    assert "edge-2" not in leader.preparing.variants[0]


COVERED = replace(SPEC, fallbacks=True)


def covered_leader() -> tuple[Leader, Plan]:
    """A first plan runs, and the same with what stands in for its nodes is committed behind it."""
    leader = Leader()
    leader.view.spec = COVERED
    leader.commit()
    leader.run(COVER_S + REVIEW_S)
    return leader, leader.commit()


def test_a_first_plan_runs_before_anything_is_prepared_for_a_loss(leader: Leader) -> None:
    leader.view.spec = COVERED
    assert len(leader.commit().variants) == 1
    assert [(each.lost, each.placement) for each in told(leader).fallbacks] == [("edge-1", "")]
    leader.tick()
    assert leader.board.preparing is None
    leader.run(COVER_S + REVIEW_S)
    assert leader.preparing.variants == ("stem..head @edge-1", "stem..head @edge-2")
    assert set(leader.preparing.sessions) == {"cam-1", "edge-1", "edge-2"}
    assert leader.preparing.reason.endswith("prepared for the loss of edge-1")


def test_a_covered_plan_is_left_alone_and_says_what_stands_in() -> None:
    leader, plan = covered_leader()
    leader.run(4 * REVIEW_S)
    assert used(leader) == plan
    assert leader.board.preparing is None
    (fallback,) = told(leader).fallbacks
    assert (fallback.lost, fallback.placement) == ("edge-1", "stem..head @edge-2")


def test_the_loss_of_a_stand_in_is_no_reason_to_hurry() -> None:
    leader, plan = covered_leader()
    leader.silent = {"edge-2"}
    leader.run(6.0)
    assert leader.preparing.variants == ("stem..head @edge-1", "stem..head @cam-1")
    assert leader.preparing.predicted_s == plan.predicted_s


def test_a_stand_in_that_was_restarted_is_prepared_again() -> None:
    leader, plan = covered_leader()
    leader.sessions["edge-2"] = 2
    leader.introduce("edge-2", *SPEEDS["edge-2"])
    leader.run(2 * REVIEW_S)
    assert leader.preparing.variants == plan.variants
    assert leader.preparing.sessions["edge-2"] == 2


def test_the_loss_of_a_node_in_use_makes_a_new_plan_at_once() -> None:
    leader, _ = covered_leader()
    leader.silent = {"edge-1"}
    leader.run(4.0)
    assert leader.preparing.variants == ("stem..head @edge-2",)
    assert leader.preparing.reason.startswith("edge-1 is lost")


def test_a_stand_in_that_cannot_prepare_is_passed_over(leader: Leader) -> None:
    leader.view.spec = COVERED
    plan = leader.commit()
    leader.run(COVER_S + REVIEW_S)
    leader.say("edge-2", (leader.preparing, "failed"), why="no memory")
    leader.tick()
    assert used(leader) == plan
    leader.run(2 * REVIEW_S)
    assert leader.preparing.variants == ("stem..head @edge-1", "stem..head @cam-1")


def test_without_fallbacks_nothing_is_prepared(leader: Leader) -> None:
    leader.commit()
    leader.run(COVER_S + 3 * REVIEW_S)
    assert leader.board.preparing is None


def test_a_cover_that_takes_long_keeps_no_better_plan_waiting(leader: Leader) -> None:
    leader.view.spec = COVERED
    plan = leader.commit()
    leader.run(COVER_S + REVIEW_S)
    assert leader.preparing.variants[0] == plan.variants[0]
    leader.say("edge-1", (plan, "ready"), (leader.preparing, "ready"))
    for at in range(int(4 * REVIEW_S)):
        leader.say("edge-2", (leader.preparing, "preparing"), have_bytes=at)
        leader.tick(1.0)
    assert leader.preparing.variants[0] == plan.variants[0]
    leader.introduce("edge-2", EDGE, 10 * SPEEDS["edge-1"][1])
    leader.run(2 * REVIEW_S)
    assert leader.preparing.variants[0] == "stem..head @edge-2"
