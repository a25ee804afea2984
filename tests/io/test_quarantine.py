"""Inputs of frames that killed their workers, on disk."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from edgeflow.io import quarantine
from edgeflow.io.quarantine import FILES_MAX, keep
from edgeflow.layout.parcel import parcel
from edgeflow.model.graph import Array

IMAGE: dict[str, Array] = {
    "image": np.arange(12, dtype=np.uint8).reshape(1, 3, 4),
    "file": np.array([1.5], np.float32),
}


def test_what_is_kept_can_be_read_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path / "quarantine", "job-17", parcel(IMAGE))
    with np.load(tmp_path / "quarantine" / "job-17.npz") as found:
        assert sorted(found) == ["file", "image"]
        for name, array in IMAGE.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    for at in range(FILES_MAX + 3):
        keep(tmp_path, f"job-{at}", parcel(IMAGE))
        os.utime(tmp_path / f"job-{at}.npz", ns=(at, at))
    left = {int(file.stem.removeprefix("job-")) for file in tmp_path.iterdir()}
    assert left == set(range(3, FILES_MAX + 3))


def test_bytes_are_bounded_but_for_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "BYTES_MAX", 100)
    for at in range(3):
        keep(tmp_path, f"job-{at}", parcel(IMAGE))
    assert [file.name for file in tmp_path.iterdir()] == ["job-2.npz"]


def test_a_folder_that_cannot_be_is_said_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "quarantine").write_text("a file")
    with caplog.at_level(logging.WARNING, "edgeflow"):
        keep(tmp_path / "quarantine", "job-17", parcel(IMAGE))
    assert "cannot be kept" in caplog.text
