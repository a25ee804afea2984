"""Wherever one tensor crosses, the cut network gives the bits of the whole one."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeflow import audit
from edgeflow.errors import EdgeflowError, ModelError
from edgeflow.executors import torch as engine
from edgeflow.executors.eager import EagerModule
from edgeflow.exporter import export, zoo
from edgeflow.layout.parcel import Parcel, Placed
from edgeflow.layout.placement import format_placement
from edgeflow.layout.split import Patch
from edgeflow.model.graph import Graph


def check_against_module(graph: Graph, module: torch.nn.Module) -> None:
    """Close to the module, up to what its own rounding is worth where random weights amplify it."""
    feed = audit.example_inputs(graph, seed=3)
    names = [contract.name for contract in graph.inputs]
    theirs = EagerModule(module, names, graph.outputs, threads=1).run(feed)
    for name, ours in audit.run(graph, feed).items():
        scale = float(np.abs(theirs[name]).max())
        np.testing.assert_allclose(ours, theirs[name], rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet_v1_0"])
def test_a_graph_is_as_near_to_the_exact_answer_as_its_module(architecture: str) -> None:
    module = zoo.pytorchcv(architecture, uint8=False)
    graph = export(module, name=architecture)
    feed = audit.example_inputs(graph)
    theirs = EagerModule(module, ["x"], ["y"], threads=1).run(feed)["y"]
    wide = {"x": feed["x"].astype(np.float64)}
    exact = EagerModule(deepcopy(module).double(), ["x"], ["y"], threads=1).run(wide)["y"]
    (ours,) = audit.run(graph, feed).values()
    slack = 1e-6 * float(np.abs(exact).max())
    assert np.abs(ours - exact).max() <= 2 * np.abs(theirs - exact).max() + slack


def check_cuts(graph: Graph, cuts: str | int, at_least: int) -> None:
    report = audit.verify(graph, cuts, threads=1)
    assert report.cuts >= at_least
    assert report.differing == ()
    assert (report.mismatches, report.max_abs_diff, report.max_ulp) == (0, 0.0, 0)


@pytest.mark.parametrize("uint8", [True, False], ids=["uint8", "float"])
def test_every_cut_of_efficientnet_lite0_with_its_real_weights(uint8: bool) -> None:
    module = zoo.efficientnet_lite0(labels=False, uint8=uint8)
    graph = export(module, name="lite0")
    check_against_module(graph, module)
    check_cuts(graph, "all", at_least=34)


@pytest.mark.parametrize("uint8", [True, False], ids=["uint8", "float"])
@pytest.mark.parametrize(
    ("architecture", "size", "cuts", "at_least"),
    [
        ("resnet18", 224, "all", 13),
        ("squeezenet_v1_0", 224, "all", 23),
        pytest.param("inceptionv4", 299, 3, 3, marks=pytest.mark.slow),
    ],
)
def test_cuts_of_the_papers_networks(
    architecture: str, size: int, cuts: str | int, at_least: int, uint8: bool
) -> None:
    module = zoo.pytorchcv(architecture, size=size, uint8=uint8)
    graph = export(module, name=architecture)
    assert graph.inputs[0].dtype == ("uint8" if uint8 else "float32")
    check_against_module(graph, module)
    check_cuts(graph, cuts, at_least)


@pytest.fixture(scope="module")
def resnet() -> Graph:
    return export(zoo.pytorchcv("resnet10", size=224), name="resnet10")


def placed(graph: Graph, *nodes: str) -> dict[str, str]:
    """Layers dealt out to nodes in equal runs."""
    count = len(graph.layers)
    return {layer.name: nodes[at * len(nodes) // count] for at, layer in enumerate(graph.layers)}


def test_a_split_in_the_middle_of_residuals_gives_the_same_bits(resnet: Graph) -> None:
    feed = audit.example_inputs(resnet)
    whole = audit.run(resnet, feed)
    for nodes in (("a", "b"), ("a", "b", "c"), tuple("abcdefg")):
        placement = placed(resnet, *nodes)
        line = format_placement(resnet, placement)
        for parts in (audit.run(resnet, feed, placement), audit.run(resnet, feed, line)):
            for name, array in whole.items():
                assert parts[name].tobytes() == array.tobytes()


def test_all_that_enters_crosses_and_leaves_goes_through_the_wire(
    resnet: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, seen = audit.cross, list[str]()

    def watched(made: Parcel, patches: Iterable[Patch]) -> Parcel:
        patches = list(patches)
        seen.extend(patch.name for patch in patches)
        return honest(made, patches)

    monkeypatch.setattr(audit, "cross", watched)
    middle = resnet.cuts[3]
    names = [layer.name for layer in resnet.layers]
    placement = {name: "a" if at < middle else "b" for at, name in enumerate(names)}
    audit.run(resnet, audit.example_inputs(resnet), placement)
    assert seen == ["image", *resnet.crossing(middle), *resnet.outputs]


def test_a_placement_that_misses_a_layer_is_refused(resnet: Graph) -> None:
    placement = placed(resnet, "a")
    placement.popitem()
    with pytest.raises(EdgeflowError, match="has no node"):
        audit.run(resnet, audit.example_inputs(resnet), placement)


def test_an_input_of_another_shape_is_refused_before_it_runs(resnet: Graph) -> None:
    image = audit.example_inputs(resnet)["image"]
    for wrong in (image[:, :-1], image.astype(np.float32), image[0]):
        with pytest.raises(ModelError, match="the model takes uint8"):
            audit.run(resnet, wrong)
    with pytest.raises(ModelError, match="input image is missing"):
        audit.run(resnet, {})
    with pytest.raises(ModelError, match="no input 'other'"):
        audit.run(resnet, {"image": image, "other": image})


def test_verify_notices_a_wire_that_changes_one_bit(
    resnet: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = audit.cross

    def faulty(made: Parcel, patches: Iterable[Patch]) -> Parcel:
        found = honest(made, patches)
        name, placed = next(iter(found.items()))
        bits = placed.array.copy()
        bits.reshape(-1).view(np.uint8)[0] ^= 1
        return {**found, name: Placed(bits, placed.rect)}

    monkeypatch.setattr(audit, "cross", faulty)
    report = audit.verify(resnet, 3)
    assert report.mismatches == 3
    assert report.max_ulp >= 1


def test_verify_notices_an_engine_that_lets_strides_through(
    resnet: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why tensors are made contiguous: without it a cut changes the kernels behind it."""
    monkeypatch.setattr(engine, "_straight", lambda tensor, strides: tensor)
    assert audit.verify(resnet, "all").mismatches > 0


