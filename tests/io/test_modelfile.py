"""A model file is whole, unchanged and ours, or it does not load."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeflow import modelfile
from edgeflow.errors import ModelError
from edgeflow.model import manifest
from edgeflow.model.graph import Array, Contract, Graph, Op, Weight


def toy() -> Graph:
    """Two linears; one weight of the second is as large as a cache line, one is a scalar."""
    rng = np.random.default_rng(1)
    arrays: dict[str, Array] = {
        "a.weight": rng.standard_normal((5, 7)).astype(np.float32),
        "a.bias": rng.standard_normal(5).astype(np.float32),
        "b.weight": rng.standard_normal((3, 5)).astype(np.float32),
        "c.right": np.asarray(0.5, dtype=np.float32),
    }
    ops = (
        Op(
            "a",
            "linear",
            ("x",),
            {"weight": "a.weight", "bias": "a.bias"},
            {},
            Contract("a", "float32", (1, 5)),
        ),
        Op("b", "linear", ("a",), {"weight": "b.weight"}, {}, Contract("b", "float32", (1, 3))),
        Op("c", "mul", ("b",), {"right": "c.right"}, {}, Contract("c", "float32", (1, 3))),
    )
    weights = {
        name: Weight(name, "float32", array.shape, modelfile.array_sha256(array))
        for name, array in arrays.items()
    }
    return Graph(
        "toy", 1, (Contract("x", "float32", (1, 7)),), ("c",), ops, weights, {}, ("é",), arrays
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "toy.safetensors"
    modelfile.save(toy(), target)
    return target


def header_bytes(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_a_saved_model_loads_with_every_weight(path: Path) -> None:
    graph = modelfile.load(path)
    assert graph == toy()
    for name, array in toy().arrays.items():
        assert graph.arrays[name].shape == array.shape
        assert graph.arrays[name].tobytes() == array.tobytes()
        assert not graph.arrays[name].flags.writeable


def test_saving_says_the_digest_that_names_the_model(tmp_path: Path) -> None:
    assert modelfile.save(toy(), tmp_path / "a") == manifest.model_digest(toy())


def test_any_safetensors_reader_finds_the_weights(path: Path) -> None:
    found = load_file(path)
    assert set(found) == set(toy().arrays)
    np.testing.assert_array_equal(found["a.weight"], toy().arrays["a.weight"])


def test_the_index_says_where_each_blob_lies(path: Path) -> None:
    text, places = modelfile.index(path)
    assert manifest.decode(text) == toy()
    assert set(places) == {weight.sha256 for weight in toy().weights.values()}
    whole = path.read_bytes()
    for sha256, (offset, size) in places.items():
        assert hashlib.sha256(whole[offset : offset + size]).hexdigest() == sha256


def test_a_flipped_bit_is_refused_or_makes_a_model_of_another_name(path: Path) -> None:
    whole = path.read_bytes()
    text, _ = modelfile.index(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            graph = modelfile.load(path)
        except ModelError:
            continue
        renamed = manifest.encode(graph) != text
        assert renamed, f"byte {at} of {len(whole)} was flipped, and nobody noticed"
        assert at < header_bytes(path)


def test_a_truncated_file_is_refused_at_every_length(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"truncated|no model file"):
            modelfile.load(path)
        with pytest.raises(ModelError, match=r"truncated|no model file"):
            modelfile.index(path)


def test_a_file_with_something_behind_it_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="truncated"):
        modelfile.load(path)


def test_a_flipped_weight_is_named(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ModelError, match=r"weight .* is damaged \(sha256\)"):
        modelfile.load(path)


def test_safetensors_of_somebody_else_is_no_model(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": np.zeros(3, dtype=np.float32)}, foreign, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="holds tensors but no model"):
        modelfile.load(foreign)
    save_file({"w": np.zeros(3, dtype=np.float32)}, foreign)
    with pytest.raises(ModelError, match="holds tensors but no model"):
        modelfile.load(foreign)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" * 9, b"\x80\x04\x95" * 9, b"\xff" * 64])
def test_what_is_no_safetensors_is_no_model(tmp_path: Path, data: bytes) -> None:
    other = tmp_path / "other"
    other.write_bytes(data)
    with pytest.raises(ModelError, match="no model file"):
        modelfile.load(other)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        modelfile.load(tmp_path / "none")
    with pytest.raises(ModelError, match="directory"):
        modelfile.load(tmp_path)


def forge(path: Path, arrays: dict[str, Array], text: str) -> None:
    save_file(arrays, path, metadata={modelfile.METADATA_KEY: text})


def test_an_unknown_op_in_a_file_is_named(path: Path) -> None:
    text = manifest.encode(toy()).decode().replace('"kind":"mul"', '"kind":"system"')
    forge(path, dict(toy().arrays), text)
    with pytest.raises(ModelError, match=r"op c \(system\): unknown op 'system'"):
        modelfile.load(path)


def test_a_weight_that_is_missing_or_of_another_shape_is_named(path: Path) -> None:
    text, arrays = manifest.encode(toy()).decode(), dict(toy().arrays)
    turned = np.ascontiguousarray(arrays["a.weight"].reshape(7, 5))
    forge(path, {**arrays, "a.weight": turned}, text)
    with pytest.raises(ModelError, match=r"a\.weight is not what the manifest says"):
        modelfile.load(path)
    del arrays["a.weight"]
    forge(path, arrays, text)
    with pytest.raises(ModelError, match=r"weight a\.weight is missing"):
        modelfile.index(path)


def test_offsets_that_point_elsewhere_are_refused(path: Path) -> None:
    whole, size = path.read_bytes(), header_bytes(path)
    header = json.loads(whole[8:size])
    for offsets in ([-12, 0], [0, 1 << 62], [4, 0], [1 << 70, 1 << 71]):
        header["a.bias"]["data_offsets"] = offsets
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + whole[size:])
        with pytest.raises(ModelError):
            modelfile.load(path)


def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*args: object, **kwargs: object) -> None:
        assert Path(str(args[1])).parent == path.parent, "a rename is atomic in one folder only"
        Path(str(args[1])).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(modelfile, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        modelfile.save(toy(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_graph_without_its_weights_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not at hand"):
        modelfile.save(replace(toy(), arrays={}), tmp_path / "a")


def test_a_weight_changed_after_the_export_is_not_saved(tmp_path: Path) -> None:
    graph = toy()
    graph.arrays["a.bias"][0] += 1
    with pytest.raises(ModelError, match=r"a\.bias changed"):
        modelfile.save(graph, tmp_path / "a")
