"""A row's figures out of what its process left on disk; as a table, and as one object."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeflow.bench.outage import verdict
from edgeflow.bench.outage.rows import Row
from edgeflow.bench.outage.verdict import Frame, Noted
from edgeflow.bench.rivals import machine
from edgeflow.io import ledgerfile
from edgeflow.ledger.judge import Figures, judge, quantile
from edgeflow.ledger.records import AnyRecord

RETURN_S = 2.5
"""Nobody is blamed for so long after the broker is back: the largest pause before a node connects
again, and a beat."""
BROKEN = ("lost", "open", "duplicated", "unknown", "wrong")


def row(row: Row, folder: Path, failure: str) -> dict[str, Any]:
    """The figures of a row; without its notes, only what went wrong."""
    ledgers = [ledgerfile.read(path) for path in sorted(folder.glob("*.ledger"))]
    figures = [judge(records) for records in ledgers]
    found = {"row": row.name, "about": row.about, "failure": failure} | _counts(figures)
    path = folder / "notes.json"
    if path.exists():
        notes = json.loads(path.read_text())
        found |= _beside(notes) | _recovered(row, ledgers, notes)
    else:
        found["failure"] = failure or "it left no notes"
    sums = sum(found[key] for key in BROKEN)
    too_many = row.costs_nothing and sum(found["errors"].values())
    return found | {
        "broken": bool(sums or found["failure"]),
        "promise_kept": not (sums or too_many),
    }


def _counts(figures: Sequence[Figures]) -> dict[str, Any]:
    """Sums over the row's ledgers."""
    frames = sum(each.submitted for each in figures)
    errors: Counter[str] = Counter()
    for each in figures:
        errors.update(each.errors)
    sums = {
        key: sum(getattr(each, key) or 0 for each in figures)
        for key in ("lost", "open", "duplicated", "unknown", "wrong", "judged", "retried", "good")
    }
    return {
        "frames": frames,
        **sums,
        "bound_percent": round(verdict.bound_percent(frames), 3),
        "success_rate": sums["good"] / frames if frames else 0.0,
        "errors": dict(sorted(errors.items())),
        "latency_ms_p50": figures[-1].latency_ms_p50 if figures else None,
        "latency_ms_p99": figures[-1].latency_ms_p99 if figures else None,
    }


def _beside(notes: dict[str, Any]) -> dict[str, Any]:
    """Of leaders and plans."""
    noted, from_s, until_s = _noted(notes), notes["from_s"], notes["until_s"]
    return {
        "leaderless_s": round(verdict.leaderless_s(noted, from_s, until_s), 2),
        "leader_changes": verdict.leader_changes(noted, from_s, until_s),
        "placement": notes["placement"],
        "placement_after": notes["placement_after"],
        "acts": [[round(at_s - from_s, 2), said] for at_s, said in notes["acts"]],
    }


def _noted(notes: dict[str, Any]) -> Noted:
    deaf, since_s = [], math.inf
    for at_s, is_deaf in sorted(notes["deaf"]):
        if is_deaf:
            since_s = min(since_s, at_s)
        elif since_s < math.inf:
            deaf.append((since_s, at_s + RETURN_S))
            since_s = math.inf
    if since_s < math.inf:
        deaf.append((since_s, notes["until_s"]))
    beats = tuple((at_s, node, term) for at_s, node, term in notes["beats"])
    return Noted(tuple(notes["moments_s"]), beats, tuple(deaf))


