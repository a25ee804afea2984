"""How runs of the benchmark `adapt` are judged: convergence, regret, the oracle, the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from edgeflow.bench.adapting import findings, judge, plans, report, runs
from edgeflow.bench.adapting.jobs import Job
from edgeflow.bench.adapting.judge import Ran, Reached
from edgeflow.bench.adapting.oracle import Table
from edgeflow.bench.adapting.scenario import JOINED, NOMINAL, PHASES, THIN
from edgeflow.bench.adapting.schedule import thinner
from edgeflow.errors import UsageError
from edgeflow.ledger.records import End, Expected, Head, Outcome, Submit
from edgeflow.traces import Trace
from tests.core.test_whatif import GRAPH, SCENE

CAM, CLOUD, EDGE = "a..d @cam-1", "a..d @cloud-1", "a..d @edge-2"
MACHINE = "a machine"


def frames(lines: str, *, start_s: float = 0.0, bad: tuple[int, ...] = ()) -> list[Ran]:
    """A frame each second: `c` ran on the camera, `l` on the cloud machine."""
    names = {"c": CAM, "l": CLOUD}
    return [Ran(start_s + at, 0.2, at not in bad, names[letter]) for at, letter in enumerate(lines)]


def is_cam(line: str) -> bool:
    return line == CAM


def test_frames_count_from_the_change_to_the_first_of_twenty_good_ones() -> None:
    seen = frames("l" * 7 + "c" * 20)
    assert judge.reached(seen, 3.0, 100.0, is_cam) == Reached(4, 4.0)
    assert judge.reached(seen, 2.5, 100.0, is_cam) == Reached(4, 4.5)


def test_nineteen_good_frames_are_not_for_good() -> None:
    assert judge.reached(frames("c" * 19), 0.0, 100.0, is_cam) is None
    assert judge.reached(frames("c" * 19 + "l" + "c" * 20), 0.0, 99.0, is_cam) == Reached(20, 20.0)


def test_a_failed_frame_breaks_the_run_and_a_later_phase_does_not_count() -> None:
    assert judge.reached(frames("c" * 30, bad=(5,)), 0.0, 99.0, is_cam) == Reached(6, 6.0)
    assert judge.reached(frames("c" * 30), 0.0, 19.5, is_cam) == Reached(0, 0.0)
    assert judge.reached(frames("c" * 30), 0.0, 18.5, is_cam) is None


def records(outcomes: list[tuple[int, str, str]]) -> list[Submit | Outcome]:
    """Frame 1, 2, … each second; (frame, plan, code) half a second later."""
    numbers = sorted({frame for frame, _, _ in outcomes} | {1, 2, 3})
    found: list[Submit | Outcome] = [Submit(n, "cat", float(n), 10) for n in numbers]
    for frame, plan, code in outcomes:
        sha = None if code else "0" * 64
        found.append(Outcome(frame, frame + 0.5, code, "", sha, 0.5, 1, plan))
    return found


def test_a_frame_ran_under_the_placement_of_its_outcomes_plan() -> None:
    seen = judge.ran(records([(1, "1.1@e", ""), (3, "1.2@e", "late")]), {"1.1@e": (CAM,)})
    assert [(each.line, each.ok) for each in seen] == [(CAM, True), ("", False), ("", False)]
    assert seen[0].seconds == 0.5
    assert seen[1].seconds == math.inf


def test_under_a_plan_whose_node_died_a_frame_ran_on_its_first_variant_without_it() -> None:
    acts = [(1.2, "kill host=edge-2"), (2.9, "restart host=edge-2"), (9.0, "load node=x")]
    variants = {"1.1@e": (EDGE, "a..b @cam-1 | c..d @edge-2", CAM)}
    outcomes = [(1, "1.1@e", ""), (2, "1.1@e", ""), (3, "1.1@e", "")]
    seen = judge.ran(records(outcomes), variants, judge.dead_of(acts))
    assert [each.line for each in seen] == [CAM, CAM, EDGE]
    assert judge.dead_of(acts[:1]) == [("edge-2", 1.2, math.inf)]


def test_a_line_is_laid_through_three_rates_and_never_falls() -> None:
    points = [(mbps, 0.1 + 1.2 / mbps) for mbps in (2.0, 4.0, 16.0)]
    fit = judge.fitted(points)
    assert fit == pytest.approx((0.1, 1.2))
    assert judge.fitted(points[:2]) is None
    assert judge.fitted([(2.0, 0.2), (4.0, 0.21), (16.0, 0.22)]) == (0.21, 0.0)


def test_regret_is_mean_latency_over_the_best_plans_at_the_same_moments() -> None:
    fits = [(0.2, 0.0), (0.1, 1.2)]
    assert judge.oracle_s(fits, 4.0) == pytest.approx(0.2)
    assert judge.oracle_s(fits, 50.0) == pytest.approx(0.124)
    seen = [Ran(0.0, 0.3, True, CAM), Ran(1.0, 0.1, True, CAM), Ran(2.0, 9.0, False, CAM)]
    assert judge.regret(seen, lambda at_s: 0.2 if at_s < 1 else 0.1, 0.0, 9.0) == pytest.approx(
        0.4 / 0.3
    )
    assert judge.regret(seen, lambda _: 0.2, 5.0, 9.0) is None


def test_only_another_placement_is_a_plan_change() -> None:
    committed = [(0.0, CAM), (5.0, CAM), (6.0, CLOUD), (7.0, CAM), (50.0, CLOUD)]
    assert judge.switches(committed, 1.0, 10.0) == 2


def test_the_table_knows_a_plan_after_five_frames_and_keeps_it_on_disk(tmp_path: Path) -> None:
    table = Table.load(tmp_path / "table.json", MACHINE)
    table.add("net", "nominal", CAM, [200.0, 210.0, 190.0, 205.0])
    assert table.best_s("net", "nominal") is None
    table.add("net", "nominal", CAM, [195.0])
    table.add("net", "nominal", CLOUD, [100.0] * 5)
    table.save()
    again = Table.load(tmp_path / "table.json", MACHINE)
    assert again.ranking("net", "nominal") == [(0.1, CLOUD), (0.2, CAM)]
    assert again.seconds("net", "thin", CAM) is None
    with pytest.raises(UsageError, match="measured on a machine: name another folder"):
        Table.load(tmp_path / "table.json", "another")


def test_within_five_percent_is_as_good_as_the_best_and_unknown_is_not(tmp_path: Path) -> None:
    table = Table(tmp_path / "table.json", MACHINE)
    table.add("net", "nominal", CLOUD, [100.0] * 5)
    table.add("net", "nominal", CAM, [104.9] * 5)
    table.add("net", "nominal", EDGE, [105.2] * 5)
    is_good = findings.good(table, "net", "nominal")
    assert [is_good(each) for each in (CLOUD, CAM, EDGE, "nobody's", "")] == [
        *(True, True, False, False, False)
    ]
    assert not findings.good(table, "net", "thin")(CLOUD)


def test_a_condition_is_reached_by_what_differs_and_thin_is_thinner_for_more_work() -> None:
    assert list(THIN.words(NOMINAL)) == ["link radio up_mbps=4 down_mbps=4"]
    assert list(JOINED.words(NOMINAL)) == ["restart edge-2"]
    assert list(NOMINAL.words(JOINED)) == ["kill edge-2"]
    assert THIN.scaled(4).mbps == 1
    assert NOMINAL.scaled(4) == NOMINAL
    assert thinner(Trace((0.0, 1.0), (20.0, 8.0)), 4) == Trace((0.0, 1.0), (5.0, 2.0))


def test_every_cut_between_each_pair_is_tried_unless_it_is_predicted_far_too_slow() -> None:
    cluster = SCENE.cluster()
    lines = plans.lines(GRAPH, cluster)
    inner = [cut for cut in GRAPH.cuts if cut]
    assert len(lines) == len(set(lines)) >= 3 + 3 * len(inner)
    near = plans.worth_measuring(GRAPH, cluster, frozenset())
    best = plans.predicted_s(GRAPH, cluster, near[0])
    assert all(plans.predicted_s(GRAPH, cluster, line) <= plans.PRUNE * best for line in near)
    far = set(lines) - set(near)
    assert far
    assert all(plans.predicted_s(GRAPH, cluster, line) > plans.PRUNE * best for line in far)
    assert near[0] not in plans.worth_measuring(GRAPH, cluster, frozenset(near[:1]))


def head() -> Head:
    return Head("adapt", "me", 1, 0.0, 0.0, "0" * 64, "net", "3", "box", 0, 2.0)


def folder_of(tmp_path: Path, job: Job, notes: dict[str, object], lines: str) -> Path:
    """A job that is done: a frame each second, on the camera (c) or the cloud machine (l)."""
    folder = tmp_path / job.name
    folder.mkdir()
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    told = {
        "variants": {"1.1@e": [CAM], "1.2@e": [CLOUD]},
        "committed": [[0.5, "1.1@e"], [2.5, "1.2@e"]],
        "changes": {"1.2@e": {"why": "the radio is <quick> again"}},
        "reasons": {"1.1@e": "first plan", "1.2@e": "?"},
        "acts": [],
    }
    (folder / "notes.json").write_text(json.dumps(told | notes))
    ledger: list[object] = [head(), Expected("cat", "0" * 64)]
    for at, letter in enumerate(lines, start=1):
        plan = "1.1@e" if letter == "c" else "1.2@e"
        ledger.append(Submit(at, "cat", float(at), 10))
        ledger.append(Outcome(at, at + 0.2, "", "", "0" * 64, 0.2, 1, plan))
    ledger.append(End(999.0))
    (folder / "run.ledger").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in ledger))
    return folder


def table_of(tmp_path: Path) -> Table:
    table = Table(tmp_path / "table.json", MACHINE)
    for condition, cam_ms, cloud_ms in (("nominal", 200, 100), ("thin", 200, 400)):
        table.add("net", condition, CAM, [cam_ms] * 5)
        table.add("net", condition, CLOUD, [cloud_ms] * 5)
    return table


def test_a_run_through_phases_is_told_as_rows_a_table_and_a_page(tmp_path: Path) -> None:
    job = Job("converge", "/nowhere/net.safetensors", "net", policy="mincut")
    begun = [
        {"phase": PHASES[0].name, "condition": "nominal", "moment_s": 0.9},
        {"phase": PHASES[1].name, "condition": "thin", "moment_s": 30.5},
    ]
    folder_of(tmp_path, job, {"phases": begun, "until_s": 60.5}, "cc" + "l" * 58)
    table = table_of(tmp_path)
    found = report.whole(tmp_path, table)
    (row,) = found["runs"]
    assert not row["broken"]
    assert [(each["frames"], each["ran_ms"]) for each in row["phases"]] == [(2, 100), (None, 400)]
    assert row["switches"] == 1
    told = report.table(found)
    assert f"| {PHASES[0].name} | 2 (2.1 s) |" in told
    assert f"| {PHASES[1].name} | never (1 of 1) |" in told
    assert "60 frames: 0 lost" in told
    assert "NOT FINISHED" not in told
    (tmp_path / job.name / "notes.json").unlink()
    found = report.whole(tmp_path, table)
    assert not found["runs"]
    assert f"{job.name}: NOT FINISHED" in report.table(found)
    shown = (tmp_path / job.name / "run.html").read_text()
    assert "the radio is &lt;quick&gt; again" in shown
    assert "http" not in shown.replace("http-equiv", "")
    assert shown.count("<circle") == 60


def test_a_plan_that_ran_and_nobody_measured_is_named_for_measuring(tmp_path: Path) -> None:
    job = Job("converge", "/nowhere/net.safetensors", "net", policy="hpa")
    begun = [{"phase": PHASES[0].name, "condition": "nominal", "moment_s": 0.5}]
    folder = folder_of(tmp_path, job, {"phases": begun, "until_s": 30.0}, "cccc" + "l" * 20)
    table = Table(tmp_path / "table.json", MACHINE)
    assert runs.unknown(folder, "net", table) == [("nominal", CLOUD)]
    table.add("net", "nominal", CLOUD, [100.0] * 5)
    assert runs.unknown(folder, "net", table) == []


def test_what_a_job_measured_is_put_into_the_table_once(tmp_path: Path) -> None:
    job = Job("measure", "/nowhere/net.safetensors", "net", condition="cloud busy")
    folder = tmp_path / job.name
    folder.mkdir()
    (folder / "notes.json").write_text("{}")
    found = {CAM: {"times_ms": [200.0] * 6}, CLOUD: {"times_ms": [], "refused": "no room"}}
    (folder / "found.json").write_text(json.dumps(found))
    measured = runs.Runs(tmp_path, tmp_path / "no.toml", Table(tmp_path / "table.json", MACHINE))
    measured.measure(job)
    measured.measure(job)
    again = Table.load(tmp_path / "table.json", MACHINE)
    assert again.times_ms == {"net": {"cloud busy": {CAM: [200.0] * 6}}}


class Noisy(runs.Runs):
    """In place of a lab: each stay in it is a little quicker or slower for each plan."""

    stays_ms: ClassVar = [
        {CAM: 200.0, CLOUD: 190.0, EDGE: 300.0},
        {CAM: 200.0, CLOUD: 205.0, EDGE: 300.0},
    ]

    def do(self, job: Job) -> None:
        folder = self.out / job.name
        folder.mkdir()
        now = self.stays_ms[len(list(self.out.iterdir())) - 1]
        lines = job.wanted or tuple(now)
        found = {line: {"times_ms": [now[line]] * job.counted} for line in lines}
        (folder / "found.json").write_text(json.dumps(found))


def test_plans_close_to_the_best_are_measured_again_before_one_is_called_the_best(
    tmp_path: Path,
) -> None:
    table = Table(tmp_path.parent / "table.json", MACHINE)
    job = Job("measure", "/nowhere/net.safetensors", "net", condition="thin")
    Noisy(tmp_path, tmp_path / "no.toml", table).measure(job)
    counts = {line: len(each) for line, each in table.times_ms["net"]["thin"].items()}
    assert counts == {CAM: 36, CLOUD: 36, EDGE: 12}
    assert table.ranking("net", "thin")[0] == (0.2, CAM)
    assert table.unsure("net", "thin") == ()
    table.add("net", "nominal", CLOUD, [100.0] * 12)
    table.add("net", "nominal", CAM, [200.0] * 12)
    assert table.unsure("net", "nominal") == (), "the best stands alone"


def test_a_run_along_a_trace_has_its_regret(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("seconds,mbps\n0,50\n20,4\n40,4\n")
    job = Job("follow", "/no.safetensors", "net", trace="t", trace_file=str(tmp_path / "t.csv"))
    folder_of(tmp_path, job, {"from_s": 0.5, "until_s": 30.5}, "l" * 30)
    table = table_of(tmp_path)
    assert report.whole(tmp_path, table)["runs"][0]["ratio"] is None
    for mbps, cloud_ms in (("8 Mbit/s", 226.1), ("16 Mbit/s", 151.6)):
        table.add("net", mbps, CAM, [200.0] * 5)
        table.add("net", mbps, CLOUD, [cloud_ms] * 5)
    (row,) = report.whole(tmp_path, table)["runs"]
    # 20 frames at 50 Mbit/s: the cloud machine's 0.1 s; 10 at 4: the camera's 0.2; all took 0.2.
    assert row["ratio"] == pytest.approx(0.2 / ((20 * 0.1 + 10 * 0.2) / 30), rel=0.03)
    assert "| t | mincut |" in report.table(report.whole(tmp_path, table))
