"""Blobs on disk: verified, bounded, and healed after a restart."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeflow.errors import ModelError, UsageError
from edgeflow.io.store import SESSION_STEP, Store, next_session
from edgeflow.model.graph import Weight

BLOB = bytes(range(256)) * 40


def sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, 1 << 20)
    yield made
    made.close()


def put(store: Store, raw: bytes) -> str:
    assert store.append(sha(raw), 0, raw, len(raw)) == (len(raw), True, True)
    return sha(raw)


def test_pieces_in_order_make_a_verified_blob(store: Store) -> None:
    name = sha(BLOB)
    assert store.append(name, 0, BLOB[:5000], len(BLOB)) == (5000, False, False)
    assert not store.has(name)
    assert store.append(name, 5000, BLOB[5000:], len(BLOB)) == (len(BLOB), True, True)
    assert store.has(name)
    assert store.size(name) == len(BLOB)
    assert bytes(store.read(name)) == BLOB
    assert bytes(store.read(name, 100, 50)) == BLOB[100:150]


def test_a_piece_twice_or_out_of_order_changes_nothing(store: Store) -> None:
    name = sha(BLOB)
    store.append(name, 0, BLOB[:5000], len(BLOB))
    assert store.append(name, 0, BLOB[:5000], len(BLOB)) == (5000, False, False)
    assert store.append(name, 9000, BLOB[9000:], len(BLOB)) == (5000, False, False)
    assert store.append(name, 5000, BLOB[5000:], len(BLOB) + 1) == (5000, False, False)
    assert store.append(name, 5000, BLOB[5000:], len(BLOB)) == (len(BLOB), True, True)
    assert store.append(name, 0, BLOB, len(BLOB)) == (len(BLOB), True, True)


def test_a_blob_with_other_bytes_than_its_name_is_dropped(store: Store, tmp_path: Path) -> None:
    name = sha(BLOB)
    assert store.append(name, 0, b"x" * len(BLOB), len(BLOB)) == (len(BLOB), True, False)
    assert not store.has(name)
    assert not list((tmp_path / "blobs").iterdir())
    put(store, BLOB)


def test_a_blob_that_grows_past_its_size_is_dropped(store: Store) -> None:
    assert store.append(sha(BLOB), 0, BLOB, len(BLOB) - 1)[1:] == (True, False)


def test_a_blob_that_is_not_here_is_an_error_with_its_name(store: Store) -> None:
    for ask in (store.read, store.size):
        with pytest.raises(ModelError, match="aaaaaaaaaaaa"):
            ask("a" * 64)


def test_after_a_restart_blobs_are_served_and_a_flipped_byte_is_found(tmp_path: Path) -> None:
    first = Store(tmp_path, 1 << 20)
    good, bad = put(first, BLOB), put(first, b"other" * 100)
    first.append(sha(b"half"), 0, b"ha", 4)
    first.close()
    file = tmp_path / "blobs" / bad
    file.write_bytes(b"O" + file.read_bytes()[1:])
    second = Store(tmp_path, 1 << 20)
    assert bytes(second.read(good)) == BLOB
    with pytest.raises(ModelError, match="damaged"):
        second.read(bad)
    assert not second.has(bad)
    assert {path.name for path in (tmp_path / "blobs").iterdir()} == {good}
    second.close()


def test_the_longest_unused_blob_goes_first_and_mapped_arrays_live_on(tmp_path: Path) -> None:
    store = Store(tmp_path, 3000)
    raws = [bytes([number]) * 1000 for number in range(4)]
    names = [put(store, raw) for raw in raws[:3]]
    array = store.array(Weight("w", "uint8", (1000,), names[1]))
    store.read(names[0])
    put(store, raws[3])
    assert [store.has(name) for name in names] == [True, True, False]
    put(store, bytes([9]) * 2000)
    assert not store.has(names[1])
    assert (array == 1).all()
    store.close()


def test_a_blob_above_the_bound_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000)
    with pytest.raises(ModelError, match="store_bytes_max"):
        store.append("a" * 64, 0, b"x", 2000)
    store.close()


def test_weights_come_as_read_only_arrays_also_when_empty(store: Store) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = store.array(Weight("x", "float32", (3, 4), put(store, x.tobytes())))
    assert found.tolist() == x.tolist()
    assert not found.flags.writeable
    assert store.array(Weight("none", "float32", (0, 4), sha(b""))).shape == (0, 4)
    with pytest.raises(ModelError):
        store.array(Weight("x", "float32", (3, 5), sha(x.tobytes())))


def test_two_stores_do_not_share_a_folder(store: Store, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from edgeflow.io.store import Store; "
        "Store(pathlib.Path(sys.argv[1]), 1)"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert found.returncode
    assert "its own --state-dir" in found.stderr
    with pytest.raises(UsageError):
        Store(tmp_path, 1)


def test_session_numbers_rise_even_when_the_clock_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next_session(tmp_path)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    second = next_session(tmp_path)
    assert first < second <= first + SESSION_STEP
    assert next_session(tmp_path) > second
    assert next_session(tmp_path, above=second + 10**6) > second + 10**6
    (tmp_path / "session").write_text("rubbish")
    monkeypatch.undo()
    time.sleep(SESSION_STEP / 1000)
    assert next_session(tmp_path) > first


def test_two_copies_of_one_folder_do_not_get_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 0)
    copies = [tmp_path / str(number) for number in range(5)]
    for copy in copies:
        copy.mkdir()
        (copy / "session").write_text("1700000000000\n")
    assert len({next_session(copy) for copy in copies}) > 1
