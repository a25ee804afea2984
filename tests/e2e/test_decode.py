"""Pictures as their files, through real processes: decoded at the camera, or where they arrive."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

import edgeflow
from edgeflow.api import Flow
from edgeflow.encoded import jpeg, with_decode
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, placement_over

Model = tuple[Path, Graph]


@pytest.fixture(scope="session")
def encoded(small: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The small network, taking files."""
    recipe = {"input": small[1].inputs[0].name, "height": 64, "width": 64}
    graph = with_decode(replace(small[1], name="encoded", recipe=recipe))
    path = tmp_path_factory.mktemp("models") / "encoded.safetensors"
    edgeflow.save(graph, path)
    return path, edgeflow.load(path)


def files() -> list[NDArray[np.uint8]]:
    """JPEGs of different pictures, sizes and lengths."""
    random = np.random.default_rng(5)
    made = []
    for at in range(6):
        few = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        whole = Pictures.fromarray(few).resize((40 + 60 * at, 90 + 30 * at))
        made.append(jpeg(np.asarray(whole), quality=95 - 10 * at))
    assert len({len(each) for each in made}) == len(made)
    return made


def placements(graph: Graph) -> dict[str, str]:
    """Where it is decoded, by line."""
    first, second, last = (graph.layers[at].name for at in (0, 1, -1))
    return {
        f"{first} @cam-1 | {second}..{last} @edge-1": "the camera",
        f"{first}..{last} @edge-1": "the edge",
        placement_over(graph, "edge-1", "cloud-1"): "the edge, and the cloud goes on",
        f"{first} @edge-1 | {second}..{last} @cloud-1": "the edge alone",
    }


def test_files_of_all_lengths_are_answered_wherever_they_are_decoded(
    fleet: Fleet, encoded: Model
) -> None:
    path, graph = encoded
    fleet.start("edge", "edge-1")
    fleet.start("cloud", "cloud-1")
    given = files()
    (output,) = graph.outputs
    right = [edgeflow.run(graph, each)[output] for each in given]
    with fleet.join() as flow:
        for line, where in placements(graph).items():
            name = flow.deploy(path, placement=line)
            assert flow.snapshot().deployments[0].placement == line
            results = list(flow.stream(given * 3))
            assert {result.text for result in results} == {""}, where
            for at, result in enumerate(results):
                assert np.array_equal(result.output, right[at % len(right)]), (where, at)
            check_a_broken_file_is_its_own_fault(flow, name, given[0], right[0])
        check_by_command(fleet, path, given[0])


def check_a_broken_file_is_its_own_fault(
    flow: Flow, name: str, good: NDArray[np.uint8], right: NDArray[np.float32]
) -> None:
    """One outcome after one attempt that says why; the frames beside it are answered."""
    broken = good[: len(good) // 2].tobytes()
    frames = [good.tobytes(), broken, b"GIF89a", b"", good.tobytes()]
    results = list(flow.stream(frames, deployment=name, window=5))
    assert [each.code for each in results] == ["", "malformed", "malformed", "malformed", ""]
    assert "the picture is damaged or truncated" in results[1].text
    assert "neither a JPEG nor a PNG" in results[2].text
    assert "image is uint8 0, wanted is uint8 bytes" in results[3].text
    assert results[1].attempts == 1
    assert np.array_equal(results[4].output, right)


def check_by_command(fleet: Fleet, model: Path, good: NDArray[np.uint8]) -> None:
    folder = model.parent
    (folder / "good.jpg").write_bytes(good.tobytes())
    (folder / "broken.jpg").write_bytes(good.tobytes()[:200])
    Pictures.new("RGB", (9, 9)).save(folder / "other.gif")
    done = infer(fleet, folder / "good.jpg", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["answers"][0]["code"] == ""
    done = infer(fleet, folder / "broken.jpg")
    assert (done.returncode, "damaged or truncated" in done.stderr) == (6, True)
    done = infer(fleet, folder / "other.gif")
    assert (done.returncode, "neither JPEG nor PNG" in done.stderr) == (2, True)


def infer(fleet: Fleet, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "edgeflow", "infer", *map(str, words)]
    return subprocess.run(
        [*command, "--broker", fleet.url], capture_output=True, text=True, timeout=60, check=False
    )
