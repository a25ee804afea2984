"""The cluster key file: made once, private, and explained where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeflow.errors import UsageError
from edgeflow.io.keys import load_keys, new_key


def test_a_new_key_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    made = new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keys(path) == made
    assert len(made.public) == len(made.secret) == 40


def test_two_keys_differ_and_a_secret_is_not_shown(tmp_path: Path) -> None:
    one, two = new_key(tmp_path / "1"), new_key(tmp_path / "2")
    assert one.public != two.public
    assert one.secret not in repr(one)


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    made = new_key(path)
    with pytest.raises(UsageError, match="would shut out every node"):
        new_key(path)
    assert load_keys(path) == made


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "cluster.key"
    new_key(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        load_keys(path)


def test_a_missing_key_is_told_how_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="edgeflow key new"):
        load_keys(tmp_path / "none.key")


@pytest.mark.parametrize(
    "text",
    ["", "secret\n", "edgeflow-key-1 short\n", "edgeflow-key-1 " + "\\" * 40, "\xe9" * 60],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cluster.key"
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load_keys(path)
