"""A placement reads back, and says who sends what to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.layout.placement import (
    PlacementError,
    format_placement,
    parse_placement,
    with_engines,
)
from edgeflow.layout.split import Patch, split
from edgeflow.model.graph import Contract, Graph, Op


def graph(reads: dict[str, str], outputs: str, inputs: str = "x") -> Graph:
    """Layers by name, each with the tensors it reads, in words."""

    def contract(name: str) -> Contract:
        return Contract(name, "float32", (1, 4))

    ops = tuple(
        Op(name, "concat", tuple(read.split()), {}, {"axis": 1}, contract(name))
        for name, read in reads.items()
    )
    return Graph("g", 1, tuple(map(contract, inputs.split())), tuple(outputs.split()), ops, {})


FORK = graph({"a": "x", "b": "a", "c": "a", "d": "b c", "e": "d"}, "e")
NAMES = ("conv.1", "conv..2", "1..3", "pool", "fc")
ODD = graph(dict(zip(NAMES, ("x", *NAMES), strict=False)), "fc")


def test_a_chain_reads_as_ranges() -> None:
    chain = graph({"conv1": "x", "pool1": "conv1", "conv2": "pool1", "fc": "conv2"}, "fc")
    plan = {"conv1": "cam-1", "pool1": "cam-1", "conv2": "edge-1", "fc": "cloud-1"}
    assert format_placement(chain, plan) == "conv1..pool1 @cam-1 | conv2 @edge-1 | fc @cloud-1"


def test_branches_are_listed_with_spaces() -> None:
    plan = {"a": "cam", "b": "cam", "c": "edge", "d": "cam", "e": "edge"}
    line = format_placement(FORK, plan)
    assert line == "a..b d @cam | c e @edge"
    assert parse_placement(FORK, line) == plan


@given(st.lists(st.sampled_from(("cam-1", "edge.2", "c")), min_size=5, max_size=5))
def test_every_placement_reads_back(nodes: list[str]) -> None:
    for model in (FORK, ODD):
        plan = {layer.name: node for layer, node in zip(model.layers, nodes, strict=True)}
        assert parse_placement(model, format_placement(model, plan)) == plan


@given(st.text(alphabet="abcde.@| []:0x", max_size=30))
def test_any_text_is_a_placement_or_a_named_error(line: str) -> None:
    try:
        assert set(parse_placement(FORK, line)) == set("abcde")
    except PlacementError as error:
        assert len(str(error)) > 20  # noqa: PT017


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a..d @cam", "layer e has no node"),
        ("a..e @cam | c @edge", "layer c is placed twice, on cam and edge"),
        ("a..f @cam", "no layer 'f'"),
        ("z @cam | a..e @cam", "no layer 'z'"),
        ("d..a @cam | e @cam", "write a..d"),
        ("a..e", "not of the form"),
        ("@cam", "not of the form"),
        ("a..e @", "exactly one node"),
        ("a..e @cam edge", "exactly one node"),
        ("a..e @-x", "exactly one node"),
        ("a..b @cam | c..e @edge-1[0:19] edge-2[19:38]", "e is no map of rows and columns"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_by_name(line: str, says: str) -> None:
    with pytest.raises(PlacementError, match=says):
        parse_placement(FORK, line)


def test_a_placement_of_another_model_is_refused() -> None:
    with pytest.raises(PlacementError, match="no layer 'q'"):
        format_placement(FORK, {**dict.fromkeys("abcde", "cam"), "q": "cam"})


def whole(*names: str) -> tuple[Patch, ...]:
    return tuple(map(Patch, names))


def test_each_tensor_goes_straight_from_its_maker_to_each_reader_once() -> None:
    parts = split(FORK, {"a": "cam", "b": "edge", "c": "cloud", "d": "cloud", "e": "cloud"}, "cam")
    cam, edge, cloud = parts.segments
    assert parts.nodes == ("cam", "edge", "cloud")
    assert parts.entry == {cam.at: whole("x")}
    assert cam.sends == {edge.at: whole("a"), cloud.at: whole("a")}
    assert cam.outputs == ("a",)
    assert edge.sends == {cloud.at: whole("b")}
    assert cloud.results == whole("e")
    assert cloud.inputs == whole("a", "b")
    assert cam.inputs == whole("x")


def test_inputs_go_from_the_source_to_all_that_read_them() -> None:
    model = graph({"a": "x", "b": "a y", "c": "b x"}, "c a", inputs="x y")
    parts = split(model, {"a": "cam", "b": "edge", "c": "edge"}, "cam")
    cam, edge = parts.segments
    assert parts.entry == {cam.at: whole("x"), edge.at: whole("y", "x")}
    assert edge.inputs == whole("a", "y", "x")
    assert cam.sends == {edge.at: whole("a")}
    assert cam.results == whole("a")
    assert edge.results == whole("c")
    assert parts.outputs == {*whole("c", "a")}


def test_a_source_without_layers_only_hands_on_inputs() -> None:
    parts = split(FORK, dict.fromkeys("abcde", "edge"), "laptop")
    assert parts.entry == {0: whole("x")}
    assert parts.nodes == ("edge",)


def test_segments_run_after_what_feeds_them_however_the_layers_stand() -> None:
    model = graph({"a": "x", "b": "x", "c": "b", "d": "c a"}, "d")
    parts = split(model, {"a": "edge", "b": "cam", "c": "cam", "d": "edge"}, "cam")
    assert parts.nodes == ("cam", "edge")


def test_nodes_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(PlacementError, match="cam, edge wait for each other"):
        split(FORK, {"a": "cam", "b": "edge", "c": "cam", "d": "cam", "e": "cam"}, "cam")


def test_engines_said_behind_nodes_are_read_over() -> None:
    line = "a..b @one | c @two[0:2] three[2:4] | d @one"
    said = with_engines(line, {"one": "onnx", "three": "onnx+torch"})
    assert said == "a..b @one(onnx) | c @two[0:2] three(onnx+torch)[2:4] | d @one(onnx)"
    assert with_engines(line, {}) == line


def test_a_line_pasted_from_a_screen_parses_back() -> None:
    line = "a b @one | c d e @two"
    said = with_engines(line, {"one": "onnx", "two": "torch"})
    assert "(onnx)" in said
    assert parse_placement(FORK, said) == parse_placement(FORK, line)