def test_verify_refuses_what_is_no_number_of_cuts(resnet: Graph) -> None:
    for cuts in ("some", "0", 0, "-1"):
        with pytest.raises(EdgeflowError, match="give `all` or a number"):
            audit.verify(resnet, cuts)


def test_a_segment_needs_only_the_weights_of_its_layers(resnet: Graph) -> None:
    names = [layer.name for layer in resnet.layers]
    few = {name: resnet.arrays[name] for name in resnet.weights_of(names[:3])}
    assert 0 < len(few) < len(resnet.arrays)
    inputs, leaving = resnet.boundary(names[:3])
    segment = engine.TorchSegment(replace(resnet, arrays={}), names[:3], few, threads=1)
    assert (segment.inputs, segment.outputs) == (inputs, leaving)
    assert set(segment.run(audit.example_inputs(resnet))) == set(leaving)


def test_distance_in_representable_numbers() -> None:
    one = np.array([1.0, -1.0, 0.0], dtype=np.float32)
    assert audit.ulp_distance(one, one) == 0
    assert audit.ulp_distance(one, np.nextafter(one, np.float32(2))) == 1
    zero = np.zeros(1, dtype=np.float32)
    assert audit.ulp_distance(zero, -zero) == 0
    tiny = np.nextafter(zero, np.ones(1, dtype=np.float32))
    assert audit.ulp_distance(tiny, -tiny) == 2
