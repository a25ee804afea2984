"""Who is here: heartbeats, wills, sessions."""

from __future__ import annotations

import pytest

from edgeflow.cluster.membership import (
    DEAD_BY_WILL_S,
    DEAD_S,
    PEERS_MAX,
    RECONNECT_GRACE_S,
    Membership,
)
from edgeflow.messages import EDGE, Caps, Load, State


def caps(session: int = 1, node: str = "edge-1") -> Caps:
    return Caps(node, session, EDGE, "", "", 1, 1, (), (), None, True, True, (), "")


def load(seq: int = 1, session: int = 1, node: str = "edge-1") -> Load:
    return Load(node, session, seq, 0.0, 0, None, False, 0, 0, {}, None, {}, {})


def state(word: str, session: int = 1, connection: int = 1) -> State:
    return State("edge-1", session, connection, word)


@pytest.fixture
def table() -> Membership:
    """cam-1 knows edge-1, which is ready and was heard at 10 s."""
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    table.on_state(state("ready"), retained=False, now_s=9.0)
    table.on_caps(caps(), retained=False)
    table.on_load(load(), 10.0)
    return table


def test_retained_words_alone_prove_no_life() -> None:
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    table.on_state(state("ready"), retained=True, now_s=1.0)
    table.on_caps(caps(), retained=True)
    assert not table.is_alive("edge-1", 1.0)
    table.on_load(load(), 1.1)
    assert table.is_usable("edge-1", 1, 1.1)


def test_silence_for_the_limit_is_death(table: Membership) -> None:
    assert table.is_alive("edge-1", 10.0 + DEAD_S)
    assert not table.is_alive("edge-1", 10.01 + DEAD_S)


def test_a_duplicate_heartbeat_is_no_sign_of_life(table: Membership) -> None:
    table.on_load(load(seq=5), 11.0)
    table.on_load(load(seq=5), 13.0)
    table.on_load(load(seq=4), 13.5)
    assert not table.is_alive("edge-1", 11.01 + DEAD_S)


def test_a_will_shortens_the_wait_only_where_our_link_is_down_too(table: Membership) -> None:
    table.on_link("edge-1", 1, True)
    table.on_state(state("lost"), retained=False, now_s=10.1)
    late_s = 10.01 + DEAD_BY_WILL_S
    assert table.is_alive("edge-1", late_s)
    table.on_link("edge-1", 1, False)
    assert not table.is_alive("edge-1", late_s)


def test_a_heartbeat_after_the_will_proves_it_wrong(table: Membership) -> None:
    table.on_state(state("lost"), retained=False, now_s=10.1)
    table.on_load(load(seq=2), 10.2)
    assert table.is_alive("edge-1", 10.2 + DEAD_S)


@pytest.mark.parametrize(("session", "connection"), [(1, 1), (1, 2), (0, 9)])
def test_a_late_will_of_an_old_session_changes_nothing(session: int, connection: int) -> None:
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    table.on_state(state("ready", 1, 3), retained=False, now_s=9.0)
    table.on_load(load(), 10.0)
    table.on_state(state("lost", session, connection), retained=False, now_s=10.1)
    peer = table.peers["edge-1"]
    assert (peer.will_heard, peer.session, peer.connection) == (False, 1, 3)


def test_a_late_duplicate_of_ready_does_not_undo_a_drain(table: Membership) -> None:
    table.on_state(state("draining"), retained=False, now_s=10.1)
    table.on_state(state("ready"), retained=False, now_s=10.2)
    assert not table.is_usable("edge-1", 1, 10.3)
    table.on_state(state("offline"), retained=False, now_s=10.4)
    table.on_load(load(), 10.5)
    assert not table.is_alive("edge-1", 10.5)


def test_a_newer_session_replaces_the_older_and_never_the_other_way(table: Membership) -> None:
    table.on_state(state("ready", session=2), retained=False, now_s=11.0)
    assert not table.is_usable("edge-1", 1, 11.0)
    assert not table.is_here("edge-1", 1, 11.0)
    table.on_load(load(seq=99, session=1), 11.1)
    table.on_state(state("ready", session=1), retained=False, now_s=11.1)
    assert table.peers["edge-1"].session == 2