def _recovered(
    row: Row, ledgers: Sequence[Sequence[AnyRecord]], notes: dict[str, Any]
) -> dict[str, Any]:
    steady = verdict.frames_of(ledgers[-1])
    moments_s = notes["moments_s"]
    limit_s = verdict.late_s(steady)
    found: dict[str, Any] = {}
    if row.overload:
        limit_s = verdict.late_s([each for each in steady if each.at_s < moments_s[0]])
        everyone = [each for ledger in ledgers for each in verdict.frames_of(ledger)]
        found, moments_s = _under_load(everyone, notes), [notes["over_until_s"]]
    recoveries = verdict.recoveries(steady, moments_s, limit_s)
    known = sorted(each for each in recoveries if each is not None)
    silences = sorted(verdict.silences(steady, moments_s, recoveries))
    return found | {
        "late_ms": round(limit_s * 1e3, 1),
        "faults": len(moments_s),
        "not_recovered": len(recoveries) - len(known),
        "recovery_s_p50": _rounded(quantile(known, 0.5)),
        "recovery_s_p99": _rounded(quantile(known, 0.99)),
        "silence_s_p50": _rounded(quantile(silences, 0.5)),
        "silence_s_p99": _rounded(quantile(silences, 0.99)),
        "recoveries_s": [_rounded(each) for each in recoveries],
    }


def _under_load(everyone: Sequence[Frame], notes: dict[str, Any]) -> dict[str, Any]:
    """Good answers a second while too many came, over the capacity."""
    from_s, until_s = notes["over_from_s"], notes["over_until_s"]
    good = sum(each.ok and from_s <= each.ended_s < until_s for each in everyone)
    goodput_fps = good / (until_s - from_s)
    return {
        "capacity_fps": round(notes["capacity_fps"], 1),
        "offered_fps": round(notes["over_fps"], 1),
        "goodput_fps": round(goodput_fps, 1),
        "goodput_share": round(goodput_fps / notes["capacity_fps"], 3),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def whole(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For programs."""
    return {"machine": machine(), "late_medians": verdict.LATE_MEDIANS, "rows": list(rows)}


HEAD = (
    "row",
    "N",
    "lost",
    "dup",
    "wrong",
    "each <",
    "success",
    "errors",
    "faults",
    "silent p50/p99 s",
    "back p50/p99 s",
    "leaderless s",
    "changes",
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people, as Markdown."""
    lines = [machine(), "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    lines += [f"| {' | '.join(_cells(each))} |" for each in rows]
    for each in rows:
        if "goodput_share" in each:
            lines.append("")
            lines.append(f"{each['row']}: {_load_sentence(each)}")
    lines += [f"{each['row']} FAILED: {each['failure']}" for each in rows if each["failure"]]
    return "\n".join(lines)


def sentence(found: dict[str, Any]) -> str:
    """How one row went."""
    cells = dict(zip(HEAD, _cells(found), strict=True))
    said = ", ".join(f"{key} {value}" for key, value in cells.items() if key != "row")
    more = f"; {_load_sentence(found)}" if "goodput_share" in found else ""
    return f"{said}{more}{'; FAILED: ' + found['failure'] if found['failure'] else ''}"


def _load_sentence(found: dict[str, Any]) -> str:
    return (
        f"capacity {found['capacity_fps']} a second, offered {found['offered_fps']}, answered"
        f" {found['goodput_fps']} ({found['goodput_share']:.0%} of the capacity)"
    )


def _cells(found: dict[str, Any]) -> list[str]:
    errors = ", ".join(f"{code} {count}" for code, count in found["errors"].items())
    back = silent = "–"
    if found.get("faults"):
        silent = f"{found['silence_s_p50']:.2f} / {found['silence_s_p99']:.2f}"
        p50, p99 = found["recovery_s_p50"], found["recovery_s_p99"]
        back = "never" if p50 is None else f"{p50:.2f} / {p99:.2f}"
        if found["not_recovered"] and p50 is not None:
            back += f" ({found['not_recovered']} not)"
    return [
        found["row"],
        str(found["frames"]),
        str(found["lost"] + found["open"]),
        str(found["duplicated"] + found["unknown"]),
        str(found["wrong"]),
        f"{found['bound_percent']:.2f} %",
        f"{found['success_rate']:.2%}",
        errors or "none",
        str(found.get("faults", "–")),
        silent,
        back,
        str(found.get("leaderless_s", "–")),
        str(found.get("leader_changes", "–")),
    ]
