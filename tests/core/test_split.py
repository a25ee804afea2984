"""A layout with tiles: who computes which rectangle, and who sends which part of a map to whom."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.layout.placement import PlacementError, format_placement, nodes_of, parse_placement
from edgeflow.layout.split import Patch, split
from edgeflow.messages import Rect
from edgeflow.model.graph import Attribute, Contract, Graph, Op, Weight
from edgeflow.tiles.rect import uncovered, whole


def conv(name: str, read: str, kernel: int, stride: int, size: int) -> Op:
    pad = kernel // 2
    attrs: dict[str, Attribute] = {
        "stride": (stride, stride),
        "padding": (pad, pad, pad, pad),
        "dilation": (1, 1),
        "groups": 1,
    }
    output = Contract(name, "float32", (1, 4, size, size))
    return Op(name, "conv2d", (read,), {"weight": f"{name}.w"}, attrs, output)


def chain() -> Graph:
    """image ─▶ a ─▶ b ─┬▶ c ─▶ sum ─▶ d ─▶ mean; maps of 16, then 8 rows."""
    ops = (
        conv("a", "image", 3, 1, 16),
        conv("b", "a", 3, 2, 8),
        conv("c", "b", 3, 1, 8),
        Op("sum", "add", ("c", "b"), {}, {}, Contract("sum", "float32", (1, 4, 8, 8))),
        conv("d", "sum", 5, 1, 8),
        Op(
            "mean",
            "mean",
            ("d",),
            {},
            {"axes": (2, 3), "keepdim": False},
            Contract("mean", "float32", (1, 4)),
        ),
    )
    sizes = {"a": 3, "b": 3, "c": 3, "d": 5}
    weights = {
        f"{name}.w": Weight(f"{name}.w", "float32", (4, 4, size, size), "0" * 64)
        for name, size in sizes.items()
    }
    inputs = (Contract("image", "float32", (1, 4, 16, 16)),)
    return Graph("chain", 1, inputs, ("mean",), ops, weights)


NET = chain()
TWO = "a..sum @e1[0:3] e2[3:8] | d @e1[0:4] e2[4:8] | mean @e1"


def rows(top: int, bottom: int, wide: int = 8) -> Rect:
    return Rect(top, bottom, 0, wide)


def test_a_line_with_tiles_reads_back() -> None:
    for line in (
        TWO,
        "a @cam | b..sum @e1[0:4,0:5] e2[0:4,5:8] e1[4:8] | d..mean @e2",
        "a..b @e1[0:8] | c..mean @e1",
    ):
        assert format_placement(NET, parse_placement(NET, line)) == line
    assert nodes_of(parse_placement(NET, TWO)) == {"e1", "e2"}


def test_the_source_sends_each_worker_its_rectangle_and_halos_go_between_workers() -> None:
    parts = split(NET, parse_placement(NET, TWO), "cam")
    one, two, three, four, last = parts.segments
    assert [each.node for each in parts.segments] == ["e1", "e2", "e1", "e2", "e1"]
    # c needs b[0:4], b needs a[0:8] and that image[0:9]: 16 rows.
    assert parts.entry[one.at] == (Patch("image", rows(0, 9, 16)),)
    assert parts.entry[two.at] == (Patch("image", rows(2, 16, 16)),)
    # d[0:4] reads sum[0:6]: three rows of its own node, three of the other.
    assert one.sends[three.at] == (Patch("sum", rows(0, 3)),)
    assert two.sends[three.at] == (Patch("sum", rows(3, 6)),)
    assert one.sends[four.at] == (Patch("sum", rows(2, 3)),)
    assert two.sends[four.at] == (Patch("sum", rows(3, 8)),)
    assert set(last.inputs) == {Patch("d", rows(0, 4)), Patch("d", rows(4, 8))}
    assert last.results == (Patch("mean"),)


def test_what_a_node_does_before_and_behind_tiles_are_two_segments() -> None:
    parts = split(NET, parse_placement(NET, "a @e1 | b..d @e1[0:4] e2[4:8] | mean @e1"), "cam")
    assert [(each.node, each.layers[0]) for each in parts.segments] == [
        ("e1", "a"),
        ("e1", "b"),
        ("e2", "b"),
        ("e1", "mean"),
    ]
    assert len(parts.of("e1")) == 3


def test_results_of_tiles_go_to_the_source_in_parts() -> None:
    net = Graph("maps", 1, NET.inputs, ("d",), NET.ops[:-1], NET.weights)
    parts = split(net, parse_placement(net, "a..d @e1[0:4] e2[4:8]"), "cam")
    assert parts.outputs == {Patch("d", rows(0, 4)), Patch("d", rows(4, 8))}


@settings(max_examples=60)
@given(st.data())
def test_what_a_segment_gets_covers_what_it_reads_exactly_once(data: st.DataObject) -> None:
    edge = data.draw(st.integers(1, 7))
    side = data.draw(st.integers(1, 7))
    line = f"a..sum @e1[0:{edge}] e2[{edge}:8] | d @e2[0:8,0:{side}] e1[0:8,{side}:8] | mean @cloud"
    parts = split(NET, parse_placement(NET, line), "cam")
    for segment in parts.segments:
        for name in {patch.name for patch in segment.inputs}:
            given_ = [patch.rect for patch in segment.inputs if patch.name == name]
            everything = whole(NET.tensors[name])
            assert everything is not None
            found = [rect or everything for rect in given_]
            hulls = Rect(
                min(each.top for each in found),
                max(each.bottom for each in found),
                min(each.left for each in found),
                max(each.right for each in found),
            )
            assert uncovered(hulls, found) == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a..d @e1[0:4] e2[5:8] | mean @e1", r"8 of 64 elements of 0:8,0:8 are in none"),
        ("a..d @e1[0:5] e2[4:8] | mean @e1", "4:8,0:8 and 0:5,0:8 overlap"),
        ("a..d @e1[0:4] e2[4:9] | mean @e1", "4:9,0:8 lies outside of 0:8,0:8"),
        ("a..d @e1[0:4] e2[4:4] | mean @e1", "at least one row"),
        ("a..d @e1[0:4] e2 | mean @e1", "e2 is not of the form"),
        ("a..d @e1[0:x] | mean @e1", "is not of the form"),
        ("a..mean @e1[0:4] e2[4:8]", "mean is no map of rows and columns"),
        ("a..b sum @e1[0:4] e2[4:8] | c d mean @e1", "one behind the other"),
        ("a..c @e1[0:4] e2[4:8] | sum..mean @e1", "b, c leave it, and it must be one tensor"),
        ("a..d @" + " ".join(f"e{n}[{n}:{n + 1}]" for n in range(65)) + " | mean @e1", "65 tiles"),
    ],
)
def test_tiles_that_cannot_be_are_refused_by_name(line: str, says: str) -> None:
    with pytest.raises(PlacementError, match=says):
        parse_placement(NET, line)
