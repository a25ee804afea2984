"""Models on the nodes' disks before they start: a lab is for frames, not for waiting for weights.

The first disk gets a copy of each blob, the others a hard link to it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgeflow import modelfile
from edgeflow.errors import ModelError
from edgeflow.io.store import Store
from edgeflow.model.manifest import digest

NO_LIMIT = 1 << 60


def seed(models: Sequence[Path], disks: Sequence[Path]) -> None:
    """Put every blob of the models into the store of each disk.

    ModelError where a file is no model. What nodes do with too small a `store_bytes_max` is
    theirs: they fetch what they evicted.
    """
    if not models or not disks:
        return
    first = disks[0]
    store = Store(first, NO_LIMIT)
    try:
        for model in models:
            _copy(model, store)
    finally:
        store.close()
    for disk in disks[1:]:
        (disk / "blobs").mkdir(parents=True, exist_ok=True)
        for blob in (first / "blobs").iterdir():
            target = disk / "blobs" / blob.name
            if not target.exists():
                os.link(blob, target)


def _copy(model: Path, store: Store) -> None:
    manifest, weights = modelfile.index(model)
    store.append(digest(manifest), 0, manifest, len(manifest))
    with model.open("rb") as file:
        for sha256, (offset, nbytes) in weights.items():
            file.seek(offset)
            store.append(sha256, 0, file.read(nbytes), nbytes)
            if not store.has(sha256):
                raise ModelError(f"{model}: weight {sha256[:12]} is damaged; fetch the file again")
