"""What is known of deployments: which of two words counts."""

from __future__ import annotations

from msgspec.structs import replace

from edgeflow.messages import Board, Claim, Held, Spec
from edgeflow.plans.deployments import HELDS_MAX, VIEWS_MAX, Deployments

SPEC = Spec("job", 5, "a" * 64, "toy", "cam-1", "cam-1")
LOW, HIGH = Claim(1, 1, "edge-1", 1), Claim(2, 1, "edge-1", 1)


def test_of_two_wishes_the_higher_generation_counts() -> None:
    known = Deployments()
    assert known.on_spec(SPEC)
    assert not known.on_spec(SPEC)
    assert not known.on_spec(replace(SPEC, generation=4))
    assert known.on_spec(replace(SPEC, generation=6, removed=True))
    assert not known.on_spec(SPEC)


def test_of_two_equal_generations_all_nodes_keep_the_same() -> None:
    other = replace(SPEC, origin="cam-2")
    one, two = Deployments(), Deployments()
    for spec in (SPEC, other):
        one.on_spec(spec)
    for spec in (other, SPEC):
        two.on_spec(spec)
    assert one.views["job"].spec == two.views["job"].spec == other


def test_the_board_of_a_deposed_leader_replaces_nothing() -> None:
    known = Deployments()
    assert known.on_board(Board("job", HIGH, 5, None, None))
    assert not known.on_board(Board("job", LOW, 9, None, None))
    assert known.on_board(Board("job", HIGH, 5, None, None))


def test_what_a_dead_session_held_replaces_nothing() -> None:
    known = Deployments()
    known.on_held(Held("job", "edge-1", 2, ()))
    known.on_held(Held("job", "edge-1", 1, (), keeps_model=True))
    assert known.views["job"].helds["edge-1"].session == 2


def test_keepers_are_those_that_said_so_for_that_model() -> None:
    known = Deployments()
    known.on_spec(SPEC)
    known.on_held(Held("job", "edge-2", 1, (), keeps_model=True))
    known.on_held(Held("job", "edge-1", 1, (), keeps_model=False))
    assert known.keepers(SPEC.model) == ["edge-2"]
    assert known.keepers("b" * 64) == []


def test_talk_of_deployments_that_nobody_wants_pushes_none_out_that_somebody_wants() -> None:
    known = Deployments()
    known.on_spec(SPEC)
    for at in range(2 * VIEWS_MAX):
        known.on_held(Held(f"junk-{at}", "edge-1", 1, ()))
    assert len(known.views) == VIEWS_MAX
    assert known.views["job"].spec == SPEC


def test_what_strangers_hold_is_bounded_and_who_speaks_again_is_kept() -> None:
    known = Deployments()
    for at in range(2 * HELDS_MAX):
        known.on_held(Held("job", f"ghost-{at}", 1, ()))
        known.on_held(Held("job", "edge-1", 1, ()))
    assert len(known.views["job"].helds) == HELDS_MAX
    assert "edge-1" in known.views["job"].helds