def test_a_session_that_only_starts_replaces_a_dead_one_at_once_and_a_living_one_never(
    table: Membership,
) -> None:
    for now_s in (10.1, 10.1 + DEAD_S):
        table.on_state(state("init", session=2), retained=False, now_s=now_s)
        table.on_load(load(session=2), now_s)
        assert (table.peers["edge-1"].session == 2) is (now_s > 10.0 + DEAD_S)


def test_a_newer_session_that_never_got_ready_gives_way_to_the_one_that_is() -> None:
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    table.on_state(state("init", session=2), retained=True, now_s=1.0)
    table.on_state(state("ready", session=1), retained=False, now_s=1.1)
    table.on_load(load(session=1), 1.2)
    assert table.peers["edge-1"].session == 1


def test_a_retained_word_of_a_newer_session_is_not_believed_before_it_is_heard(
    table: Membership,
) -> None:
    table.on_state(state("ready", session=2), retained=True, now_s=10.1)
    assert table.peers["edge-1"].session == 1


def test_nobody_dies_while_we_are_cut_off_and_all_get_time_to_return(table: Membership) -> None:
    table.on_broker(False, 11.0, reconnect=True)
    assert table.is_alive("edge-1", 1000.0)
    table.on_broker(True, 1000.0, reconnect=True)
    assert table.is_alive("edge-1", 999.9 + RECONNECT_GRACE_S)
    assert not table.is_alive("edge-1", 1000.1 + RECONNECT_GRACE_S)


def test_nobody_dies_while_our_own_heartbeat_does_not_come_back(table: Membership) -> None:
    """A broker that froze, or one that drops all: its connection stands."""
    table.on_echo(10.2)
    assert table.is_alive("edge-1", 60.0)
    table.on_echo(61.0)  # the others' wait in the same queue
    assert table.is_alive("edge-1", 61.0 + DEAD_S - 0.1)
    table.on_echo(62.0)
    table.on_echo(63.0)
    table.on_echo(64.0)
    assert not table.is_alive("edge-1", 64.1)


def test_who_alone_is_silent_dies_while_our_own_heartbeats_come_back(table: Membership) -> None:
    for at_s in (10.5, 11.5, 12.5):
        table.on_echo(at_s)
    assert table.is_alive("edge-1", 10.0 + DEAD_S)
    assert not table.is_alive("edge-1", 10.01 + DEAD_S)


def test_a_late_echo_of_our_own_alone_gives_nobody_more_time(table: Membership) -> None:
    table.on_echo(10.5)
    table.on_echo(12.5)
    assert not table.is_alive("edge-1", 10.01 + DEAD_S)


def test_nobody_dies_because_we_stood_still(table: Membership) -> None:
    table.on_pause(20.0, 30.0)
    assert table.is_alive("edge-1", 30.0)
    assert not table.is_alive("edge-1", 30.1 + DEAD_S)


@pytest.mark.parametrize("will", [False, True])
def test_silence_may_be_longer_by_our_own_lag(table: Membership, will: bool) -> None:
    table.stretch_s = 0.8
    if will:
        table.on_state(state("lost"), retained=False, now_s=10.1)
    limit_s = DEAD_BY_WILL_S if will else DEAD_S
    assert table.is_alive("edge-1", 10.79 + limit_s)
    assert not table.is_alive("edge-1", 10.81 + limit_s)


def test_this_node_itself_is_always_here(table: Membership) -> None:
    assert table.is_alive("cam-1", 1e9)
    assert table.is_here("cam-1", 1, 1e9)


def test_who_has_not_said_what_it_can_do_is_not_used() -> None:
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    table.on_state(state("ready"), retained=False, now_s=9.0)
    table.on_load(load(), 10.0)
    assert not table.is_usable("edge-1", 1, 10.0)
    assert list(table.alive(10.0)) == []


def test_invented_names_fill_a_bounded_table_and_push_no_living_node_out(
    table: Membership,
) -> None:
    for at in range(2 * PEERS_MAX):
        table.on_load(load(node=f"ghost-{at}"), 11.0)
        table.on_caps(caps(node=f"mute-{at}"), retained=True)
    assert len(table.peers) == PEERS_MAX
    assert table.is_usable("edge-1", 1, 11.0)
    table.on_load(load(node="edge-2"), 12.0 + DEAD_S)
    assert table.is_alive("edge-2", 12.0 + DEAD_S)
