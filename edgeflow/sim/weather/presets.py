"""Weathers by name, for the home of `edgeflow.sim.weather.script`.

Invariant: each is the same for every seed but for chance.
"""

from __future__ import annotations

from edgeflow.errors import UsageError
from edgeflow.sim.weather.script import Weather

PRESETS: dict[str, tuple[str, Weather]] = {
    "steps": (
        "50, then 4, then 50 Mbit/s to the cloud",
        Weather(
            minutes=3.0,
            events=((60.0, "link * cloud-1 4mbps"), (120.0, "link * cloud-1 50mbps")),
        ),
    ),
    "busy-cloud": (
        "other work takes 80 % of the cloud machine for a minute",
        Weather(minutes=3.0, events=((60.0, "load cloud-1 0.8"), (120.0, "load cloud-1 0"))),
    ),
    "busy-edge": (
        "8 Mbit/s to the cloud, and other work takes 80 % of the edge node for a minute",
        Weather(
            minutes=3.0,
            events=(
                (0.0, "link * cloud-1 8mbps"),
                (60.0, "load edge-1 0.8"),
                (120.0, "load edge-1 0"),
            ),
        ),
    ),
    "fleet": (
        "8 Mbit/s to the cloud; a second edge node joins, and dies a minute later",
        Weather(
            minutes=3.0,
            events=(
                (0.0, "link * cloud-1 8mbps"),
                (60.0, "join edge-2"),
                (120.0, "kill edge-2"),
            ),
        ),
    ),
    "noise": (
        "two plans cost nearly the same, and every link moves by 20 % each second",
        Weather(minutes=10.0, events=((0.0, "link * cloud-1 20mbps"), (0.0, "noise * * 0.2"))),
    ),
}
"""What it is about, and the weather."""


def preset(name: str) -> tuple[str, Weather]:
    """One of them; UsageError names all."""
    if name not in PRESETS:
        raise UsageError(
            f"there is no weather {name!r}: give a file, or one of {', '.join(PRESETS)}"
        )
    return PRESETS[name]
