"""The plans a node holds: fences, promises, preparation."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.codec import plan_hash
from edgeflow.events import BlobsChecked, BuildSegment, CheckBlobs, DropSegment, SegmentKey, Tell
from edgeflow.messages import Board, Claim, Plan, PlanId
from edgeflow.plans.fetch import Fetch
from edgeflow.plans.heldplan import HeldPlan
from edgeflow.plans.holding import Holdings
from edgeflow.plans.library import Library
from edgeflow.sim.toy import MODEL, TOY

OLD, NEW = Claim(1, 1, "edge-9", 1), Claim(2, 1, "edge-8", 1)
SPLIT = "stem @cam-1 | left..join @edge-1 | squeeze..head @cloud-1"


def plan(seq: int, claim: Claim = OLD, line: str = SPLIT, session: int = 1) -> Plan:
    sessions = {"cam-1": 1, "edge-1": session, "cloud-1": 1}
    name = PlanId(claim, seq)
    made = Plan(name, "job", MODEL, "cam-1", sessions, (line,), 0.1, 0.1, "x", "y", "0" * 64)
    return replace(made, hash=plan_hash(made))


def board(
    preparing: Plan | None = None,
    committed: Plan | None = None,
    draining: tuple[Plan, ...] = (),
    claim: Claim = OLD,
    retired: PlanId | None = None,
) -> Board:
    return Board("job", claim, 1, preparing, committed, draining, retired)


def node(name: str = "edge-1", session: int = 1) -> Holdings:
    library = Library(Fetch())
    library.on_loaded(MODEL, TOY)
    return Holdings(name, session, library)


def make_ready(holdings: Holdings, wanted: Plan) -> HeldPlan:
    """Through all steps, with everything at hand."""
    linked = frozenset({"cam-1", "edge-1", "cloud-1"})
    holdings.advance((), "job", linked, 1.0)
    holdings.on_checked(BlobsChecked(MODEL, wanted.hash, ()), ())
    holdings.on_built(SegmentKey(wanted.hash, 0, 1), "torch")
    holdings.advance((), "job", linked, 1.0)
    held = holdings.plans[wanted.hash]
    assert held.step == "ready"
    return held


@pytest.fixture
def edge() -> Holdings:
    return node()


def test_a_plan_goes_through_manifest_blobs_build_links_to_ready(edge: Holdings) -> None:
    wanted = plan(1)
    edge.on_board(board(wanted))
    (check,) = edge.advance((), "job", frozenset(), 1.0)
    assert isinstance(check, CheckBlobs)
    blob = (TOY.weights["left.w"].sha256, 36864)
    assert edge.on_checked(BlobsChecked(MODEL, wanted.hash, (blob,)), ("cam-1",)) == []
    assert edge.message("job", frozenset()).plans[0].have_bytes == 0
    assert edge.advance((), "job", frozenset(), 1.0) == []
    edge.library.fetch.forget(blob[0])
    (check,) = edge.advance((), "job", frozenset(), 1.0)
    assert isinstance(check, CheckBlobs)
    (build,) = edge.on_checked(BlobsChecked(MODEL, wanted.hash, ()), ())
    assert build == BuildSegment(SegmentKey(wanted.hash, 0, 1), MODEL, ("left", "right", "join"))
    edge.on_built(SegmentKey(wanted.hash, 0, 1), "torch")
    edge.advance((), "job", frozenset(), 1.0)
    assert edge.message("job", frozenset()).plans[0].why == "waits for its links"
    edge.advance((), "job", frozenset({"cloud-1"}), 1.0)
    assert edge.ready(wanted.hash, wanted.id) is not None


def test_what_a_segment_took_is_known_under_the_next_plan_that_has_it(edge: Holdings) -> None:
    wanted, again = plan(1), plan(2, line="stem @edge-9 | left..join @edge-1 | squeeze..head @c-1")
    edge.on_board(board(wanted))
    make_ready(edge, wanted).ways[0].on_ran(1, 0.25)
    again = replace(again, sessions={"cam-1": 1, "edge-1": 1, "edge-9": 1, "c-1": 1})
    again = replace(again, hash=plan_hash(again))
    edge.on_board(board(again, committed=wanted))
    edge.advance((), "job", frozenset(), 1.0)
    edge.on_checked(BlobsChecked(MODEL, again.hash, ()), ())
    (segment,) = edge.plans[again.hash].ways[0].segments
    edge.on_built(SegmentKey(again.hash, 0, segment.at), "torch")
    assert [(each.seconds, each.runs) for each in edge.segment_times()] == [(0.25, 1), (0.25, 1)]


def test_pieces_of_a_large_blob_count_as_progress(edge: Holdings) -> None:
    wanted = plan(1)
    edge.on_board(board(wanted))
    edge.advance((), "job", frozenset(), 1.0)
    blob = (TOY.weights["left.w"].sha256, 36864)
    edge.on_checked(BlobsChecked(MODEL, wanted.hash, (blob,)), ("cam-1",))
    edge.library.fetch.tick(frozenset({"cam-1"}), 1.0)
    edge.library.fetch.offset_bytes = 20_000
    (said,) = edge.message("job", frozenset()).plans
    assert (said.have_bytes, said.want_bytes) == (20_000, 36864)


def test_plan_ids_applied_rise_strictly(edge: Holdings) -> None:
    for seq, held in ((2, True), (1, False), (2, True), (3, True)):
        edge.on_board(board(plan(seq)))
        assert (plan(seq).hash in edge.plans) is held
    edge.on_board(board(retired=PlanId(OLD, 3)))
    edge.on_board(board(plan(3)))
    assert edge.plans == {}


def test_a_retained_board_of_a_rolled_back_broker_brings_nothing_back(edge: Holdings) -> None:
    edge.on_board(board(committed=plan(5)))
    edge.on_board(board(preparing=plan(4), committed=plan(3)))
    assert list(edge.plans) == [plan(5).hash]


def test_a_plan_for_another_session_of_this_node_is_not_held(edge: Holdings) -> None:
    edge.on_board(board(plan(1, session=2)))
    assert edge.plans == {}
    assert edge.fences == {}


def test_a_plan_without_this_node_is_not_held() -> None:
    other = node("edge-7")
    other.on_board(board(plan(1)))
    assert other.plans == {}


def test_a_garbled_plan_is_refused_and_harms_nothing(edge: Holdings) -> None:
    good = plan(1)
    edge.on_board(board(replace(good, reason="garbled")))
    assert edge.plans == {}
    edge.on_board(board(good))
    (told,) = edge.on_board(board(replace(good, hash="f" * 64)))
    assert isinstance(told, Tell)
    assert list(edge.plans) == [good.hash]


def test_one_id_with_two_hashes_refuses_both(edge: Holdings) -> None:
    edge.on_board(board(plan(1)))
    edge.on_board(board(plan(1, line="stem @cam-1 | left..head @edge-1")))
    assert (edge.plans, edge.conflicts) == ({}, 1)
    edge.on_board(board(plan(1)))
    assert edge.plans == {}


def test_ready_obliges_whether_or_not_commit_was_heard(edge: Holdings) -> None:
    wanted = plan(1)
    edge.on_board(board(wanted))
    make_ready(edge, wanted)
    assert edge.ready(wanted.hash, wanted.id) is not None
    assert edge.message("job", frozenset()).plans[0].status == "ready"


def test_a_used_plan_stays_while_the_next_one_is_prepared(edge: Holdings) -> None:
    edge.on_board(board(committed=plan(1)))
    make_ready(edge, plan(1))
    edge.on_board(board(preparing=plan(2), committed=plan(1)))
    assert set(edge.plans) == {plan(1).hash, plan(2).hash}


def test_a_new_leader_that_knows_of_no_plan_ends_none_by_preparing(edge: Holdings) -> None:
    edge.on_board(board(committed=plan(1)))
    edge.on_board(board(preparing=plan(1, NEW), claim=NEW))
    assert plan(1).hash in edge.plans
    edge.on_board(board(committed=plan(1, NEW), claim=NEW))
    assert list(edge.plans) == [plan(1, NEW).hash]


def test_a_higher_prepare_aborts_the_same_leaders_lower_one(edge: Holdings) -> None:
    edge.on_board(board(preparing=plan(1)))
    make_ready(edge, plan(1))
    effects = edge.on_board(board(preparing=plan(2)))
    assert list(edge.plans) == [plan(2).hash]
    assert effects == []
    left = edge.leftovers.tick(0, 0, 1.0)
    assert left == [DropSegment(SegmentKey(plan(1).hash, 0, 1))]


def test_a_draining_plan_stays_until_the_board_drops_it(edge: Holdings) -> None:
    edge.on_board(board(committed=plan(1)))
    edge.on_board(board(committed=plan(2), draining=(plan(1),)))
    assert len(edge.plans) == 2
    edge.on_board(board(committed=plan(2)))
    assert list(edge.plans) == [plan(2).hash]


def test_an_empty_board_retires_what_it_says_and_nothing_else(edge: Holdings) -> None:
    edge.on_board(board(committed=plan(1)))
    edge.on_board(board())
    assert len(edge.plans) == 1
    edge.on_board(board(retired=PlanId(OLD, 1)))
    assert edge.plans == {}


def test_commit_speaks_to_the_source_alone_and_needs_a_ready_plan() -> None:
    source, worker = node("cam-1"), node("edge-1")
    for holdings in (source, worker):
        holdings.on_board(board(committed=plan(1)))
        assert holdings.active_plan("job") is None
        make_ready(holdings, plan(1))
    assert source.active_plan("job") is source.plans[plan(1).hash]
    assert worker.active_plan("job") is None


def test_the_source_never_goes_back_to_an_older_plan() -> None:
    source = node("cam-1")
    source.on_board(board(committed=plan(1)))
    make_ready(source, plan(1))
    source.on_board(board(preparing=plan(2), committed=plan(1)))
    make_ready(source, plan(2))
    source.on_board(board(committed=plan(2), draining=(plan(1),)))
    source.on_board(board(committed=plan(1)))
    active = source.active_plan("job")
    assert active is not None
    assert active.plan == plan(2)
    statuses = [each.status for each in source.message("job", frozenset({plan(1).hash})).plans]
    assert statuses == ["in-flight", "active"]


def test_frames_of_another_variant_are_not_computed(edge: Holdings) -> None:
    edge.on_board(board(plan(1)))
    make_ready(edge, plan(1))
    assert edge.ready(plan(1).hash, plan(1).id, 1) is None
    assert edge.ready(plan(1).hash, plan(2).id) is None


def test_a_plan_that_cannot_be_built_fails_and_says_why(edge: Holdings) -> None:
    edge.on_board(board(plan(1)))
    edge.fail(plan(1).hash, "no memory")
    said = edge.message("job", frozenset()).plans[0]
    assert (said.status, said.why) == ("failed", "no memory")
    edge.on_built(SegmentKey(plan(1).hash, 0, 1), "torch")
    assert edge.plans[plan(1).hash].step == "failed"


def test_a_placement_that_does_not_fit_the_model_fails(edge: Holdings) -> None:
    wanted = plan(1, line="stem..tail @edge-1")
    edge.on_board(board(wanted))
    edge.advance((), "job", frozenset(), 1.0)
    assert edge.plans[wanted.hash].step == "failed"


def test_retiring_forgets_the_blobs_that_no_other_plan_needs(edge: Holdings) -> None:
    blob = (TOY.weights["left.w"].sha256, 36864)
    for seq in (1, 2):
        edge.on_board(board(preparing=plan(2), committed=plan(1)))
        edge.advance((), "job", frozenset(), 1.0)
        edge.on_checked(BlobsChecked(MODEL, plan(seq).hash, (blob,)), ("cam-1",))
    edge.on_board(board(committed=plan(2)))
    assert blob[0] in edge.library.fetch.wanted
    edge.on_board(board(retired=PlanId(OLD, 2)))
    assert edge.library.fetch.wanted == {}
