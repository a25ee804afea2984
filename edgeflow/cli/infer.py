"""`edgeflow infer PICTURE…`: pictures in, labels out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgeflow import modelfile
from edgeflow.api import InferResult
from edgeflow.cli import client, options, screen
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Cluster, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.errors import FrameError
from edgeflow.graph import Array, Graph
from edgeflow.picture import read_picture, recipe_of

HELP = """Ask a deployment about pictures.

Each picture is fitted to the model's input as the model's recipe says, handed to the deployment's
source, and answered by the cluster. A model with labels answers with them.

  edgeflow infer cat.jpg dog.jpg --top 3
"""


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
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See HELP."""
    for path in pictures:
        options.existing(path, "picture")
    with client.joined(broker, cluster, key, insecure) as flow:
        name = client.deployment_named(flow, deployment).name
        graph = modelfile.load(model) if model else client.model_of(flow, name)
        recipe = recipe_of(graph)
        arrays = [read_picture(path, recipe) for path in pictures]
        futures = [
            flow.submit({recipe.input: array}, deployment=name, deadline_s=deadline_s)
            for array in arrays
        ]
        answers = [
            answer(graph, path, future.result(), top)
            for path, future in zip(pictures, futures, strict=True)
        ]
    if as_json:
        screen.emit_json({"deployment": name, "answers": answers})
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
