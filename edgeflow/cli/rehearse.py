"""`edgeflow rehearse`: a policy in changing bandwidth and load, without machines.

preset or file ─▶ Weather ─▶ the cores of the field in virtual time ─▶ plans beside an oracle's
                    ^                                                    '─ --html: a picture
      --policy, --trace, --event, --seed …

Invariant: the same words give the same numbers; nothing here is measured on a machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edgeflow import modelfile
from edgeflow.cli import options, screen
from edgeflow.errors import UsageError
from edgeflow.model import manifest

if TYPE_CHECKING:
    from edgeflow.sim.toy import Toy
    from edgeflow.sim.weather import Report, Weather

HELP = """Try a policy in changing bandwidth and load, without machines.

WEATHER is a preset or a file: steps, busy-cloud, busy-edge, fleet, noise. The thinking part of the
nodes is the one that runs on machines; time, links, engines and load are simulated. True speeds
differ from what nodes announce, as they do in the field, by chance of the seed. Beside each run
stands an oracle: the best plan of each moment at the true prices.

  edgeflow rehearse steps --html steps.html
  edgeflow rehearse --trace '* cloud-1=configs/traces/4g.csv' --minutes 10
  edgeflow rehearse --trace 'cam-1 *=configs/traces/crowded-wifi.csv' --radio cam-1
  edgeflow rehearse busy-cloud --policy mincut --policy hpa --policy static
  edgeflow rehearse --cluster configs/clusters/camera-4g.toml --event '60 load edge-1 0.8'

