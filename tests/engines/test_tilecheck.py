"""Segments in tiles are the whole segments: on integers bit for bit, else up to rounding."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its common name

from edgeflow import modelfile
from edgeflow.audit import integers, tilecheck
from edgeflow.audit.tilecheck import GridReport, Report, Subject
from edgeflow.audit.trials import LONGER, parse_grids, sections
from edgeflow.cli.main import main
from edgeflow.errors import EdgeflowError, ModelError, UsageError
from edgeflow.executors import build
from edgeflow.exporter import export, zoo
from edgeflow.messages import Rect
from edgeflow.model.graph import Array, Graph, Op

GRIDS = "2x1,2x2,uneven"
MAKE = partial(build, threads=1)


class Oddities(nn.Module):
    """What the papers' networks have least of, on maps of odd sizes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 0))
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 3, padding=(2, 2), dilation=2, groups=4)
        self.gate = nn.Conv2d(8, 8, 1)
        self.back = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.last = nn.Conv2d(10, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Of (1, 3, 47, 41): maps at five sizes, and a vector."""
        x = F.leaky_relu(self.stem(x), 0.1)
        a = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        b = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        c = F.avg_pool2d(b, 3, 2, 1, ceil_mode=True)
        c = F.pad(c, (0, 1, 2, 0), value=1.5)
        d = self.wide(F.pad(c, (1, 2, 0, 1))).sigmoid() * self.gate(F.pad(c, (1, 2, 0, 1)))
        e = self.norm(a.relu() * 0.3 - a)
        up = F.interpolate(d, scale_factor=2.0, mode="bilinear")
        f = torch.cat([self.back(d), F.pixel_shuffle(up, 2)[:, :, 1::2, 1::2]], 1)
        return self.last(f), e, b, c, F.silu(up), f.mean((2, 3))


@pytest.fixture(scope="module")
def oddities() -> Graph:
    return export(Oddities().eval(), [torch.zeros(1, 3, 47, 41)], name="oddities")


@pytest.fixture(scope="module")
def detector() -> Graph:
    return export(zoo.detector(size=128, width=8), name="detector")


def network(architecture: str) -> Graph:
    return export(zoo.pytorchcv(architecture, uint8=False), name=architecture)


def check_both_ways(graph: Graph, grids: str, longer: int = 1) -> tuple[Report, Report]:
    exact = tilecheck.check(graph, grids, longer=longer, exact=True)
    assert exact.failures == exact.skipped == ()
    assert [row.mismatches for row in exact.grids] == [0] * len(exact.grids)
    assert exact.flat == 0, "maps that do not vary would prove nothing"
    close = tilecheck.check(graph, grids, longer=longer)
    assert close.failures == ()
    assert max(row.max_rel_diff for row in close.grids) < 1e-5
    assert [row.elements for row in close.grids] == [row.elements for row in exact.grids]
    return exact, close


def test_tiles_of_a_detector_with_seven_outputs(detector: Graph) -> None:
    exact, close = check_both_ways(detector, GRIDS)
    assert len(detector.outputs) == 7
    assert exact.segments == close.segments == len(sections(detector, 1)) >= 5
    assert exact.stand_ins["silu"] == "relu"
    assert all(row.recomputed > 0 and row.halo_max > 0 for row in close.grids)


def test_tiles_of_what_networks_have_least_of(oddities: Graph) -> None:
    exact, _ = check_both_ways(oddities, "2x1,5x1,1x3,3x3,uneven")
    kinds = {op.kind for section in sections(oddities) for op in ops_of(oddities, section.layers)}
    assert {"avg_pool2d", "max_pool2d", "conv_transpose2d", "upsample_bilinear"} < kinds
    assert {"pixel_shuffle", "slice", "pad", "batch_norm", "leaky_relu"} < kinds
    assert exact.stand_ins["avg_pool2d"] == "its integer part"


def test_a_detector_of_a_size_whose_maps_do_not_meet_is_refused() -> None:
    for size in (0, 100):
        with pytest.raises(UsageError, match="multiple of 32"):
            zoo.detector(size=size)


@pytest.mark.parametrize("architecture", ["squeezenet_v1_0", "shufflenet_g2_w1"])
def test_tiles_of_the_papers_networks(architecture: str) -> None:
    check_both_ways(network(architecture), "2x1,3x3")


def ops_of(graph: Graph, layers: tuple[str, ...]) -> list[Op]:
    return [op for name in layers for op in graph.layer(name).ops]


def subject_of(graph: Graph, exact: bool) -> Subject:
    """The first stretch, run whole."""
    (section, *_) = sections(graph, 0)
    if exact:
        return tilecheck.on_integers(graph, section, MAKE, seed=1)
    return Subject(section, graph, tilecheck.whole_run(graph, [section], MAKE, seed=1))


def stitched(subject: Subject) -> tuple[dict[str, Array], dict[str, list[Rect]]]:
    """Maps as they should be, and the one tile that each was made of."""
    names = subject.section.leaving
    maps = {name: subject.tensors[name].copy() for name in names}
    return maps, {name: [Rect(0, m.shape[2], 0, m.shape[3])] for name, m in maps.items()}


@pytest.mark.parametrize("exact", [True, False], ids=["integers", "own weights"])
def test_a_row_of_a_wrong_tile_is_found(detector: Graph, exact: bool) -> None:
    subject, grid = subject_of(detector, exact), GridReport("1x1")
    maps, rects = stitched(subject)
    assert tilecheck.judge(subject, maps, rects, grid) == []
    name = subject.section.leaving[0]
    maps[name][:, :, 3] = maps[name][:, :, 4]
    (text,) = tilecheck.judge(subject, maps, rects, grid)
    assert f"elements of {name} differ" in text
    assert 0 < grid.mismatches <= maps[name][:, :, 3].size


def test_a_single_bit_fails_on_integers_and_is_rounding_on_the_own_weights(
    detector: Graph,
) -> None:
    for exact, failures in ((True, 1), (False, 0)):
        subject, grid = subject_of(detector, exact), GridReport("1x1")
        maps, rects = stitched(subject)
        flat = maps[subject.section.leaving[-1]].reshape(-1)
        at = int(np.abs(flat).argmax())
        flat[at] = np.nextafter(flat[at], np.inf)
        assert len(tilecheck.judge(subject, maps, rects, grid)) == failures
        assert (grid.mismatches, grid.max_ulp) == (1, 1)


def test_tiles_that_leave_a_gap_or_overlap_are_named(detector: Graph) -> None:
    subject = subject_of(detector, True)
    maps, rects = stitched(subject)
    name = subject.section.leaving[0]
    (whole,) = rects[name]
    for wrong, told in (
        ([replace_bottom(whole, whole.bottom - 1)], "are in none"),
        ([whole, replace_bottom(whole, 1)], "overlap"),
    ):
        (text,) = tilecheck.judge(subject, maps, {**rects, name: wrong}, GridReport("1x1"))
        assert f"{name} is not covered once" in text
        assert told in text


def replace_bottom(rect: Rect, bottom: int) -> Rect:
    return Rect(rect.top, bottom, rect.left, rect.right)


def test_more_tiles_than_rows_become_fewer_and_are_counted(detector: Graph) -> None:
    report = tilecheck.check(detector, "40x1", longer=0, exact=True)
    (row,) = report.grids
    assert not report.failed
    assert row.runs == report.segments
    assert row.tiles < row.tiles_wanted == 40 * row.runs


def test_segments_are_stretches_their_pieces_and_some_longer_ones() -> None:
    graph = network("squeezenet_v1_0")
    place = {layer.name: at for at, layer in enumerate(graph.layers)}
    spans = [(place[each.layers[0]], place[each.layers[-1]] + 1) for each in sections(graph, "all")]
    pieces = [span for span in spans if not any(span[0] < cut < span[1] for cut in graph.cuts)]
    inner = [start for start, _ in pieces]
    assert pieces[0][0] == 0
    assert [stop for _, stop in pieces[:-1]] == inner[1:]
    assert len(spans) == len(pieces) * (len(pieces) + 1) // 2, "any two cuts, once each"
    assert (0, pieces[-1][1]) in spans
    assert len(sections(graph, 3)) == len(pieces) + 1 + 3
    assert len(sections(graph)) == len(pieces) + 1 + LONGER
    for wrong in ("some", "-1", "1.5"):
        with pytest.raises(UsageError, match="give `all`, or how many"):
            sections(graph, wrong)


@pytest.mark.parametrize("text", ["2", "2x", "0x3", "x", "2x-1", "rows", "2x1;3x1", "99x99"])
def test_what_is_no_grid_is_told_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no grid: give ROWSxCOLUMNS.*uneven"):
        parse_grids(text)
    with pytest.raises(UsageError, match="no grid"):
        parse_grids(" , ")


# --- whole numbers ------------------------------------------------------------------------------


def run_all(twin: integers.Twin, layers: tuple[str, ...]) -> dict[str, Array]:
    outputs = tuple(twin.graph.layer(name).output for name in layers)
    return build(twin.graph, layers, twin.graph.arrays, threads=1, outputs=outputs).run(twin.inputs)


@pytest.mark.parametrize("which", ["detector", "oddities"])
def test_a_twin_holds_whole_numbers_below_its_bound(
    which: str, request: pytest.FixtureRequest
) -> None:
    graph: Graph = request.getfixturevalue(which)
    for section in sections(graph):
        twin = integers.twin(graph, section.layers, seed=5)
        assert twin.bound <= integers.EXACT_BELOW[twin.dtype]
        for name, array in run_all(twin, section.layers).items():
            assert array.dtype == twin.dtype
            assert (array == np.rint(array)).all(), name
            assert np.abs(array).max() <= twin.bound, name


def test_sums_in_float32_are_those_in_float64(detector: Graph) -> None:
    section = sections(detector, 0)[-1]
    twin = integers.twin(detector, section.layers, seed=5)
    assert twin.dtype == "float32"
    wide = integers.Twin(
        replace(
            integers.whole_numbers(detector, "float64"),
            arrays={name: array.astype(np.float64) for name, array in twin.graph.arrays.items()},
        ),
        {name: array.astype(np.float64) for name, array in twin.inputs.items()},
        *("float64", twin.taps, twin.bound),
    )
    ours, theirs = run_all(twin, section.layers), run_all(wide, section.layers)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_a_deep_stack_is_reckoned_in_float64_and_a_deeper_one_refused() -> None:
    def stack(depth: int) -> Graph:
        convs = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)]
        return export(nn.Sequential(*convs), [torch.zeros(1, 1, 9, 9)], name="stack")

    def sums(depth: int) -> nn.Module:
        class Doubled(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                for _ in range(depth):
                    x = x + x
                return x

        return Doubled()

    shallow, deep = stack(2), stack(24)
    assert integers.twin(shallow, [layer.name for layer in shallow.layers], 0).dtype == "float32"
    twin = integers.twin(deep, [layer.name for layer in deep.layers], 0)
    assert (twin.dtype, twin.taps) == ("float64", 4)
    graph = export(sums(60), [torch.zeros(1, 1, 9, 9)], name="doubled")
    with pytest.raises(ModelError, match="check these layers without integers"):
        integers.twin(graph, [layer.name for layer in graph.layers], 0)
    report = tilecheck.check(graph, "2x1", longer=0, exact=True)
    assert report.skipped, "the whole of it"
    assert not report.failed


@pytest.mark.parametrize("transposed", [False, True])
def test_every_sum_of_a_convolution_has_so_many_taps(transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    graph = export(kind(8, 12, 3, groups=2, bias=False), [torch.zeros(1, 8, 9, 9)], name="conv")
    (layer,) = graph.layers
    assert integers.twin(graph, [layer.name], 0).taps > 36, "one alone has all"
    arrays = integers.small_integers(graph, layer.ops, 5, np.random.default_rng(0))
    ((_, array),) = arrays
    blocks = array.reshape(2, 4, 6, 9) if transposed else array.reshape(2, 6, 4, 9).swapaxes(1, 2)
    np.testing.assert_array_equal((blocks != 0).sum((1, 3)), 5)
    assert set(np.unique(array)) == {-1, 0, 1}


# --- the command line ---------------------------------------------------------------------------


def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    monkeypatch.setattr(sys, "argv", ["edgeflow", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


@pytest.fixture
def model(detector: Graph, tmp_path: Path) -> Path:
    modelfile.save(detector, tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors"


def last_object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_verify_tiles_prints_a_table_or_an_object(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("verify", model, "--tiles", "2x1,uneven", "--segments", "0")
    code, text, _ = shell(monkeypatch, capsys, *words, "--integers", "--json")
    told = last_object(text)
    assert (code, told["equal"], told["integers"], told["failed"]) == (0, True, True, 0)
    assert [row["grid"] for row in told["grids"]] == ["2x1", "uneven"]
    assert [row["mismatches"] for row in told["grids"]] == [0, 0]
    assert all(row["recomputed"] > 0 for row in told["grids"])
    code, text, _ = shell(monkeypatch, capsys, *words)
    assert (code, "off by at most 5e-05" in text) == (0, True)


def test_verify_tiles_ends_with_1_where_a_tile_is_wrong(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = tilecheck.put

    def shifted(array: Array, rect: Rect, part: Array) -> None:
        honest(array, rect, np.roll(part, 1, axis=2) if rect.top else part)

    monkeypatch.setattr(tilecheck, "put", shifted)
    for mode in ((), ("--integers",)):
        words = ("verify", model, "--tiles", "2x1", "--json", "--segments", "0", *mode)
        code, text, told = shell(monkeypatch, capsys, *words)
        assert code == 1
        assert "tiles differ from the whole in" in told
        report = last_object(text)
        assert not report["equal"]
        assert report["failed"] > 0
        assert "in 2x1: " in report["failures"][0]


def test_verify_says_which_options_go_together(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, cure in (
        (("--integers",), "add --tiles"),
        (("--segments", "all"), "add --tiles"),
        (("--tiles", "2x1", "--cuts", "all"), "one at a time"),
        (("--tiles", "two"), "'two' is no grid"),
    ):
        code, _, told = shell(monkeypatch, capsys, "verify", model, *words)
        assert (code, cure in told) == (2, True)


def test_show_tiles_tells_stretches_and_what_ends_them(
    oddities: Graph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    modelfile.save(oddities, tmp_path / "odd.safetensors")
    code, text, _ = shell(monkeypatch, capsys, "show", tmp_path / "odd.safetensors", "--tiles")
    assert code == 0
    assert "stem.." in text
    words = ("show", tmp_path / "odd.safetensors", "--tiles", "--json")
    told = last_object(shell(monkeypatch, capsys, *words)[1])
    first, end = told["stretches"][0], told["ends"][-1]
    assert first["first"] == "stem"
    assert first["entering"] == [{"name": "x", "rows": 47, "columns": 41}]
    assert first["halo_rows"] > 0
    assert 0 < sum(row["share"] for row in told["stretches"]) <= 1
    tiled = sum(row["layers"] for row in (*told["stretches"], *told["ends"]))
    assert tiled == len(oddities.layers), "every layer is in one table"
    assert end["why"].startswith("mean ")


def test_a_verdict_on_failures_names_the_first(detector: Graph) -> None:
    report = Report("…", 1, 1, [], {})
    tilecheck.verdict(report)
    for at in range(tilecheck.FAILURES_MAX + 1):
        report.fail(f"case {at}")
    assert len(report.failures) == tilecheck.FAILURES_MAX
    with pytest.raises(EdgeflowError, match=r"in 101 cases: case 0; case 1") as caught:
        tilecheck.verdict(report)
    assert caught.value.exit_code == 1
