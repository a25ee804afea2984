"""Which rectangle needs which: rules by hand, windows against brute force, grids, stretches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.errors import ModelError
from edgeflow.messages import Rect
from edgeflow.model.graph import Contract, Graph, Op, Weight
from edgeflow.model.ops import infer
from edgeflow.tiles.axes import Blend, Pool, Transposed, Window, Zoom
from edgeflow.tiles.cutout import cut_out
from edgeflow.tiles.grid import bounds, even, scaled, uneven
from edgeflow.tiles.rect import area, uncovered
from edgeflow.tiles.region import TileError, regions
from edgeflow.tiles.rules import needs, why_not
from edgeflow.tiles.stretch import stretches, why_no_tiles

CONV = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
POOL = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False}
MAP = (1, 4, 12, 10)


class Toy:
    """A graph by hand: `add(name, kind, sources, attrs, role=shape of the weight)`."""

    def __init__(self, **inputs: tuple[int, ...]) -> None:
        self.inputs = tuple(Contract(name, "float32", shape) for name, shape in inputs.items())
        self.known = {contract.name: contract for contract in self.inputs}
        self.weights: dict[str, Weight] = {}
        self.ops: list[Op] = []

    def add(
        self, name: str, kind: str, sources: str, attrs: Any = None, **weights: tuple[int, ...]
    ) -> Toy:
        roles = {role: f"{name}.{role}" for role in weights}
        for role, shape in weights.items():
            self.weights[roles[role]] = Weight(roles[role], "float32", shape, "0" * 64)
        constants = {role: Contract(role, "float32", shape) for role, shape in weights.items()}
        inputs = tuple(self.known[source] for source in sources.split())
        dtype, shape = infer(kind, attrs or {}, inputs, constants)
        self.known[name] = Contract(name, dtype, shape)
        inputs_of = tuple(sources.split())
        self.ops.append(Op(name, kind, inputs_of, roles, attrs or {}, self.known[name]))
        return self

    def graph(self, *outputs: str) -> Graph:
        names = outputs or (self.ops[-1].name,)
        return Graph("toy", 1, self.inputs, names, tuple(self.ops), self.weights)


def rect(rows: str, columns: str = "0:10") -> Rect:
    top, bottom = map(int, rows.split(":"))
    left, right = map(int, columns.split(":"))
    return Rect(top, bottom, left, right)


def need(kind: str, attrs: Any, wanted: str, shape: Any = MAP, **weights: Any) -> str:
    """The rows of its input that these rows of its output need."""
    graph = Toy(x=shape).add("y", kind, "x", attrs, **weights).graph()
    (found,) = needs(graph.ops[0], graph, rect(wanted, "0:1"))
    return f"{found.top}:{found.bottom}"


def conv(wanted: str, rows: int = 3, **changed: Any) -> str:
    return need("conv2d", {**CONV, **changed}, wanted, weight=(4, 4, rows, 3))


def test_a_convolution_needs_a_halo_that_ends_with_the_map() -> None:
    assert conv("4:6") == "3:7"
    assert conv("0:2") == "0:3"
    assert conv("10:12") == "9:12"


def test_a_convolution_reaches_as_far_as_stride_dilation_and_padding_say() -> None:
    assert conv("2:4", stride=(2, 1)) == "3:8"
    assert conv("2:4", dilation=(2, 1), padding=(2, 1, 2, 1)) == "0:6"
    assert conv("2:4", rows=1, padding=(0, 1, 0, 1)) == "2:4"
    assert conv("1:3", padding=(0, 1, 2, 1)) == "1:5"
    assert conv("1:3", stride=(3, 1), dilation=(2, 1), padding=(3, 1, 0, 1)) == "0:8"


def test_a_window_that_lies_wholly_in_padding_needs_one_real_row() -> None:
    far = (6, 1, 6, 1)
    assert conv("0:2", padding=far) == "0:1"
    assert conv("20:22", padding=far) == "11:12"


def test_pools_need_exactly_their_windows_inside_and_line_up_at_the_ends() -> None:
    attrs = {**POOL, "dilation": (1, 1)}
    assert need("max_pool2d", attrs, "1:3") == "1:6"
    assert need("max_pool2d", attrs, "0:2") == "0:4"
    ends = {**attrs, "ceil_mode": True, "kernel": (3, 3), "stride": (3, 3)}
    assert need("max_pool2d", ends, "4:5") == "9:12"  # 11:12 is real; own padding begins at 9
    no_pad = {**attrs, "padding": (0, 0), "ceil_mode": True}
    assert need("max_pool2d", no_pad, "5:6") == "10:12"
    average = {**POOL, "count_include_pad": False}
    assert need("avg_pool2d", average, "2:4") == "3:8"
    assert need("avg_pool2d", {**average, "kernel": (4, 4), "padding": (2, 2)}, "6:7") == "10:12"


def test_a_transposed_convolution_needs_the_rows_that_go_there() -> None:
    attrs = {**CONV, "stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)}
    assert need("conv_transpose2d", attrs, "4:6", weight=(4, 4, 3, 3)) == "2:4"
    assert need("conv_transpose2d", attrs, "23:24", weight=(4, 4, 3, 3)) == "11:12"
    sparse = {**CONV, "stride": (3, 3), "padding": (0, 0), "output_padding": (2, 2)}
    assert need("conv_transpose2d", sparse, "4:6", weight=(4, 4, 1, 1)) == "1:2"
    assert need("conv_transpose2d", sparse, "35:36", weight=(4, 4, 1, 1)) == "11:12"


def test_enlarging_needs_the_rows_around() -> None:
    double = {"size": (24, 20)}
    assert need("upsample_nearest", double, "5:9") == "2:5"
    assert need("pixel_shuffle", {"factor": 2}, "5:9") == "2:5"
    bilinear = {**double, "align_corners": False}
    assert need("upsample_bilinear", bilinear, "6:8") == "2:5"
    assert need("upsample_bilinear", bilinear, "0:1") == "0:2"
    assert need("upsample_bilinear", bilinear, "23:24") == "11:12"


def test_pads_and_slices_move_rows() -> None:
    frame = {"before": (0, 0, 2, 0), "after": (0, 0, 3, 0), "mode": "constant", "value": 0.0}
    assert need("pad", frame, "1:5") == "0:3"
    assert need("pad", frame, "0:2") == "0:1"
    assert need("pad", frame, "15:17") == "11:12"
    assert need("pad", {**frame, "before": (0, 0, -2, 0)}, "1:5") == "3:7"
    assert need("slice", {"axis": 2, "start": 1, "stop": 12, "step": 3}, "1:3") == "4:8"
    assert need("slice", {"axis": 1, "start": 1, "stop": 3, "step": 1}, "1:3") == "1:3"


def test_a_map_of_one_element_serves_all_others() -> None:
    graph = Toy(x=MAP, gate=(1, 4, 1, 1), row=(1, 1, 1, 10)).add("y", "mul", "gate x")
    built = graph.add("z", "add", "y row").graph()
    wanted = rect("2:5", "3:7")
    assert needs(built.ops[0], built, wanted) == (rect("0:1", "0:1"), wanted)
    assert needs(built.ops[1], built, wanted) == (wanted, rect("0:1", "3:7"))


@pytest.mark.parametrize(
    ("kind", "attrs", "weights", "said"),
    [
        ("linear", {}, {"weight": (3, 10)}, "multiplies whole vectors"),
        ("mean", {"axes": (2, 3), "keepdim": True}, {}, "goes along rows or columns"),
        ("mean", {"axes": (1,), "keepdim": False}, {}, "which is no map"),
        ("softmax", {"axis": 3}, {}, "goes along rows or columns"),
        ("reshape", {"shape": (1, 480)}, {}, "another meaning"),
        ("group_norm", {"groups": 2, "eps": 1e-5}, {}, "norms over rows"),
        ("adaptive_avg_pool2d", {"size": (1, 1)}, {}, "size of the whole map"),
        ("add", {}, {"right": (12, 1)}, "varies over rows"),
        ("add", {}, {"left": (10,)}, "varies over rows"),
        ("upsample_nearest", {"size": (18, 20)}, {}, "whole factor"),
        ("upsample_nearest", {"size": (24, 20), "scale": (2.1, 2.0)}, {}, "whole factor"),
        ("upsample_nearest", {"size": (492, 10)}, {}, "rounding decides"),
        ("upsample_nearest", {"size": (12 << 20, 10)}, {}, "more than"),
        ("upsample_bilinear", {"size": (36, 20), "align_corners": False}, {}, "power of two"),
        ("upsample_bilinear", {"size": (24, 20), "align_corners": True}, {}, "aligns corners"),
        ("pad", {"before": (0, 0, 1, 1), "after": (0, 0, 1, 1), "mode": "reflect", "value": 0.0},
         {}, "along the end of the map"),
    ],
)  # fmt: skip
def test_an_op_that_has_no_tiles_says_why(kind: str, attrs: Any, weights: Any, said: str) -> None:
    graph = Toy(x=MAP).add("y", kind, "x", attrs, **weights).graph()
    assert said in why_not(graph.ops[0], graph)
    with pytest.raises(TileError, match=r"y .*cannot be made in tiles"):
        needs(graph.ops[0], graph, rect("0:1", "0:1"))


def test_elementwise_ops_with_constants_for_channels_have_tiles() -> None:
    toy = Toy(x=MAP).add("a", "add", "x", left=(4, 1, 1)).add("b", "mul", "a", right=(1,))
    graph = toy.add("c", "adaptive_max_pool2d", "b", {"size": (12, 10)}).graph()
    assert [why_not(op, graph) for op in graph.ops] == ["", "", ""]


# --- windows against brute force ----------------------------------------------------------------

LENGTHS, SPANS, STRIDES = st.integers(1, 20), st.integers(1, 7), st.integers(1, 4)


def touched(windows: Any, length: int) -> set[int]:
    """Rows of the map that any of the windows (first, last) holds."""
    return {row for first, last in windows for row in range(max(0, first), min(length, last))}


@given(LENGTHS, SPANS, STRIDES, st.integers(-3, 6), st.integers(0, 12), st.integers(1, 6))
def test_a_window_needs_the_rows_it_touches(
    length: int, span: int, stride: int, padding: int, first: int, count: int
) -> None:
    starts = [row * stride - padding for row in range(first, first + count)]
    ends = [touched([(start, start + span)], length) for start in (starts[0], starts[-1])]
    rows = touched([(start, start + span) for start in starts], length)
    piece = Window(length, span, stride, padding).piece(first, first + count)
    assert 0 <= piece.lo < piece.hi <= length
    assert rows <= set(range(piece.lo, piece.hi))
    if all(ends):
        assert (piece.lo, piece.hi) == (min(ends[0]), max(ends[1]) + 1)
    assert piece.before == 0 or piece.lo == 0 or piece.skip
    assert piece.after == 0 or piece.hi == length
    assert piece.lo - piece.before + piece.skip * stride == starts[0]
    assert piece.hi + piece.after >= starts[-1] + span


@given(LENGTHS, SPANS, STRIDES, st.integers(0, 3), st.integers(0, 12), st.integers(1, 6))
def test_a_pool_needs_less_than_a_stride_more_and_only_where_it_overhangs(
    length: int, span: int, stride: int, padding: int, first: int, count: int
) -> None:
    exact = Window(length, span, stride, padding).piece(first, first + count)
    if exact.skip or exact.hi - exact.lo < 1 or padding > span // 2:
        return
    piece = Pool(length, span, stride, padding).piece(first, first + count)
    if not exact.before and not exact.after:
        assert piece == exact
    else:
        assert 0 <= exact.lo - piece.lo < stride
        assert piece.hi == exact.hi
        assert piece.lo == (first - piece.skip) * stride


@given(LENGTHS, SPANS, STRIDES, st.integers(0, 3), st.integers(0, 30), st.integers(1, 6))
def test_a_transposed_convolution_needs_all_rows_that_reach_the_wanted(
    length: int, span: int, stride: int, padding: int, first: int, count: int
) -> None:
    wanted = range(first, first + count)
    starts = [(row * stride - padding) for row in range(length)]
    reaching = {row for row, at in enumerate(starts) if set(range(at, at + span)) & set(wanted)}
    piece = Transposed(length, span, stride, padding).piece(first, first + count)
    assert 0 <= piece.lo < piece.hi <= length
    assert reaching <= set(range(piece.lo, piece.hi))
    assert (piece.hi - piece.lo) - len(reaching) <= 1
    assert piece.skip == first - starts[piece.lo] >= 0
    assert (piece.hi - piece.lo - 1) * stride + span + piece.after >= piece.skip + count


@given(LENGTHS, st.sampled_from([1, 2, 4, 8]), st.data())
def test_enlarged_rows_come_from_the_rows_around(length: int, factor: int, data: Any) -> None:
    first = data.draw(st.integers(0, length * factor - 1))
    last = data.draw(st.integers(first + 1, length * factor))
    assert Zoom(factor).need(first, last) == (first // factor, (last - 1) // factor + 1)
    places = [max(0.0, (row + 0.5) / factor - 0.5) for row in (first, last - 1)]
    low, high = Blend(length, factor).need(first, last)
    assert (low, high) == (int(places[0]), min(length, int(places[1]) + 2))


# --- regions ------------------------------------------------------------------------------------


def residual() -> Graph:
    toy = Toy(x=MAP).add("a", "conv2d", "x", CONV, weight=(4, 4, 3, 3)).add("b", "relu", "a")
    toy.add("c", "conv2d", "b", {**CONV, "stride": (2, 2)}, weight=(4, 4, 3, 3))
    toy.add("d", "max_pool2d", "b", {**POOL, "dilation": (1, 1)})
    toy.add("e", "add", "c d").add("side", "conv2d", "b", CONV, weight=(4, 4, 5, 5))
    return toy.graph("e", "side")


LAYERS = ("a", "c", "d", "e", "side")


def test_a_tensor_is_made_as_the_hull_of_what_its_readers_need() -> None:
    found = regions(residual(), LAYERS, {"e": rect("2:4", "0:5"), "side": rect("1:2", "0:2")})
    assert found["c"] == found["d"] == rect("2:4", "0:5")
    assert found["b"] == found["a"] == rect("0:8", "0:10")
    assert found["x"] == rect("0:9", "0:10")
    alone = regions(residual(), reversed(LAYERS), {"e": rect("2:4", "1:2")})  # type: ignore[arg-type]
    assert (alone["b"], alone["x"]) == (rect("3:8", "1:4"), rect("2:9", "0:5"))
    assert "side" not in alone


def test_an_output_that_is_read_too_is_made_large_enough_for_both() -> None:
    wanted = {"e": rect("2:4", "0:5"), "b": rect("0:2", "3:4")}
    found = regions(residual(), LAYERS, wanted)
    assert found["b"] == rect("0:8", "0:10")
    cutout = cut_out(residual(), LAYERS, wanted)
    assert cutout.graph.tensors["b"].shape == (1, 4, 2, 1)


def test_bad_tiles_are_refused_by_name() -> None:
    graph = Toy(x=MAP).add("a", "relu", "x").add("mix", "softmax", "a", {"axis": 2}).add(
        "flat", "reshape", "mix", {"shape": (1, 480)}
    ).graph()  # fmt: skip
    layers = ("a", "mix", "flat")
    for name, tile, said in [
        ("mix", rect("0:2"), "mix .softmax. cannot be made in tiles: it goes along"),
        ("a", rect("0:13"), "tile 0:13,0:10 of a is empty or outside of the map 0:12,0:10"),
        ("a", rect("3:3"), "tile 3:3,0:10 of a is empty"),
        ("flat", rect("0:1", "0:1"), "flat .* is no map"),
        ("ghost", rect("0:1"), "no tensor 'ghost'"),
        ("x", rect("0:1"), "x is made by none of the layers"),
    ]:
        with pytest.raises(TileError, match=said) as caught:
            regions(graph, layers, {name: tile})
        assert caught.value.exit_code == 2
    with pytest.raises(TileError, match="a is made by none"):
        regions(graph, ("mix",), {"a": rect("0:1")})
    with pytest.raises(ModelError, match="no layer 'ghost'"):
        regions(graph, ("ghost",), {"a": rect("0:1")})


# --- stretches ----------------------------------------------------------------------------------


def test_a_network_falls_into_stretches_and_layers_with_reasons() -> None:
    toy = Toy(x=MAP).add("a", "conv2d", "x", CONV, weight=(4, 4, 3, 3)).add("b", "relu", "a")
    toy.add("pooled", "mean", "b", {"axes": (2, 3), "keepdim": True})
    toy.add("squeezed", "conv2d", "pooled", CONV, weight=(4, 4, 3, 3)).add(
        "gate", "mul", "b squeezed"
    )
    toy.add("sum", "mean", "gate", {"axes": (2, 3), "keepdim": False})
    graph = toy.add("end", "relu", "sum").graph()
    first, second = stretches(graph)
    assert (first.start, first.stop, first.layers) == (0, 1, ("a",))
    assert (first.inputs, first.outputs) == (("x",), ("b",))
    assert (second.start, second.stop, second.layers) == (3, 4, ("gate",))
    assert second.inputs == ("b", "squeezed")
    reasons = {layer.name: why_no_tiles(layer, graph) for layer in graph.layers}
    assert reasons == {
        "a": "",
        "pooled": "pooled (mean) goes along rows or columns",
        "squeezed": "squeezed is one element a channel: nothing to divide",
        "gate": "",
        "sum": "sum (mean) has sum (1, 4), which is no map (N, C, rows, columns)",
    }  # fmt: skip


# --- grids --------------------------------------------------------------------------------------


def test_grids_by_hand() -> None:
    assert even(7, 4, 3, 1) == (rect("0:2", "0:4"), rect("2:5", "0:4"), rect("5:7", "0:4"))
    assert even(2, 3, 5, 2) == (
        rect("0:1", "0:2"), rect("0:1", "2:3"), rect("1:2", "0:2"), rect("1:2", "2:3")
    )  # fmt: skip
    assert uneven(8, 4, (2, 1, 1), (1,)) == tuple(rect(r, "0:4") for r in ("0:4", "4:6", "6:8"))
    assert uneven(4, 4, (1, 0, 1), (1,)) == (rect("0:2", "0:4"), rect("2:4", "0:4"))
    assert bounds(4, (1, 0, 1)) == (0, 2, 2, 4)
    assert scaled(rect("2:5", "0:4"), (7, 4), (14, 2)) == rect("4:10", "0:2")
    assert scaled(rect("0:2", "0:4"), (7, 4), (1, 1)) is None


SIDE, COUNT = st.integers(1, 40), st.integers(1, 9)
SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=6).filter(lambda shares: sum(shares) > 0)


@given(SIDE, SIDE, COUNT, COUNT)
def test_an_even_grid_has_the_wanted_tiles_of_near_equal_size(
    rows: int, columns: int, down: int, across: int
) -> None:
    tiles = even(rows, columns, down, across)
    assert len(tiles) == min(down, rows) * min(across, columns)
    heights = {tile.bottom - tile.top for tile in tiles}
    assert max(heights) - min(heights) <= 1


@given(SIDE, SIDE, SHARES, SHARES, SIDE, SIDE)
def test_a_grid_holds_every_element_once_on_a_map_of_any_size(
    rows: int, columns: int, down: list[float], across: list[float], other: int, wide: int
) -> None:
    tiles = uneven(rows, columns, down, across)
    assert not uncovered(Rect(0, rows, 0, columns), tiles)
    assert min(map(area, tiles)) >= 1
    again = [scaled(tile, (rows, columns), (other, wide)) for tile in tiles]
    assert not uncovered(Rect(0, other, 0, wide), [tile for tile in again if tile is not None])


@pytest.mark.parametrize("shares", [(), (0, 0), (1, -1), (float("inf"),), (float("nan"), 1)])
def test_shares_of_nothing_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(TileError, match="not all 0"):
        bounds(4, shares)
    with pytest.raises(TileError, match="grid of 0x2"):
        even(4, 4, 0, 2)
