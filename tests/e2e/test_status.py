"""`edgeflow status` of a cluster that runs tiles: who computes what, predicted beside measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, answers, pictures, told, until


def test_the_status_draws_tile_maps_with_measured_times(
    fleet: Fleet, small: tuple[Path, Graph]
) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    fleet.start("edge", "edge-2")
    line = "permute @cam-1 | stem..tail @edge-1[0:9] edge-2[9:16] | mean..softmax @edge-1"
    images = pictures(8)
    with fleet.join() as flow:
        flow.deploy(path, name="small", placement=line)
        for image, wanted in zip(images, answers(graph, images), strict=True):
            found = flow.infer(image).outputs["softmax"]
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
        until(lambda: len(flow.snapshot().deployments[0].segments) == 4, "seconds", flow)
        (seen,) = json.loads(told(fleet, "status", "--json").splitlines()[-1])["deployments"]
        text = told(fleet, "status")
    (view,) = seen["tiles"]
    assert [tile["node"] for tile in view["tiles"]] == ["edge-1", "edge-2"]
    measured = {each["segment"]: each["seconds"] for each in seen["segments"]}
    assert all(measured[tile["segment"]] > 0 for tile in view["tiles"])
    assert re.search(r"A  edge-1  0:9 +[\d.]+ +[\d.]+ ", text), text
    assert re.search(r"B  edge-2  9:16 +[\d.]+ +[\d.]+ ", text), text


def test_a_wish_says_whether_layers_may_be_tiled(fleet: Fleet, small: tuple[Path, Graph]) -> None:
    path, _ = small
    fleet.start("edge", "edge-1")
    with fleet.join() as flow:
        deploy = ("deploy", str(path), "--source", "edge-1", "--no-wait", "--json")
        for more, tiles in ((("--no-tiles",), False), ((), True)):
            done = json.loads(told(fleet, *deploy, *more).splitlines()[-1])
            assert done["deployments"][0]["changed"]

            def is_so(wanted: bool = tiles) -> bool:
                views = flow.ask(lambda core: core.parts.deployments.views)
                return bool(views["small"].spec and views["small"].spec.tiles == wanted)

            until(is_so, f"tiles {tiles}", flow)
