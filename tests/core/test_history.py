"""What is told of a deployment's plans: why each came, what the switch cost, what came of it."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from edgeflow.codec import CONTROL_BYTES_MAX, decode_control, encode_control, topic_of
from edgeflow.events import Effect, Publish, Sampled
from edgeflow.leader import wording
from edgeflow.leader.covering import COVERED
from edgeflow.leader.history import (
    CHANGES_KEPT,
    HISTORY_S,
    JUDGED_FRAMES,
    MEASURED_S,
    Chronicle,
    fitted,
)
from edgeflow.leader.lead import Lead
from edgeflow.messages import History, Lately, Metrics, Notice, Plan, PlanChange, PlanId
from edgeflow.sim.toy import TOY
from tests.core.test_lead import MINE, SPEC, SPEEDS, Leader
from tests.core.test_node import Node

OTHER = "stem @cam-1 | left..head @edge-2"
WALL_S = 1_700_000_000.0
CHANGE = PlanChange(
    WALL_S, "3.2@edge-9", "better", "predicted 83.0 ms instead of 412.0 ms as things are now",
    "stem..head @cam-1", "stem..head @edge-1", 0.412, 0.083, 0.408, 0.085, 20, 0.93, 44_600_000,
)  # fmt: skip


class Teller(Leader):
    """The same fleet, with a wall clock and frames."""

    def __init__(self) -> None:
        super().__init__()
        self.claim = MINE
        self.lead.wall_s = WALL_S - self.now_s

    def tick(self, seconds: float = 0.1) -> list[Effect]:
        self.wait(seconds)
        return self.lead.tick(self.view, TOY, self.claim, self.now_s)

    def is_followed(self) -> None:
        """Another node leads, who heard all that was said; its clock is a little off."""
        self.claim = replace(self.claim, term=self.claim.term + 1)
        self.lead = Lead("edge-8", self.members)
        self.lead.wall_s = WALL_S - 100.25
        history = self.view.history
        self.view.history = msgspec.json.decode(msgspec.json.encode(history), type=History)

    @property
    def chronicle(self) -> Chronicle:
        return self.lead.watches["job"].history

    @property
    def changes(self) -> tuple[PlanChange, ...]:
        return tuple(self.chronicle.changes)

    def answer(self, *frames: tuple[Plan, int, float]) -> list[Effect]:
        """The source answered so many frames under each plan, each in so many seconds."""
        lately = tuple(
            Lately(str(plan.id), 0, number, (seconds,) * min(number, 8))
            for plan, number, seconds in frames
        )
        self.view.metrics = Metrics("job", "cam-1", 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, lately)
        return self.tick()

    def wish(self, line: str) -> None:
        assert self.view.spec is not None
        generation = self.view.spec.generation + 1
        self.view.spec = replace(self.view.spec, generation=generation, placement=line)


def told(effects: list[Effect]) -> list[History]:
    messages = [effect.message for effect in effects if isinstance(effect, Publish)]
    return [message for message in messages if isinstance(message, History)]


def notices(effects: list[Effect]) -> list[Notice]:
    messages = [effect.message for effect in effects if isinstance(effect, Publish)]
    return [message for message in messages if isinstance(message, Notice)]


@pytest.fixture
def leader() -> Teller:
    return Teller()


def test_a_change_is_told_when_it_is_decided_and_again_with_what_it_cost(leader: Teller) -> None:
    (history,) = told(leader.tick())
    plan, (change,) = leader.preparing, history.changes
    assert (change.kind, change.why, change.before) == ("first", "first plan", "")
    assert (change.plan, change.after) == (str(plan.id), "stem..head @edge-1")
    assert change.unix_s == pytest.approx(WALL_S, abs=1.0)
    assert change.predicted_after_s == plan.predicted_s
    assert change.switch_s == 0.0
    assert told(leader.tick(1.0)) == []
    leader.all_ready(plan)
    (history,) = told(leader.tick(1.5))
    (change,) = history.changes
    assert change.switch_s == pytest.approx(2.5)
    assert change.fetched_bytes == 200


def test_the_wall_clock_may_be_unknown(leader: Teller) -> None:
    leader.lead.wall_s = 0.0
    (history,) = told(leader.tick())
    assert history.changes[0].unix_s == 0.0


def test_old_and_new_plan_stand_side_by_side_predicted_and_measured(leader: Teller) -> None:
    first = leader.commit()
    leader.answer((first, 3, 0.5))
    leader.wish(OTHER)
    leader.tick()
    second = leader.preparing
    leader.answer((first, 9, 0.7))
    leader.all_ready(second)
    leader.tick()
    leader.answer((first, 10, 0.7), (second, 2, 0.25))
    _, change = leader.changes
    assert (change.kind, change.why) == ("wished", "the deployment was changed")
    assert (change.before, change.after) == (first.variants[0], OTHER)
    assert change.predicted_before_s == pytest.approx(first.predicted_s)
    assert change.predicted_after_s == second.predicted_s
    assert change.measured_before_s == pytest.approx(0.7)
    assert change.measured_after_s == pytest.approx(0.25)
    assert change.frames_after == 2


def test_a_wish_that_keeps_the_placement_is_no_change(leader: Teller) -> None:
    leader.commit()
    leader.wish("")
    leader.commit()
    assert [each.kind for each in leader.changes] == ["first"]


def test_a_node_that_was_restarted_is_a_change_though_the_placement_stays(leader: Teller) -> None:
    leader.commit()
    leader.sessions["edge-1"] = 2
    leader.introduce("edge-1", *SPEEDS["edge-1"])
    leader.tick()
    assert [each.why for each in leader.changes] == ["first plan", "edge-1 was restarted"]


def test_a_plan_that_broke_has_no_prediction_of_now(leader: Teller) -> None:
    first = leader.commit()
    leader.answer((first, 8, 0.5))
    leader.silent.add("edge-1")
    leader.run(4)
    _, change = leader.changes
    assert (change.kind, change.why) == ("broken", "edge-1 is lost")
    assert (change.predicted_before_s, change.measured_before_s) == (0.0, 0.5)


def test_what_came_of_a_plan_is_said_once_enough_frames_are_known(leader: Teller) -> None:
    plan = leader.commit()
    said = []
    for number in (7, 14, JUDGED_FRAMES - 1, JUDGED_FRAMES, JUDGED_FRAMES + 3):
        said += notices(leader.answer((plan, number, 0.1 * number)))
    (outcome,) = said
    assert outcome.kind == "outcome"
    assert outcome.sentence == (
        f"job as stem..head @edge-1: predicted {plan.predicted_s * 1e3:.1f} ms,"
        " measured 1400.0 ms over 20 frames"
    )
    assert leader.changes[0].frames_after == JUDGED_FRAMES


def test_flights_that_were_told_twice_count_once(leader: Teller) -> None:
    plan = leader.commit()
    leader.answer((plan, 3, 0.5))
    leader.answer((plan, 3, 0.5))
    leader.answer((plan, 5, 0.5))
    assert leader.changes[0].frames_after == 5


def test_frames_of_a_plan_that_is_only_better_covered_count_for_the_change_before(
    leader: Teller,
) -> None:
    plan = leader.commit()
    leader.answer((plan, 6, 0.5))
    board = leader.board
    same = replace(
        plan, id=replace(plan.id, seq=plan.id.seq + 9), variants=(plan.variants[0], OTHER)
    )
    leader.view.board = replace(board, committed=same)
    leader.say("cam-1", (same, "active"))
    leader.tick()
    leader.answer((plan, 7, 0.5), (same, 4, 0.5))
    assert [each.frames_after for each in leader.changes] == [11]


def test_a_fallback_in_use_is_not_what_the_plan_promised(leader: Teller) -> None:
    plan = leader.commit()
    lately = (Lately(str(plan.id), 1, 5, (9.0,) * 5),)
    leader.view.metrics = Metrics("job", "cam-1", 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, lately)
    leader.tick()
    assert leader.changes[0].frames_after == 0


def test_what_stood_in_counts_before_a_change_only_where_nothing_else_does(
    leader: Teller,
) -> None:
    plan = leader.commit()
    fallback = Lately(str(plan.id), 1, 5, (9.0,) * 5)
    foreign = Lately("7.7@edge-9", 0, 5, (3.0,) * 5)
    metrics = Metrics("job", "cam-1", 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, (fallback, foreign))
    leader.view.metrics = metrics
    leader.tick()
    leader.wish(OTHER)
    leader.tick()
    assert leader.changes[-1].measured_before_s == 9.0
    used = Lately(str(plan.id), 0, 5, (0.5,) * 5)
    leader.view.metrics = replace(metrics, lately=(used, fallback, foreign))
    leader.tick()
    leader.all_ready(leader.preparing)
    leader.tick()
    assert leader.changes[-1].measured_before_s == 0.5


def test_a_change_that_was_given_up_is_forgotten(leader: Teller) -> None:
    leader.commit()
    leader.wish(OTHER)
    leader.tick()
    assert [each.after for each in leader.changes][1:] == [OTHER]
    leader.say("edge-2", (leader.preparing, "failed"), why="no memory")
    leader.tick()
    leader.tick()
    assert [each.kind for each in leader.changes] == ["first"]


def test_what_is_measured_is_told_seldom_and_what_came_of_it_at_once(leader: Teller) -> None:
    plan = leader.commit()
    leader.tick(0.5)
    assert told(leader.answer((plan, 1, 0.5))) == []
    leader.run(1)
    assert told(leader.tick(MEASURED_S)) != []
    assert told(leader.answer((plan, 9, 0.5))) == []
    assert told(leader.answer((plan, 17, 0.5))) == []
    assert told(leader.answer((plan, 24, 0.5))) != []


def test_all_of_it_is_said_again_for_a_broker_that_lost_it(leader: Teller) -> None:
    leader.commit()
    leader.tick()
    said = [len(told(leader.tick(1.0))) for _ in range(round(3 * HISTORY_S))]
    assert sum(said) == 3


def test_a_new_leader_goes_on_with_what_it_has_heard(leader: Teller) -> None:
    plan = leader.commit()
    leader.answer((plan, 5, 0.5))
    leader.run(4)
    leader.is_followed()
    leader.tick()
    leader.wish(OTHER)
    (history,) = told(leader.tick())
    assert history.leader == "edge-8"
    first, second = history.changes
    assert (first.plan, first.frames_after) == (str(plan.id), 5)
    assert (second.after, second.measured_before_s) == (OTHER, 0.5)


def test_a_new_leader_ends_what_the_one_before_it_had_begun(leader: Teller) -> None:
    leader.tick()
    plan = leader.preparing
    leader.is_followed()
    leader.all_ready(plan)
    leader.tick(3.0)
    leader.tick()
    (change,) = leader.changes
    assert (change.plan, change.kind) == (str(plan.id), "first")
    assert change.switch_s == pytest.approx(3.0, abs=0.5)


def test_a_switch_that_its_leader_could_not_tell_any_more_was_one(leader: Teller) -> None:
    leader.tick()
    plan = leader.preparing
    leader.is_followed()
    leader.view.board = replace(leader.board, preparing=None, committed=plan)
    leader.all_ready(plan)
    leader.say("cam-1", (plan, "active"))
    leader.tick(2.0)
    assert [each.switch_s for each in leader.changes] == [pytest.approx(2.0, abs=0.5)]


def test_what_came_of_a_plan_is_not_said_again_by_the_next_leader(leader: Teller) -> None:
    plan = leader.commit()
    for number in (8, 16, JUDGED_FRAMES):
        leader.answer((plan, number, 0.5))
    leader.is_followed()
    said = []
    for number in (28, 36, 44, 52):
        said += notices(leader.answer((plan, number, 0.9)))
    assert said == []
    assert leader.changes[0].measured_after_s == 0.5


def test_frames_of_a_placement_whose_change_nobody_knows_count_for_no_other(
    leader: Teller,
) -> None:
    plan = leader.commit()
    leader.chronicle.changes[0] = replace(leader.changes[0], after=OTHER)
    leader.answer((plan, 5, 0.5))
    assert leader.changes[0].frames_after == 0


def test_a_late_echo_brings_nothing_back(leader: Teller) -> None:
    leader.commit()
    leader.wish(OTHER)
    (echo,) = told(leader.tick())
    leader.say("edge-2", (leader.preparing, "failed"), why="no memory")
    leader.tick()
    leader.tick()
    known = leader.changes
    leader.view.history = msgspec.json.decode(msgspec.json.encode(echo), type=History)
    leader.tick()
    assert leader.changes == known


def test_a_removed_deployment_has_no_history(leader: Teller) -> None:
    leader.commit()
    assert leader.view.spec is not None
    leader.view.spec = replace(SPEC, generation=9, removed=True)
    (history,) = told(leader.tick())
    assert history.changes == ()
    leader.view.spec = replace(SPEC, generation=10)
    leader.tick()
    assert [each.kind for each in leader.changes] == ["first"]


def test_only_the_last_changes_are_kept(leader: Teller) -> None:
    chronicle, plan = Chronicle(), leader.commit()
    for seq in range(CHANGES_KEPT + 5):
        new = replace(plan, id=PlanId(MINE, seq))
        chronicle.decide(new, "better", f"reason {seq}", ("stem..head @cam-1", 1.0), 1.0)
        chronicle.commit(leader.view, new, 2.0)
    assert [each.why for each in chronicle.changes] == [f"reason {n}" for n in range(5, 25)]


@pytest.mark.parametrize("sign", ["x", "ü", "\\", "\x01", "🙂"])
@pytest.mark.parametrize("length", [10, 700, 2000, 9000])
def test_whatever_was_said_it_fits_into_one_message(sign: str, length: int) -> None:
    text = sign * length
    change = replace(CHANGE, plan=text, kind=text, why=text, before=text, after=text)
    message = fitted(History("job", "edge-9", (change,) * CHANGES_KEPT))
    payload = encode_control(message)
    assert len(payload) <= CONTROL_BYTES_MAX
    assert decode_control("home", topic_of("home", message), payload) == message
    assert len(message.changes) == CHANGES_KEPT
    if length == 10:
        assert message.changes[0] == change


def test_a_switch_is_one_sentence() -> None:
    plan = Leader().commit()
    plan = replace(plan, variants=(CHANGE.after,), reason=f"{CHANGE.why}; the cut of least cost")
    assert wording.committed("job", plan, CHANGE) == (
        "job runs as stem..head @edge-1: predicted 83.0 ms instead of 412.0 ms as things are now;"
        " measured 408.0 ms before; switched in 0.9 s with 44.6 MB fetched; the cut of least cost"
    )
    lost = replace(CHANGE, why="edge-2 is lost", kind="broken", fetched_bytes=0)
    plan = replace(plan, reason="edge-2 is lost; the cut of least cost")
    assert wording.committed("job", plan, lost) == (
        "job runs as stem..head @edge-1: edge-2 is lost; predicted 83.0 ms instead of 412.0 ms;"
        " measured 408.0 ms before; switched in 0.9 s; the cut of least cost"
    )


def test_what_is_only_better_covered_is_told_as_that() -> None:
    plan = Leader().commit()
    same = replace(plan, variants=(plan.variants[0], OTHER, "stem..head @cam-1"))
    covered = replace(same, reason=f"{plan.reason}{COVERED}edge-1")
    assert wording.committed("job", covered, None) == (
        "job as stem..head @edge-1: 2 plans are prepared beside it, for the loss of edge-1"
    )
    assert wording.committed("job", plan, None).startswith(
        "job runs as stem..head @edge-1: first plan; "
    )


def test_what_came_of_it_is_one_sentence() -> None:
    assert wording.judged("job", CHANGE) == (
        "job as stem..head @edge-1: predicted 83.0 ms, measured 85.0 ms over 20 frames;"
        " before 408.0 ms"
    )
    fresh = replace(CHANGE, frames_after=0, measured_after_s=0.0)
    assert wording.outcome(fresh) == "predicted 83.0 ms, no frame measured yet"


# --- what a node hears ----------------------------------------------------------------------------


def test_only_the_source_says_what_its_frames_took() -> None:
    node = Node("edge-1")
    node.say(replace(SPEC, generation=1))
    metrics = Metrics("job", "edge-2", 1, 1, 0, 0, 0, 0.0, 0.0, 0.0)
    node.say(metrics)
    views = node.core.parts.deployments.views
    assert views["job"].metrics is None
    node.say(replace(metrics, source="cam-1"))
    node.say(replace(metrics, deployment="nobody-s"))
    assert [(name, view.metrics) for name, view in views.items()] == [
        ("job", replace(metrics, source="cam-1"))
    ]


def test_every_node_keeps_the_history_that_was_told() -> None:
    node, history = Node("edge-1"), History("job", "edge-2", (CHANGE,))
    node.say(history, retained=True)
    assert node.core.parts.deployments.views["job"].history == history


def test_the_wall_clock_comes_with_the_machine_s_state() -> None:
    node = Node("edge-1")
    node.hear(Sampled(0.0, 0, None, False))
    assert node.core.parts.lead.wall_s == 0.0
    node.hear(Sampled(0.0, 0, None, False, unix_s=WALL_S))
    assert node.core.parts.lead.wall_s == WALL_S - node.now_s
