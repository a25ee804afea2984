"""Which jobs a phase of the benchmark is made of, in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edgeflow.bench.adapting.draw import DRAWN
from edgeflow.bench.adapting.jobs import Job
from edgeflow.bench.adapting.runs import Runs
from edgeflow.bench.adapting.scenario import ALONG, CONDITIONS, FULL_MBPS, network
from edgeflow.frames.tally import MEASURING
from edgeflow.traces import Trace, written

MORE = 8
"""Policies that measure try plan after plan: their phases go on for up to so many times as many
frames, while the placement changes."""
NOISE = 0.2
"""Up or down, anew each second."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    models: dict[str, Path]
    policies: tuple[str, ...]
    repeats: int
    seconds: float
    """Of a trace."""
    out: Path


def oracle(runs: Runs, wanted: Wanted) -> None:
    """Plans by hand, under every condition of the phases."""
    for name, model in wanted.models.items():
        for condition in CONDITIONS:
            runs.measure(Job("measure", str(model), name, condition=condition))


def converge(runs: Runs, wanted: Wanted) -> None:
    """Every policy through all phases; in turns, so that what drifts drifts for all."""
    jobs = list(_converging(wanted))
    for job in jobs:
        runs.do(job)
    runs.measure_unknown(jobs)


def regret(runs: Runs, wanted: Wanted) -> None:
    """Every policy along the traces; the oracle is measured at some rates more."""
    for name, model in wanted.models.items():
        for condition in ALONG:
            runs.measure(Job("measure", str(model), name, condition=condition.name))
    _follow(runs, wanted, {name: drawn() for name, (drawn, _) in DRAWN.items()}, scaled=True)


def noise(runs: Runs, wanted: Wanted) -> None:
    """Every policy while nothing but chance moves the radio's rate."""
    dice = random.Random("noise")
    count = int(wanted.seconds) + 1
    rates = [round(FULL_MBPS * (1 + dice.uniform(-NOISE, NOISE)), 1) for _ in range(count)]
    _follow(
        runs, wanted, {"noise": Trace(tuple(map(float, range(count))), tuple(rates))}, scaled=False
    )


def _converging(wanted: Wanted) -> Iterator[Job]:
    for repeat in range(wanted.repeats):
        for name, model in wanted.models.items():
            for policy in wanted.policies:
                job = Job("converge", str(model), name, policy=policy, repeat=repeat)
                yield _long_enough(job)


def _long_enough(job: Job) -> Job:
    frames = network(job.network).phase_frames
    most = MORE if job.policy in MEASURING else 2
    return replace(job, frames=frames, frames_max=most * frames)


def _follow(runs: Runs, wanted: Wanted, traces: dict[str, Trace], *, scaled: bool) -> None:
    for name, model in wanted.models.items():
        work = network(name).work if scaled else 1.0
        for title, trace in traces.items():
            file = (wanted.out / f"{title}-{name}.csv").absolute()
            file.write_text(written(thinner(trace, work)), encoding="utf-8")
            job = Job("follow", str(model), name, trace=title, trace_file=str(file))
            for policy in wanted.policies:
                runs.do(_long_enough(replace(job, policy=policy, seconds=wanted.seconds)))


def thinner(trace: Trace, work: float) -> Trace:
    """As `Condition.scaled`: a network with more work wants a thinner link."""
    return Trace(trace.seconds, tuple(round(mbps / work, 3) for mbps in trace.mbps))


PHASES: dict[str, Callable[[Runs, Wanted], None]] = {
    "oracle": oracle,
    "converge": converge,
    "regret": regret,
    "noise": noise,
}
