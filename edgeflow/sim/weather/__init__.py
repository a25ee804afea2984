"""A fleet in changing conditions, in virtual time: what a policy makes of bandwidth, load and loss.

    Weather (script, traces, seed) ─▶ Nature: true speeds at every moment, which no core is told
             │                           │ how long things take
             '─────▶ run_weather: the cores of the field ─▶ Report: frames, plans, beside the oracle

The oracle is the planner itself on the true prices of a moment: no plan it may use is better.

Invariant: all that happens follows from the Weather; the same one gives the same Report.
"""

from __future__ import annotations

from edgeflow.sim.weather.play import run_weather
from edgeflow.sim.weather.report import Change, Report, Shot
from edgeflow.sim.weather.script import HOME, Host, Weather, cluster_of

__all__ = [
    "HOME",
    "Change",
    "Host",
    "Report",
    "Shot",
    "Weather",
    "cluster_of",
    "run_weather",
]
