"""Models a node knows: manifests and whole models."""

from __future__ import annotations

import pytest

from edgeflow.events import BlobsChecked, CheckBlobs, LoadManifest, ManifestFailed
from edgeflow.plans.fetch import Fetch
from edgeflow.plans.library import RETRY_S, Library, blobs_of
from edgeflow.sim.toy import MODEL, TOY


@pytest.fixture
def library() -> Library:
    return Library(Fetch())


def test_a_manifest_is_loaded_once_and_fetched_where_it_is_missing(library: Library) -> None:
    assert library.want(MODEL, ("cam-1",), 1.0) == [LoadManifest(MODEL)]
    assert library.want(MODEL, ("cam-1",), 1.1) == []
    library.on_failed(ManifestFailed(MODEL, True, "not here"), ("cam-1",), 1.2)
    assert library.fetch.wanted == {MODEL: 0}
    assert library.want(MODEL, ("cam-1", "edge-1"), 1.3) == []
    assert library.fetch.holders[MODEL] == ("cam-1", "edge-1")
    library.fetch.forget(MODEL)
    assert library.want(MODEL, (), 1.4) == [LoadManifest(MODEL)]
    library.on_loaded(MODEL, TOY)
    assert library.want(MODEL, (), 1.5) == []


def test_an_unsound_manifest_is_tried_again_only_after_a_rest(library: Library) -> None:
    library.want(MODEL, (), 1.0)
    library.on_failed(ManifestFailed(MODEL, False, "op swirl is unknown"), (), 1.0)
    assert library.problem(MODEL, 1.1) == "op swirl is unknown"
    assert library.want(MODEL, (), 1.1) == []
    assert library.problem(MODEL, 1.0 + RETRY_S) == ""
    assert library.want(MODEL, (), 1.0 + RETRY_S) == [LoadManifest(MODEL)]


def test_a_model_is_kept_once_every_weight_is_here(library: Library) -> None:
    assert library.keep(MODEL) == []
    library.on_loaded(MODEL, TOY)
    (check,) = library.keep(MODEL)
    assert isinstance(check, CheckBlobs)
    assert len(check.blobs) == len(TOY.weights)
    assert library.keep(MODEL) == []
    library.on_checked(BlobsChecked(MODEL, check.purpose, check.blobs[:1]), ("cam-1",))
    assert library.keep(MODEL) == []
    library.fetch.forget(check.blobs[0][0])
    assert library.keep(MODEL) == [check]
    library.on_checked(BlobsChecked(MODEL, check.purpose, ()), ())
    assert library.keeping == {MODEL}


def test_a_shared_blob_is_named_once() -> None:
    assert len(blobs_of(TOY, ["stem.w", "stem.w", "left.w"])) == 2
