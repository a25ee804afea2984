"""Inputs of frames that killed their workers: kept on disk, so that their owner can look at them.

    numpy.load("quarantine/job-17.npz")     the model's inputs by name

Invariant: at most FILES_MAX files and about BYTES_MAX bytes; the oldest go first.
"""

from __future__ import annotations

import logging
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from edgeflow.layout.parcel import Parcel

FILES_MAX = 16
"""More of one kind tell nothing new."""
BYTES_MAX = 512 << 20
"""A Pi keeps the rest of its card; the newest file is kept however long it is."""
_log = logging.getLogger("edgeflow")


def keep(folder: Path, name: str, inputs: Parcel) -> None:
    """Write one down, and let old ones go; a full disk is said in the log, and no more."""
    file = folder / f"{name}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        half = folder / f"{name}.half"
        with ZipFile(half, "w") as archive:
            for tensor, placed in inputs.items():
                with archive.open(f"{tensor}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, placed.array, allow_pickle=False)
        half.replace(file)
        _let_go(folder)
    except OSError as error:
        _log.warning("a frame that killed its workers cannot be kept: %s", error)
        return
    _log.warning("a frame killed its workers; its input is %s", file)


def _let_go(folder: Path) -> None:
    """Remove what is too old."""
    files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    size_bytes = 0
    for at, file in enumerate(files):
        size_bytes += file.stat().st_size
        if at >= FILES_MAX or (at > 0 and size_bytes > BYTES_MAX):
            file.unlink()
