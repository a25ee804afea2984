"""`edgeflow infer PICTURE…`: pictures in, labels out; or many frames, judged by their ledger.

pictures ─▶ each once ─▶ an answer a picture
        └─▶ in turn, so many frames or seconds ─▶ Driver ─▶ records ─▶ figures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgeflow import modelfile
from edgeflow.api import Flow, InferResult
from edgeflow.cli import client, options, screen
from edgeflow.cli.load import Load, drive, need_sense
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Cluster, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.errors import FrameError
from edgeflow.model.graph import Array, Graph
from edgeflow.picture import inputs_of

HELP = """Ask a deployment about pictures.

Each picture is fitted to the model's input as the model's recipe says, handed to the deployment's
source, and answered by the cluster. A model exported with --encoded gets the JPEG or PNG file as it
is. A model with labels answers with them.

  edgeflow infer cat.jpg dog.jpg --top 3

With --frames, --seconds, --rate, --ledger or --check it makes load: the pictures go in in turn, an
error of a frame is counted and the run goes on, Ctrl-C waits for what is under way, and the end is
the figures. Exit code 6 then says what it says of edgeflow ledger.

  edgeflow infer *.jpg --seconds 60 --rate 5 --ledger run.ledger --model m.safetensors --check
"""

Frames = Annotated[int | None, typer.Option(min=1, help="So many frames, the pictures in turn.")]
LongS = Annotated[
    float | None,
    typer.Option("--seconds", min=0.0, help="Hand frames in for so long; inf: until Ctrl-C."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", min=0.0, help="Frames a second, whatever comes back (open loop)."),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, help="At most so many under way (closed loop). Default: the deployment's."),
]
Ledger = Annotated[
    Path | None, typer.Option(help="Write down every frame and outcome; edgeflow ledger judges it.")
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Compare, bit for bit, with the undivided --model, run here."),
]
Threads = Annotated[
    int, typer.Option(min=1, help="Of the model that --check runs: as many as the nodes use.")
]
EngineName = Annotated[
    str,
    typer.Option(help="Of the model that --check runs, torch or onnx: the one that all nodes use."),
]


def register(app: typer.Typer) -> None:
    """Adds `infer`."""
    app.command("infer", help=HELP)(infer)


def infer(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE…", help="JPEG, PNG, …")],
    deployment: Annotated[str, typer.Option(help="Default: the only one.")] = "",
    model: Annotated[
        Path | None, typer.Option(help="The model file, where it is at hand; else it is asked for.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many labels a picture.")] = 1,
    deadline_s: Annotated[float | None, typer.Option(help="Default: the deployment's.")] = None,
    frames: Frames = None,
    seconds: LongS = None,
    rate: Rate = None,
    window: Window = None,
    ledger: Ledger = None,
    check: Check = False,
    check_threads: Threads = 1,
    check_engine: EngineName = "auto",
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See HELP."""
    load = Load(
        frames, seconds, rate, window, ledger, check, check_threads, check_engine, deadline_s
    )
    for path in pictures:
        options.existing(path, "picture")
    need_sense(load, model)
    with client.joined(broker, cluster, key, insecure) as flow:
        name = client.deployment_named(flow, deployment).name
        graph = modelfile.load(model) if model else client.model_of(flow, name)
        inputs = {str(path): inputs_of(graph, path) for path in pictures}
        if load.is_wanted:
            drive(flow, name, graph, inputs, load, as_json)
            return
        results = ask(flow, name, [inputs[str(path)] for path in pictures], window, deadline_s)
    tell(name, [answer(graph, *each, top) for each in zip(pictures, results, strict=True)], as_json)


def ask(
    flow: Flow,
    deployment: str,
    inputs: Sequence[Mapping[str, Array]],
    window: int | None,
    deadline_s: float | None,
) -> list[InferResult]:
    """Each input's outcome, so many at once; by default as many as the deployment's window."""
    return list(flow.stream(inputs, deployment=deployment, window=window, deadline_s=deadline_s))


def tell(deployment: str, answers: list[dict[str, Any]], as_json: bool) -> None:
    """An answer a picture; FrameError where the outcome of one is an error."""
    if as_json:
        screen.emit_json({"deployment": deployment, "answers": answers})
    else:
        for each in answers:
            screen.say(sentence(each))
    failed = [each for each in answers if each["code"]]
    if failed:
        raise FrameError(failed[0]["code"], failed[0]["text"])


def answer(graph: Graph, path: Path, result: InferResult, top: int) -> dict[str, Any]:
    """One picture's outcome as data."""
    outputs = {name: list(array.shape) for name, array in result.outputs.items()}
    return {
        "picture": str(path),
        "code": result.code,
        "text": result.text,
        "labels": best(graph, result.output, top) if result.ok and graph.labels else [],
        "outputs": outputs,
        "latency_ms": round(result.latency_s * 1e3, 1),
        "attempts": result.attempts,
        "plan": result.plan,
    }


def best(graph: Graph, output: Array, top: int) -> list[dict[str, Any]]:
    """The `top` likeliest labels of an output (1, classes)."""
    scores = np.asarray(output).reshape(-1)
    order = np.argsort(-scores, kind="stable")[:top]
    return [{"label": graph.labels[at], "score": round(float(scores[at]), 4)} for at in order]


def sentence(each: dict[str, Any]) -> str:
    """One line for a person."""
    if each["code"]:
        return f"{each['picture']}: {each['code']}: {each['text']}"
    said = ", ".join(f"{found['label']} {found['score']:.0%}" for found in each["labels"])
    what = said or ", ".join(f"{name} {shape}" for name, shape in each["outputs"].items())
    return f"{each['picture']}: {what}  ({each['latency_ms']:.0f} ms, plan {each['plan']})"
