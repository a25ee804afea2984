"""Bandwidth traces on a time line: a `trace` is as many `link` changes as its file has steps.

    trace, at_s = 10 ──▶ link at 10 s, link at 11 s, …      merged with all else by time

Invariant: what comes out is in the order of time, and holds no trace any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeflow.io import tracefile
from edgeflow.lab.changes import Change, FollowTrace, SetLink


def located(timeline: Sequence[Change], folder: Path) -> tuple[Change, ...]:
    """The same with whole paths, each file read once. UsageError where one is no trace."""
    return tuple(_located(each, folder) for each in timeline)


def unrolled(timeline: Sequence[Change]) -> Iterator[Change]:
    """Every change in the order of time; endless where a trace is repeated."""
    return heapq.merge(*(_steps(each) for each in timeline), key=lambda each: each.at_s)


def _located(wanted: Change, folder: Path) -> Change:
    if not isinstance(wanted, FollowTrace):
        return wanted
    path = folder / wanted.file
    tracefile.read(path)
    return replace(wanted, file=str(path))


def _steps(wanted: Change) -> Iterator[Change]:
    if not isinstance(wanted, FollowTrace):
        yield wanted
        return
    for after_s, mbps in tracefile.read(Path(wanted.file)).steps(repeat=wanted.repeat):
        yield SetLink(
            at_s=wanted.at_s + after_s,
            link=wanted.link,
            up_mbps=mbps if wanted.direction != "down" else None,
            down_mbps=mbps if wanted.direction != "up" else None,
        )
