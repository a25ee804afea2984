"""Blobs come piece by piece, from whoever has them."""

from __future__ import annotations

import pytest

from edgeflow.events import ChunkStored, Effect, SendSignal
from edgeflow.messages import BlobChunk, BlobRequest
from edgeflow.plans.fetch import ANSWER_S, CHUNK_BYTES, ROUND_S, Fetch

A, B = "a" * 64, "b" * 64
BOTH = frozenset({"cam-1", "edge-1"})


@pytest.fixture
def fetch() -> Fetch:
    """Wants one blob of three pieces, which two nodes may have."""
    fetch = Fetch()
    fetch.want(A, 3 * CHUNK_BYTES, ("cam-1", "edge-1"))
    return fetch


def asked(effects: list[Effect]) -> list[tuple[str, str, int]]:
    """(peer, blob, offset) of each request."""
    found = []
    for effect in effects:
        assert isinstance(effect, SendSignal)
        assert isinstance(effect.message, BlobRequest)
        found.append((effect.peer, effect.message.sha256, effect.message.offset_bytes))
    return found


def chunk(peer: str, stored: int, complete: bool = False, verified: bool = False) -> ChunkStored:
    message = BlobChunk(A, stored - CHUNK_BYTES, 3 * CHUNK_BYTES)
    return ChunkStored(peer, message, stored, complete, verified)


def test_one_piece_is_under_way_at_a_time(fetch: Fetch) -> None:
    assert asked(fetch.tick(BOTH, 1.0)) == [("cam-1", A, 0)]
    assert fetch.tick(BOTH, 1.1) == []
    next_piece = fetch.on_chunk(chunk("cam-1", CHUNK_BYTES), False, 1.2)
    assert asked(next_piece) == [("cam-1", A, CHUNK_BYTES)]


def test_nobody_is_asked_without_a_link(fetch: Fetch) -> None:
    assert asked(fetch.tick(frozenset({"edge-1"}), 1.0)) == [("edge-1", A, 0)]
    assert Fetch(wanted={A: 1}, holders={A: ("cam-1",)}).tick(frozenset(), 1.0) == []


def test_frames_go_first_a_piece_is_followed_by_a_rest_as_long_as_it_took(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    assert fetch.on_chunk(chunk("cam-1", CHUNK_BYTES), True, 1.5) == []
    assert fetch.tick(BOTH, 1.9) == []
    assert asked(fetch.tick(BOTH, 2.0)) == [("cam-1", A, CHUNK_BYTES)]


def test_who_lacks_it_is_followed_by_the_next_holder(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    fetch.on_missing("cam-1", A)
    assert asked(fetch.tick(BOTH, 1.1)) == [("edge-1", A, 0)]


def test_a_late_word_of_another_peer_changes_nothing(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    fetch.on_missing("edge-1", A)
    fetch.on_link_down("edge-1")
    assert fetch.on_chunk(chunk("edge-1", CHUNK_BYTES), False, 1.1) == []
    assert (fetch.current, fetch.peer) == (A, "cam-1")


def test_a_silent_holder_is_left_after_a_while(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    assert fetch.tick(BOTH, 0.9 + ANSWER_S) == []
    assert asked(fetch.tick(BOTH, 1.0 + ANSWER_S)) == [("edge-1", A, 0)]


def test_after_a_lost_link_the_next_holder_goes_on_where_the_store_stands(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    fetch.on_chunk(chunk("cam-1", CHUNK_BYTES), False, 1.1)
    fetch.on_link_down("cam-1")
    assert asked(fetch.tick(BOTH, 1.2)) == [("edge-1", A, 0)]
    # The store kept the first piece and ignored this one: it says where it stands.
    stands = ChunkStored("edge-1", BlobChunk(A, 0, 3 * CHUNK_BYTES), CHUNK_BYTES, False, False)
    assert asked(fetch.on_chunk(stands, False, 1.3)) == [("edge-1", A, CHUNK_BYTES)]


def test_wrong_bytes_are_asked_for_elsewhere(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    fetch.on_chunk(chunk("cam-1", 3 * CHUNK_BYTES, complete=True), False, 1.1)
    assert A in fetch.wanted
    assert asked(fetch.tick(BOTH, 1.2)) == [("edge-1", A, 0)]


def test_a_verified_blob_is_wanted_no_more(fetch: Fetch) -> None:
    fetch.tick(BOTH, 1.0)
    fetch.on_chunk(chunk("cam-1", 3 * CHUNK_BYTES, complete=True, verified=True), False, 1.1)
    assert (fetch.wanted, fetch.holders, fetch.tried, fetch.current) == ({}, {}, {}, "")


def test_once_nobody_had_it_all_are_asked_again_after_a_rest(fetch: Fetch) -> None:
    fetch.tick(frozenset({"cam-1"}), 1.0)
    fetch.on_missing("cam-1", A)
    assert fetch.tick(frozenset({"cam-1"}), 1.1) == []
    assert fetch.tick(frozenset({"cam-1"}), 1.0 + ROUND_S) == []
    assert asked(fetch.tick(frozenset({"cam-1"}), 1.1 + ROUND_S)) == [("cam-1", A, 0)]


def test_a_blob_that_nobody_has_does_not_hold_up_the_next(fetch: Fetch) -> None:
    fetch.want(B, 10, ("edge-1",))
    assert asked(fetch.tick(frozenset({"edge-1"}), 1.0)) == [("edge-1", A, 0)]
    fetch.on_missing("edge-1", A)
    assert asked(fetch.tick(frozenset({"edge-1"}), 1.1)) == [("edge-1", B, 0)]


def test_only_the_piece_that_was_asked_for_is_expected_and_only_of_whom_it_was_asked(
    fetch: Fetch,
) -> None:
    piece = BlobChunk(A, 0, 3 * CHUNK_BYTES)
    assert not fetch.expects("cam-1", piece)
    fetch.tick(BOTH, 1.0)
    assert fetch.expects("cam-1", piece)
    assert not fetch.expects("edge-1", piece)
    assert not fetch.expects("cam-1", BlobChunk(B, 0, 3 * CHUNK_BYTES))
    assert not fetch.expects("cam-1", BlobChunk(A, CHUNK_BYTES, 3 * CHUNK_BYTES))
