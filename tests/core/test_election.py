"""Who leads: claims, leases, echoes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeflow.cluster.election import (
    BEAT_S,
    BLIND_S,
    DEAF_S,
    HAND_OVER_S,
    LEASE_S,
    STAGGER_S,
    START_S,
    TERM_LEAP_MAX,
    Election,
)
from edgeflow.cluster.membership import RECONNECT_GRACE_S
from edgeflow.messages import Claim, Leader

LOW, HIGH = Claim(3, 1, "edge-1", 1), Claim(4, 1, "edge-2", 1)


def follower(now_s: float = 0.0) -> Election:
    """edge-5, which may lead, has just connected and hears itself."""
    fresh = Election("edge-5", 7, rank=5, can_lead=True)
    return fresh.on_broker(True, now_s, reconnect=False).on_echo(now_s + START_S)


def leader() -> Election:
    state, beats = follower().tick(0, 0.0, START_S)
    assert [beat.claim.term for beat in beats] == [1]
    return state


def beat(claim: Claim, number: int = 1, resigned: bool = False) -> Leader:
    return Leader(claim, LEASE_S, number, resigned)


def test_a_node_listens_before_it_claims() -> None:
    assert follower().tick(0, 0.0, START_S - 0.01)[1] == ()
    assert follower().tick(0, 0.0, START_S)[1] != ()


def test_a_better_candidate_goes_first() -> None:
    state = follower().on_echo(START_S + STAGGER_S)
    assert state.tick(1, 0.0, START_S + STAGGER_S - 0.01)[0].mine is None
    assert state.tick(1, 0.0, START_S + STAGGER_S)[0].mine is not None


def test_a_deaf_node_deposes_nobody() -> None:
    late_s = START_S + DEAF_S + 0.01
    assert follower().tick(0, 0.0, late_s)[0].mine is None


def test_who_hears_again_listens_for_its_leader_before_it_claims() -> None:
    """Its own heartbeat may be the first of what was held up on the way."""
    state = follower().on_leader(beat(HIGH, 1), False, 1.6)[0].on_echo(1.7)
    state = state.on_echo(9.0)
    assert state.tick(0, 0.0, 9.0)[0].mine is None
    state = state.on_echo(10.0)
    assert state.tick(0, 0.0, 9.0 + LEASE_S - 0.01)[0].mine is None
    assert state.tick(0, 0.0, 9.0 + LEASE_S)[0].mine is not None


def test_who_is_cut_off_with_its_leaders_last_beat_deposes_nobody() -> None:
    """Its lease runs out before it has missed enough of its own heartbeats to know itself deaf."""
    state = follower().on_echo(8.2).on_leader(beat(HIGH, 1), False, 10.0)[0].on_echo(10.2)
    assert 10.0 + LEASE_S - 10.2 < DEAF_S
    assert state.tick(0, 0.0, 10.0 + LEASE_S)[0].mine is None
    assert state.on_echo(11.2).tick(0, 0.0, 10.0 + LEASE_S)[0].mine is not None


def test_an_echo_in_time_renews_no_lease() -> None:
    state = follower().on_leader(beat(HIGH, 1), False, 1.6)[0].on_echo(1.7)
    state = state.on_echo(1.6 + LEASE_S)
    assert state.tick(0, 0.0, 1.6 + LEASE_S)[0].mine is not None


def test_who_may_not_lead_never_claims() -> None:
    state = replace(follower(), can_lead=False)
    assert state.tick(0, 0.0, START_S)[0].mine is None


def test_a_claim_is_above_every_term_heard_of() -> None:
    state = follower().saw(HIGH, 0.1)
    claimed, _ = state.tick(0, 0.0, START_S)
    assert claimed.mine == Claim(5, 5, "edge-5", 7)


def test_the_highest_claim_never_falls() -> None:
    state = follower().saw(HIGH, 0.1).saw(LOW, 0.2)
    assert state.highest == HIGH


@pytest.mark.parametrize("retained", [True, False])
def test_only_a_live_new_beat_renews_a_lease(retained: bool) -> None:
    state, _ = follower().on_leader(beat(LOW, 5), retained, 1.0)
    assert (state.expires_s == 1.0 + LEASE_S) is not retained


def test_a_replayed_beat_renews_nothing() -> None:
    state, _ = follower().on_leader(beat(LOW, 5), False, 1.0)
    for old in (5, 4):
        again, _ = state.on_leader(beat(LOW, old), False, 2.0)
        assert again.expires_s == state.expires_s


def test_a_beat_of_a_lower_claim_is_ignored_while_the_higher_one_lives() -> None:
    state, _ = follower().on_leader(beat(HIGH), False, 1.0)
    state, _ = state.on_leader(beat(LOW), False, 1.1)
    assert state.follows(1.2) == HIGH


def test_a_lower_leader_is_followed_once_the_higher_one_is_gone() -> None:
    state, _ = follower().on_leader(beat(HIGH), False, 1.0)
    state, _ = state.on_leader(beat(LOW, 9), False, 1.0 + LEASE_S)
    assert state.follows(1.1 + LEASE_S) == LOW


def test_the_lower_of_two_leaders_yields() -> None:
    state, beats = leader().on_leader(beat(HIGH), False, 2.0)
    assert (state.mine, state.follows(2.1), beats) == (None, HIGH, ())


def test_a_leader_answers_a_lower_claim_with_its_own_but_not_faster_than_half_a_beat() -> None:
    state = leader()
    stale = Claim(0, 9, "edge-9", 1)
    now_s = START_S + BEAT_S / 2 + 0.01
    again, beats = state.on_leader(beat(stale), True, now_s)
    assert [each.claim for each in beats] == [state.mine]
    assert again.on_leader(beat(stale), True, now_s + 0.01)[1] == ()


def test_gossip_of_a_higher_claim_stops_planning_and_leads_to_a_claim_above_it() -> None:
    state = leader().saw(HIGH, 2.0).on_echo(2.0)
    assert not state.leads
    assert state.tick(0, 0.0, 2.0 + LEASE_S)[1] == ()
    again, beats = state.tick(0, 0.0, 2.01 + LEASE_S)
    assert again.leads
    assert [each.claim.term for each in beats] == [5]


def test_leases_stand_still_while_the_broker_is_away() -> None:
    state, _ = follower().on_leader(beat(HIGH), False, 1.0)
    state = state.on_broker(False, 1.5, reconnect=True)
    assert state.follows(1e6) == HIGH
    state = state.on_broker(True, 100.0, reconnect=True)
    for at_s in (102.0, 104.0, 99.9 + RECONNECT_GRACE_S):
        state = state.on_echo(at_s)
    assert state.tick(0, 0.0, 99.9 + RECONNECT_GRACE_S)[0].mine is None
    assert state.tick(0, 0.0, 100.0 + RECONNECT_GRACE_S)[0].mine is not None


def test_a_leader_that_was_cut_off_for_long_still_leads_when_it_is_back() -> None:
    state = leader().on_broker(False, 2.0, reconnect=True)
    state = state.on_broker(True, 60.0, reconnect=True)
    state, beats = state.tick(0, 0.0, 60.0)
    assert state.leads
    assert [each.resigned for each in beats] == [False]


def test_a_leader_that_stays_deaf_resigns() -> None:
    assert leader().tick(0, 0.0, START_S + BLIND_S - 0.01)[0].mine is not None
    state, beats = leader().tick(0, 0.0, START_S + BLIND_S + 0.01)
    assert state.mine is None
    assert beats[0].resigned


def test_a_farewell_ends_the_lease_at_once() -> None:
    state, _ = follower().on_leader(beat(HIGH, 1), False, 1.6)
    state, _ = state.on_leader(beat(HIGH, 2, resigned=True), False, 1.7)
    assert state.tick(0, 0.0, 1.7)[0].mine is not None


def test_who_resigned_leaves_the_others_time_to_claim() -> None:
    state, beats = leader().resign(2.0)
    assert beats[0].resigned
    assert state.follows(2.1) is None
    assert state.on_echo(2.0 + DEAF_S).tick(0, 0.0, 2.0 + DEAF_S)[0].mine is None


def test_to_resign_without_leading_says_nothing() -> None:
    assert follower().resign(1.0)[1] == ()


def test_another_tier_hands_over_to_an_edge_node_that_stays() -> None:
    state = leader().on_echo(9.0)
    assert state.tick(0, HAND_OVER_S, 9.0)[0].mine is not None
    assert state.tick(0, HAND_OVER_S + 0.1, 9.0)[0].mine is None


def test_our_own_standing_still_does_not_depose_a_leader() -> None:
    state, _ = follower().on_leader(beat(HIGH), False, 1.0)
    woken = state.on_pause(10.0).on_echo(12.0)
    assert woken.tick(0, 0.0, 12.0)[0].mine is None
    for at_s in (2.0, 4.0, 6.0, 8.0, 10.0, 12.0):
        state = state.on_echo(at_s)
    assert state.tick(0, 0.0, 12.0)[0].mine is not None


def test_a_loop_that_lags_waits_longer_for_its_leader() -> None:
    state, _ = follower().on_leader(beat(HIGH), False, 1.0)
    state = state.on_lag(0.7).on_echo(1.0 + LEASE_S)
    assert state.follows(1.6 + LEASE_S) == HIGH
    assert state.tick(0, 0.0, 1.6 + LEASE_S)[0].mine is None
    assert state.tick(0, 0.0, 1.7 + LEASE_S)[0].mine is not None


def test_our_own_claim_coming_back_changes_nothing() -> None:
    state = leader()
    assert state.mine is not None
    assert state.on_leader(beat(state.mine, 1), False, 2.0) == (state, ())


def test_a_term_that_nobody_can_have_counted_to_is_not_heeded() -> None:
    state, absurd = leader(), Claim(2 + TERM_LEAP_MAX, 1, "edge-1", 1)
    assert state.saw(absurd, 2.0) == state
    assert state.on_leader(beat(absurd), False, 2.0) == (state, ())
    assert state.saw(replace_term(absurd, TERM_LEAP_MAX), 2.0).highest != state.highest


def replace_term(claim: Claim, term: int) -> Claim:
    return Claim(term, claim.rank, claim.node, claim.session)