Events: link A B 4mbps · load NODE 0.8 · noise A B 0.2 · kill NODE · join NODE; * is every node.
"""
SETTLED_S = 5.0
"""Mean latencies are those of frames from so long after the first plan: what waited for that is
answered by then."""
STILL = "calm"
"""Nothing happens but what options say."""


def register(app: typer.Typer) -> None:
    """Adds `rehearse`."""
    app.command("rehearse", help=HELP)(rehearse)


def rehearse(
    weather: Annotated[str, typer.Argument(metavar="[WEATHER]", help="Preset or file.")] = STILL,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", help="As of `deploy`; repeatable: side by side.")
    ] = None,
    traces: Annotated[
        list[str] | None, typer.Option("--trace", metavar="'A B=CSV'", help="What links carry.")
    ] = None,
    events: Annotated[
        list[str] | None, typer.Option("--event", metavar="'SECONDS WORDS'", help="What happens.")
    ] = None,
    radios: Annotated[
        list[str] | None, typer.Option("--radio", metavar="NODE", help="Its links share the air.")
    ] = None,
    cluster: Annotated[Path | None, typer.Option(help="A file of configs/clusters.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A file of `edgeflow export`. Default: like resnet18.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="How long frames come.")] = None,
    rate_fps: Annotated[float | None, typer.Option(help="Frames a second.")] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a picture of it as a page.")] = None,
    as_json: screen.Json = False,
) -> None:
    """See HELP."""
    # Late: the planner behind it takes a while to import, and other commands have no use for it.
    from edgeflow.sim.weather.resnet import RESNET
    from edgeflow.views import rehearsalpage

    script = (traces or (), events or (), radios or ())
    about, found = _weather(weather, cluster, *script, minutes, rate_fps)
    toy = _toy(model) if model is not None else RESNET
    reports = _played(replace(found, seed=seed), toy, policies or ["mincut"])
    if html is not None:
        html.write_text(rehearsalpage.page(about, toy.graph.name, reports), encoding="utf-8")
        screen.note(f"the picture is {html}")
    _tell(about, toy.graph.name, reports, as_json=as_json)


def _played(weather: Weather, toy: Toy, policies: Sequence[str]) -> list[Report]:
    """One report a policy."""
    from edgeflow.cli.deploy import check_policy
    from edgeflow.sim.weather import run_weather

    reports = []
    for policy in [check_policy(name) for name in policies]:
        screen.note(f"{policy}: {weather.minutes:g} minutes of {toy.graph.name} in virtual time …")
        reports.append(run_weather(replace(weather, policy=policy), toy))
    return reports


def _weather(
    name: str,
    cluster: Path | None,
    traces: Sequence[str],
    events: Sequence[str],
    radios: Sequence[str],
    minutes: float | None,
    rate_fps: float | None,
) -> tuple[str, Weather]:
    """What it is about, and the weather that the options make of it."""
    from edgeflow.io import tracefile, weatherfile
    from edgeflow.sim.weather import Weather
    from edgeflow.sim.weather.presets import preset

    if name == STILL:
        about, found = "as the options say", Weather()
    elif Path(name).exists():
        about, found = weatherfile.read(Path(name))
    else:
        about, found = preset(name)
    pairs = [each.rpartition("=")[::2] for each in traces]
    found = replace(
        found,
        traces=(*((names, tracefile.read(Path(file))) for names, file in pairs), *found.traces),
        events=(*found.events, *(weatherfile.event("--event", line) for line in events)),
        radios=(*found.radios, *radios),
        minutes=found.minutes if minutes is None else minutes,
        rate_fps=found.rate_fps if rate_fps is None else rate_fps,
    )
    if cluster is not None:
        found = replace(found, cluster=weatherfile.cluster(cluster))
    return about, weatherfile.checked(found)


def _toy(path: Path) -> Toy:
    """A model with numbers for tensors; UsageError where it has not just one picture."""
    from edgeflow.sim.toy import Toy

    text, _ = modelfile.index(options.existing(path, "model file"))
    graph = manifest.decode(text)
    if len(graph.inputs) != 1 or graph.inputs[0].is_open:
        raise UsageError(f"{path}: rehearse takes models with one input of a fixed size")
    return Toy(graph, manifest.digest(text))


def as_data(report: Report) -> dict[str, Any]:
    """One run, for programs; null stands for never."""
    from_s = SETTLED_S + (report.changes[0].at_s if report.changes else 0.0)
    answered = [each for each in report.frames if each.code == "ok" and each.at_s >= from_s]
    mean_s = sum(each.latency_s for each in answered) / len(answered) if answered else None
    return {
        "policy": report.weather.policy,
        "seed": report.weather.seed,
        "frames": len(report.frames),
        "lost": report.lost,
        "failed": report.failed,
        "mean_ms": None if mean_s is None else round(mean_s * 1e3, 2),
        "regret": _finite(report.regret(from_s)),
        "moments": [_moment(report, at_s, until_s) for at_s, until_s in report.moments],
        "changes": [
            {
                "at_s": round(each.at_s, 2),
                "before": each.before,
                "after": each.after,
                "why": each.why,
            }
            for each in report.changes
        ],
    }


def _moment(report: Report, at_s: float, until_s: float) -> dict[str, Any]:
    found = report.convergence(at_s, until_s)
    return {
        "at_s": at_s,
        "what": report.words_at(at_s),
        "best_plan": report.oracle.best_line((at_s + until_s) / 2),
        "frames": _finite(found.frames),
        "seconds": _finite(found.seconds),
    }


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _tell(about: str, model: str, reports: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        runs = [as_data(report) for report in reports]
        screen.emit_json({"about": about, "model": model, "runs": runs})
        return
    screen.say(f"{about}; in virtual time, nothing here is measured")
    for report in reports:
        found = as_data(report)
        screen.say(f"\n{found['policy']}")
        for each in found["changes"]:
            screen.say(f"{each['at_s']:8.1f} s  {each['after']}: {each['why'].split(';')[0]}")
        screen.out().print(_moments(found["moments"]))
    screen.out().print(_summary([as_data(report) for report in reports]))


def _moments(found: Sequence[dict[str, Any]]) -> Table:
    table = Table("from", "what happens", "frames", "seconds", "best plan", box=None)
    for each in found:
        frames, seconds = each["frames"], each["seconds"]
        table.add_row(
            f"{each['at_s']:g} s",
            each["what"],
            "never" if frames is None else f"{frames:g}",
            "" if seconds is None else f"{seconds:.1f}",
            each["best_plan"],
        )
    return table


def _summary(found: Sequence[dict[str, Any]]) -> Table:
    head = ("policy", "frames", "lost", "failed", "changes", "mean ms", "× best plans")
    table = Table(*head, box=None)
    for each in found:
        mean = "" if each["mean_ms"] is None else f"{each['mean_ms']:.1f}"
        regret = "" if each["regret"] is None else f"{each['regret']:.2f}"
        counts = [str(each[key]) for key in ("frames", "lost", "failed")]
        table.add_row(each["policy"], *counts, str(len(each["changes"]) - 1), mean, regret)
    return table
