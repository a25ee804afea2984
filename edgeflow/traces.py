"""Bandwidth over time: what a link carried, or is made to carry.

    # lines of comment
    seconds,mbps
    0,31.5           a rate holds until the next line; the last one as long as the one before it
    1,28.9

Invariant: the first line is at 0 s, times rise, and every rate is above 0.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from edgeflow.errors import UsageError

HEADER = "seconds,mbps"
STEPS_MAX = 100_000
"""A day at one step a second; a longer file is a mistake."""
MBPS_MAX = 1e6


@dataclass(frozen=True, slots=True)
class Trace:
    """Steps of a rate."""

    seconds: tuple[float, ...]
    """When each step begins."""
    mbps: tuple[float, ...]

    @property
    def length_s(self) -> float:
        """To the end of the last step; a single step lasts 1 s."""
        last_s = self.seconds[-1] - self.seconds[-2] if len(self.seconds) > 1 else 1.0
        return self.seconds[-1] + last_s

    def at(self, at_s: float, *, repeat: bool = False) -> float:
        """Mbit/s at that time; before the first step the first, after the end the last or anew."""
        within_s = at_s % self.length_s if repeat else at_s
        return self.mbps[max(0, bisect_right(self.seconds, within_s) - 1)]

    def steps(self, *, repeat: bool = False) -> Iterator[tuple[float, float]]:
        """(seconds, Mbit/s) wherever the rate changes, the first included; endless if repeated."""
        from_s, last = 0.0, 0.0
        while True:
            for at_s, mbps in zip(self.seconds, self.mbps, strict=True):
                if mbps != last:
                    yield from_s + at_s, mbps
                last = mbps
            from_s += self.length_s
            if not repeat or len(set(self.mbps)) == 1:
                return


def parse(text: str, name: str = "trace") -> Trace:
    """A trace out of a file's text; UsageError names file, line and cure."""
    seconds: list[float] = []
    rates: list[float] = []
    has_header = False
    for number, whole in enumerate(text.splitlines(), start=1):
        line = whole.partition("#")[0].replace(" ", "")
        if not line:
            continue
        place = f"{name}:{number}"
        if not has_header:
            if line != HEADER:
                raise UsageError(f"{place}: the first line must be the header {HEADER!r}")
            has_header = True
            continue
        at_s, mbps = _numbers(line, place)
        _check_order(at_s, seconds, place)
        seconds.append(at_s)
        rates.append(mbps)
    if not seconds:
        raise UsageError(f"{name}: there is no rate in it: write {HEADER!r}, then lines like 0,20")
    return Trace(tuple(seconds), tuple(rates))


def written(trace: Trace, comments: tuple[str, ...] = ()) -> str:
    """The text that `parse` reads."""
    lines = [f"# {each}" for each in comments] + [HEADER]
    lines += [f"{s:g},{mbps:g}" for s, mbps in zip(trace.seconds, trace.mbps, strict=True)]
    return "\n".join(lines) + "\n"


def _numbers(line: str, place: str) -> tuple[float, float]:
    fields = line.split(",")
    try:
        at_s, mbps = (float(field) for field in fields)
    except ValueError:
        raise UsageError(f"{place}: {line!r} is no pair of numbers like 12,8.5") from None
    if not (math.isfinite(at_s) and 0 < mbps <= MBPS_MAX):
        raise UsageError(
            f"{place}: {mbps:g} Mbit/s at {at_s:g} s: a rate is above 0 and at most {MBPS_MAX:g};"
            " write 0.01 for a link that carries almost nothing"
        )
    return at_s, mbps


def _check_order(at_s: float, seconds: list[float], place: str) -> None:
    if not seconds and at_s != 0:
        raise UsageError(f"{place}: the first rate is at {at_s:g} s: let it begin at 0")
    if seconds and at_s <= seconds[-1]:
        raise UsageError(
            f"{place}: {at_s:g} s comes after {seconds[-1]:g} s: sort the lines by seconds"
        )
    if len(seconds) >= STEPS_MAX:
        raise UsageError(f"{place}: more than {STEPS_MAX} steps: take a coarser trace")
