"""All runs of a folder as one object, and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeflow import modelfile
from edgeflow.bench.adapting import findings, judge, page
from edgeflow.bench.adapting.jobs import Job
from edgeflow.bench.adapting.made import machine
from edgeflow.bench.adapting.oracle import Table
from edgeflow.bench.adapting.scenario import CONDITIONS, PHASES

NEVER = float("inf")
TRIALS = 3
"""Frames that `profile-first` gives each cut."""


def whole(out: Path, table: Table) -> dict[str, Any]:
    """For programs; a picture of each run is drawn beside its ledger."""
    rows = []
    for run in findings.runs_in(out):
        rows.append(findings.row(run, table))
        (run.folder / "run.html").write_text(page.page(run, rows[-1], table), encoding="utf-8")
    names = dict.fromkeys(each["network"] for each in rows)
    names |= dict.fromkeys(table.times_ms)
    return {
        "machine": machine(),
        "commits": sorted({each["commit"] for each in rows}),
        "near": judge.NEAR,
        "stay_frames": judge.STAY,
        "oracle": {name: oracle(table, name) for name in names},
        "cuts": {name: cuts(out, name) for name in names},
        "runs": rows,
        "unfinished": unfinished(out),
    }


def unfinished(out: Path) -> list[str]:
    """Jobs that were begun and left no notes: they failed, or are at work just now."""
    begun = sorted(path.parent for path in out.glob("*/job.json"))
    return [folder.name for folder in begun if not (folder / "notes.json").exists()]


def oracle(table: Table, name: str) -> dict[str, Any]:
    """The best plan under every condition, and how many were measured."""
    found = {}
    for condition in table.times_ms.get(name, {}):
        ranking = table.ranking(name, condition)
        if ranking:
            found[condition] = {
                "best_ms": round(ranking[0][0] * 1e3, 1),
                "line": ranking[0][1],
                "near": sum(seconds <= judge.NEAR * ranking[0][0] for seconds, _ in ranking),
                "plans": len(ranking),
            }
    return found


def cuts(out: Path, name: str) -> int | None:
    """Single-tensor cuts of a network; None where its file is not there any more."""
    for path in out.glob(f"*-{name}-*/job.json"):
        model = Path(msgspec.json.decode(path.read_bytes(), type=Job).model)
        return len(modelfile.load(model).cuts) if model.exists() else None
    return None


# --- tables ---------------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> str:
    """For people, as Markdown."""
    lines = [f"{found['machine']}; commit {', '.join(found['commits'])}"]
    for name in found["oracle"]:
        lines += ["", f"## {name}", "", *_oracle(found["oracle"][name])]
        mine = [each for each in found["runs"] if each["network"] == name]
        lines += _converged([each for each in mine if each["kind"] == "converge"])
        lines += _ratios(mine, found["cuts"].get(name))
        lines += _followed([each for each in mine if each["kind"] == "follow"])
    lines += ["", *_ledgers(found["runs"])]
    lines += [f"{name}: NOT FINISHED, see said.log in its folder" for name in found["unfinished"]]
    return "\n".join(lines)


def _oracle(best: dict[str, Any]) -> Iterator[str]:
    yield "| condition | best, ms | plans measured | as good | best plan |"
    yield "|---|---|---|---|---|"
    order = [*CONDITIONS, *(each for each in best if each not in CONDITIONS)]
    for condition in order:
        if condition in best:
            each = best[condition]
            cells = (condition, f"{each['best_ms']:.0f}", each["plans"], each["near"], each["line"])
            yield "| " + " | ".join(str(cell).replace("|", "→") for cell in cells) + " |"


def _converged(runs: Sequence[dict[str, Any]]) -> list[str]:
    policies = list(dict.fromkeys(each["policy"] for each in runs))
    if not policies:
        return []
    repeats = max(sum(each["policy"] == policy for each in runs) for policy in policies)
    lines = [
        "",
        f"Frames (seconds) until the best plan runs; {repeats} repeats, median, range:",
        "",
    ]
    lines += [f"| phase | {' | '.join(policies)} |", "|---" * (len(policies) + 1) + "|"]
    for phase in PHASES:
        cells = [
            _cell([each for each in runs if each["policy"] == p], phase.name) for p in policies
        ]
        lines.append(f"| {phase.name} | {' | '.join(cells)} |")
    return lines


def _cell(runs: Sequence[dict[str, Any]], phase: str) -> str:
    frames, seconds = reached(runs, phase, "frames"), reached(runs, phase, "seconds")
    if not frames:
        return "–"
    middle, middle_s = statistics.median(frames), statistics.median(seconds)
    if middle == NEVER:
        return f"never ({sum(each == NEVER for each in frames)} of {len(frames)})"
    low, high = min(frames), max(frames)
    spread = f", {low:.0f}–{'never' if high == NEVER else f'{high:.0f}'}" if len(frames) > 1 else ""
    return f"{middle:.0f}{spread} ({middle_s:.1f} s)"


def reached(runs: Sequence[dict[str, Any]], phase: str, what: str) -> list[float]:
    """Frames or seconds of one phase in every run; infinite where it was never reached."""
    found = [each for run in runs for each in run["phases"] if each["phase"] == phase]
    return [NEVER if each[what] is None else each[what] for each in found]


def _ratios(runs: Sequence[dict[str, Any]], cut_count: int | None) -> list[str]:
    """Profile-first beside who measures less, cold start, in frames."""
    first = PHASES[0].name
    taken: dict[str, list[float]] = {}
    for policy in ("profile-first", "mincut", "partnner"):
        mine = [each for each in runs if (each["kind"], each["policy"]) == ("converge", policy)]
        taken[policy] = reached(mine, first, "frames")
    if not (slow := taken.pop("profile-first")):
        return []
    lines = [""]
    for policy, quick in taken.items():
        if quick:
            ends = statistics.median(slow), statistics.median(quick)
            ratio = "never" if NEVER in ends else f"{ends[0] / max(1.0, ends[1]):.1f}×"
            lines.append(
                f"{first}: profile-first takes {ratio} the frames of {policy} ({cut_count}"
                f" single-tensor cuts, {TRIALS} frames each; {len(slow)} and {len(quick)} repeats;"
                " 0 frames count as 1)"
            )
    return lines


def _followed(runs: Sequence[dict[str, Any]]) -> list[str]:
    if not runs:
        return []
    lines = [
        "",
        "| trace | policy | minutes | mean ms | × oracle | plan changes | frames | lost, failed |",
    ]
    lines.append("|---" * 8 + "|")
    for each in runs:
        ratio = "–" if each["ratio"] is None else f"{each['ratio']:.3f}"
        bad = each["lost"] + each["open"] + each["failed"]
        cells = [each[key] for key in ("trace", "policy", "minutes", "mean_ms")]
        cells += [ratio, each["switches"], each["frames"], bad]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _ledgers(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    frames = sum(each["frames"] for each in runs)
    sums = {key: sum(each[key] for each in runs) for key in (*findings.BROKEN, "failed")}
    yield f"{len(runs)} runs, {frames} frames: " + ", ".join(
        f"{n} {key}" for key, n in sums.items()
    )
    for each in runs:
        if each["broken"]:
            yield f"{each['run']}: {', '.join(f'{each[key]} {key}' for key in sums if each[key])}"
