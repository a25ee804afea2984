"""A weather in a file: what changes when, on which cluster.

    about = "…"   minutes = 5   rate_fps = 2   stocked = true
    radios = ["cam-1"]                          whose links are one
    cluster = "../clusters/camera-4g.toml"      else a camera, two edge nodes and a cloud machine
    events = ["60 link * cloud-1 4mbps", "120 load cloud-1 0.8", "180 kill edge-1"]
    [traces]
    "* cloud-1" = "../traces/4g.csv"            paths start at the file's folder

Every error names the file and the cure.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import Struct

from edgeflow.costmodel.cost import Cluster
from edgeflow.errors import UsageError
from edgeflow.io import clusterfile, tracefile
from edgeflow.io.settings import read_toml
from edgeflow.sim.weather.script import Weather

MINUTES_MAX, FPS_MAX = 24 * 60.0, 1000.0


class WeatherFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    about: str = ""
    minutes: float = 3.0
    rate_fps: float = 2.0
    stocked: bool = True
    """Has every node all weights from the start?"""
    radios: tuple[str, ...] = ()
    """Nodes whose links share one."""
    cluster: str = ""
    events: tuple[str, ...] = ()
    """Seconds, then words of `edgeflow.sim.weather.script`."""
    traces: dict[str, str] = {}
    """Pair of nodes -> file."""


def read(path: Path) -> tuple[str, Weather]:
    """What it is about, and the weather; UsageError says what is wrong in the file."""
    try:
        found = msgspec.convert(read_toml(path), WeatherFile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
    weather = Weather(
        minutes=found.minutes,
        rate_fps=found.rate_fps,
        stocked=found.stocked,
        radios=found.radios,
        events=tuple(event(str(path), line) for line in found.events),
        traces=tuple(
            (names, tracefile.read(path.parent / file)) for names, file in found.traces.items()
        ),
    )
    if found.cluster:
        weather = replace(weather, cluster=cluster(path.parent / found.cluster))
    try:
        return found.about, checked(weather)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def cluster(path: Path) -> Cluster:
    """The cluster on paper in a file of configs/clusters."""
    return clusterfile.convert(read_toml(path), path).cluster()


def checked(weather: Weather) -> Weather:
    """The same; UsageError where it cannot be played."""
    if not 0 < weather.minutes <= MINUTES_MAX:
        raise UsageError(f"minutes = {weather.minutes:g}: above 0, at most {MINUTES_MAX:g}")
    if not 0 < weather.rate_fps <= FPS_MAX:
        raise UsageError(f"rate_fps = {weather.rate_fps:g}: above 0, at most {FPS_MAX:g}")
    _ = weather.fleet
    for name in weather.radios:
        if name not in weather.cluster.nodes:
            names = ", ".join(weather.cluster.nodes)
            raise UsageError(f"radio {name!r}: no such node; there are {names}")
    known = {"*", *weather.cluster.nodes}
    for names, _ in weather.traces:
        if len(names.split()) != 2 or not set(names.split()) <= known:
            raise UsageError(
                f"trace {names!r}: name two nodes, such as '* cloud-1'; there are"
                f" {', '.join(weather.cluster.nodes)}"
            )
    return weather


def event(where: str, line: str) -> tuple[float, str]:
    """Seconds, and the words behind; UsageError where it does not begin with a number."""
    at, _, words = line.strip().partition(" ")
    try:
        return float(at), words.strip()
    except ValueError:
        raise UsageError(
            f"{where}: {line!r} does not begin with seconds: write 60 link A B 4mbps"
        ) from None
